// Parts of a page that ask for themselves anew (hx-trigger "every ..." or "headway:stale") leave alone what somebody is at: while a question or
// a menu is open, a button is held down, a form is filled in, a text is marked or another answer is on its way, what came is not shown; the next
// one is. Whatever is swapped, the focus, what was unfolded and what was scrolled to stay where they were.

const AGAIN_MS = 1000;
const TEXTUAL = /^(text|search|url|email|password|number|textarea)$/;
let pressed = false;

for (const [name, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  // the click comes after the button is up
  addEventListener(name, () => (down ? (pressed = true) : setTimeout(() => (pressed = false))), true);
}

/** Whether a field of a form is not as the server sent it. */
function changed(field) {
  if (!field.form || field.type === "hidden") return false;
  if (field.options) return [...field.options].some((one) => one.defaultSelected) && [...field.options].some((one) => one.selected !== one.defaultSelected);
  return /^(checkbox|radio)$/.test(field.type) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

/** Whether somebody is in the middle of something that would be lost if this part of the page were drawn anew. */
export function inUse(part) {
  if (pressed || document.querySelector("dialog[open], main details.menu[open]")) return true;
  if (part.contains(document.activeElement) && TEXTUAL.test(document.activeElement.type)) return true;
  if ([...part.querySelectorAll("input, textarea, select")].some(changed)) return true;
  const marked = getSelection();
  return !marked.isCollapsed && part.contains(marked.anchorNode);
}

// ---- what stays over a swap
const focusable = (part) => [...part.querySelectorAll("a[href], button, summary, input, select, textarea, [tabindex]")];
const called = (one) => [one.tagName, one.id, one.getAttribute("href"), one.name, one.getAttribute("aria-label") ?? one.textContent.trim()].join("\n");
const unfolded = (part) => [...part.querySelectorAll("details:not(.menu)")];
const scrolled = (part) => [...part.querySelectorAll(".table-scroll, pre, .said")];

/** The elements of a list by what they are called, and the how-manieth of those that are called so. */
function named(list, name) {
  const counts = new Map();
  return new Map(list.map((one) => {
    const key = name(one);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    return [`${key}\n${counts.get(key)}`, one];
  }));
}

const keyOf = (elements, wanted) => [...elements].find(([, one]) => one === wanted)?.[0];
const fold = (one) => one.querySelector("summary")?.textContent.trim();

/** Load the page anew, as soon as that takes nothing from anybody. */
export function reload() {
  if (inUse(document.querySelector("main"))) setTimeout(reload, AGAIN_MS);
  else location.reload();
}

/** What a person has done to a part, as a function that does it to the part that takes its place. */
function kept(part) {
  const focus = part.contains(document.activeElement) && keyOf(named(focusable(part), called), document.activeElement);
  const folds = [...named(unfolded(part), fold)].filter(([, one]) => "byHand" in one.dataset).map(([key, { open }]) => [key, open]);
  const places = scrolled(part).map(({ scrollLeft, scrollTop }) => [scrollLeft, scrollTop]);
  return (fresh) => {
    const details = named(unfolded(fresh), fold);
    for (const [key, open] of folds) {
      if (!details.has(key)) continue;
      details.get(key).open = open;
      details.get(key).dataset.byHand = "";
    }
    scrolled(fresh).forEach((one, at) => places[at] && ([one.scrollLeft, one.scrollTop] = places[at]));
    if (focus && !fresh.contains(document.activeElement)) named(focusable(fresh), called).get(focus)?.focus({ preventScroll: true });
  };
}

document.addEventListener("click", (event) => {
  const details = event.target.closest("summary")?.parentElement;
  if (details) details.dataset.byHand = "";
});

let restore = null;
let later = null;

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, requestConfig } = detail;
  const asks = requestConfig.elt.getAttribute?.("hx-trigger") ?? "";
  const byItself = /\bevery\b|headway:stale/.test(asks);
  if (byItself && (inUse(target) || target.querySelector(".htmx-request"))) {
    detail.shouldSwap = false;
    // nothing else asks for it again
    if (asks.includes("headway:stale")) later ??= setTimeout(() => ((later = null), document.dispatchEvent(new CustomEvent("headway:stale"))), AGAIN_MS);
    return;
  }
  if (!detail.shouldSwap) return;
  const put = kept(target);
  restore = () => {
    const fresh = target.isConnected ? target : document.getElementById(target.id);
    if (fresh) put(fresh);
  };
});
document.addEventListener("htmx:afterSwap", () => {
  restore?.();
  restore = null;
});
