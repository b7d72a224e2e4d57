// The little that all modules share.

const setups = [];

/** Run `setup(root)` for the page now and for every part that htmx brings in later. */
export function ready(setup) {
  setups.push(setup);
  setup(document);
}

document.addEventListener("htmx:load", (event) => {
  for (const setup of setups) setup(event.detail.elt);
});

/** The elements in `root` (itself included) that match and were not seen by this `mark` before. */
export function fresh(root, selector, mark) {
  const found = [...root.querySelectorAll(selector)];
  if (root.matches?.(selector)) found.unshift(root);
  return found.filter((element) => {
    if (element.dataset[mark]) return false;
    element.dataset[mark] = "1";
    return true;
  });
}

/** An element with attributes and children; text is always text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const base = new URL("..", import.meta.url);

/** The address of a file of static/, in the same version as this script. */
export const asset = (path) => new URL(path, base).pathname;

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `${asset("vendor/icons.svg")}#${name}`);
  svg.append(use);
  return svg;
}

/** Storage that may be refused (private windows) or broken; then nothing is remembered. */
export const memory = {
  get(key, otherwise = null) {
    try {
      return JSON.parse(localStorage.getItem(`headway.${key}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`headway.${key}`, JSON.stringify(value));
    } catch {
      // not remembered
    }
  },
};

/** A short message at the foot of the page. tone: ok, warn, bad. */
export function toast(text, tone = "ok") {
  const signs = { ok: "circle-check", warn: "triangle-alert", bad: "circle-x" };
  const element = make("div", { class: "toast", "data-tone": tone }, icon(signs[tone]), make("span", {}, text));
  document.querySelector(".toasts")?.append(element);
  leave(element);
}

/** Take a toast away after a time that suffices to read it. */
export function leave(element) {
  setTimeout(() => element.remove(), 4000 + 40 * element.textContent.length);
}

export const typing = (element) => element instanceof HTMLElement && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));
