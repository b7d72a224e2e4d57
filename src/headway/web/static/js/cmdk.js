// Cmd-K: go to anything. Pages are known here (the rail's links), the rest is asked from /search.
import { icon, make, memory, typing } from "./dom.js";

const palette = document.getElementById("palette");
const input = palette?.querySelector("input");
const list = palette?.querySelector("ul");
const NAMES = { page: "Pages", project: "Projects", run: "Runs", experiment: "Experiments", model: "Models", endpoint: "Endpoints",
  notebook: "Notebooks", environment: "Environments", schedule: "Schedules", person: "People", action: "Actions", recent: "Recent" };
let kind = "";
let answered = null; // the query that the list is the answer to
let chosen = ""; // the address that somebody moved to in the list: it stays chosen when more comes
let turn = 0;
let timer = 0;

function pages(query) {
  const links = [...document.querySelectorAll(".rail nav a, .rail-foot a, .user-menu a")];
  const wanted = query.toLowerCase();
  return links
    .map((link) => ({ label: link.textContent.trim(), url: link.getAttribute("href"), kind: "page", icon: iconOf(link) }))
    .filter((item) => item.label.toLowerCase().includes(wanted));
}

const iconOf = (link) => link.querySelector("use")?.getAttribute("href").split("#")[1] ?? "arrow-right";

function options() {
  return [...list.querySelectorAll('[role="option"]')];
}

function select(option) {
  for (const other of options()) other.setAttribute("aria-selected", other === option);
  if (option) {
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else input.removeAttribute("aria-activedescendant");
}

function move(option) {
  chosen = option.dataset.url;
  select(option);
}

function show(items, waiting) {
  list.replaceChildren();
  let group = "";
  items.forEach((item, at) => {
    if (item.kind !== group) {
      group = item.kind;
      list.append(make("li", { class: "group", role: "presentation" }, NAMES[group] ?? group));
    }
    const option = make("li", { role: "option", id: `palette-${at}`, "aria-selected": "false" }, icon(item.icon || "arrow-right"),
      make("span", { class: "label" }, item.label), item.hint ? make("span", { class: "hint" }, item.hint) : null);
    option.dataset.url = item.url;
    option.dataset.item = JSON.stringify(item);
    list.append(option);
  });
  if (!items.length && !waiting) list.append(make("li", { class: "nothing" }, "Nothing has that name. Try fewer letters."));
  select(options().find((option) => option.dataset.url === chosen) ?? options()[0]);
}

function recent() {
  return memory.get("recent", []).filter((item) => item.url !== location.pathname).slice(0, 5).map((item) => ({ ...item, kind: "recent" }));
}

async function ask() {
  const query = input.value.trim();
  const mine = ++turn;
  const known = kind ? [] : [...(query ? [] : recent()), ...pages(query)];
  show(known, true);
  const values = new URLSearchParams({ q: query, project: palette.dataset.project, kind: kind === "projects" ? "project" : kind });
  try {
    const answer = await fetch(`/search?${values}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const { items } = await answer.json();
    const seen = new Set(known.map((item) => item.url));
    if (mine === turn) show([...known, ...items.filter((item) => !seen.has(item.url))]);
  } catch {
    if (mine === turn) show(known);
  }
  if (mine === turn) answered = query;
}

export function open(what = "") {
  if (!palette || palette.open) return;
  kind = what;
  answered = null;
  chosen = "";
  input.value = "";
  input.placeholder = what === "projects" ? "Go to a project" : "Runs, models, endpoints, projects, pages";
  palette.showModal();
  input.focus();
  ask();
}

function go(option, aside) {
  if (!option) return;
  const item = JSON.parse(option.dataset.item);
  // only addresses of this site: what a server lists must not become a script
  const url = new URL(item.url, location.href);
  if (url.origin !== location.origin) return;
  if (item.kind !== "page") {
    const past = memory.get("recent", []).filter((other) => other.url !== item.url);
    memory.set("recent", [{ ...item, kind: "recent" }, ...past].slice(0, 8));
  }
  if (aside) window.open(url, "_blank", "noopener");
  else location.assign(url);
}

/** Open what is chosen; who types faster than is answered gets what was typed, not what the list showed before. */
async function enter(aside) {
  const query = input.value.trim();
  if (answered !== query) {
    clearTimeout(timer);
    await ask();
  }
  if (palette.open && answered === query && input.value.trim() === query) go(options().find((option) => option.getAttribute("aria-selected") === "true"), aside);
}

if (palette) {
  input.addEventListener("input", () => {
    chosen = "";
    clearTimeout(timer);
    timer = setTimeout(ask, 60);
  });
  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? (event.ctrlKey ? { n: 1, p: -1 }[event.key] : 0);
    if (step && all.length) {
      event.preventDefault();
      move(all[(at + step + all.length) % all.length]);
    } else if (event.key === "Escape") {
      // a search field would only empty itself
      event.preventDefault();
      palette.close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      enter(event.metaKey || event.ctrlKey);
    }
  });
  list.addEventListener("mousemove", (event) => {
    const option = event.target.closest('[role="option"]');
    if (!option || !(event.movementX || event.movementY)) return; // a list that comes below a hand at rest is told as a move, too
    if (option.getAttribute("aria-selected") !== "true") move(option);
  });
  list.addEventListener("click", (event) => go(event.target.closest('[role="option"]'), event.metaKey || event.ctrlKey));
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-palette]");
    if (opener) open(opener.dataset.palette);
  });
  document.addEventListener("keydown", (event) => {
    if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (palette.open) palette.close();
      else open();
    } else if (event.key === "/" && !typing(event.target) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      const field = document.querySelector('main input[type="search"]');
      if (field) field.focus();
      else open();
    }
  });
}
