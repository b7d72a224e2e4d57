// Which columns are shown: a search over all parameters, metrics and tags there are.
import { icon, make } from "../dom.js";
import { FIXED } from "./columns.js";
import { ask } from "./source.js";
import { meant, question } from "./state.js";

const WAIT_MS = 150;

export function chooser(explorer) {
  const field = make("input", { type: "search", placeholder: "Search parameters, metrics, tags", "aria-label": "Search columns" });
  const list = make("div", { class: "choices", role: "group", "aria-label": "Columns" });
  const usual = make("button", { type: "button", class: "button small quiet" }, "As at first");
  usual.addEventListener("click", () => {
    explorer.keepChosen = false;
    explorer.set({ column: [], pin: [], width: [] });
    show();
  });
  const items = make("div", { class: "menu-items columns-menu" }, field, list, make("div", { class: "menu-foot" }, usual));
  const menu = make("details", { class: "menu" }, make("summary", { class: "button small quiet" }, icon("columns-3"), make("span", {}, "Columns")), items);
  let found = { columns: [], next: "" };
  let wait = null;
  let turn = 0;

  async function look(next = "") {
    const mine = (turn += 1);
    const asked = question(explorer.state, meant(explorer.state.filter));
    asked.delete("order");
    asked.set("q", field.value.trim());
    asked.set("limit", "60");
    if (next) asked.set("cursor", next);
    try {
      const answer = await ask(`${explorer.api}/columns?${asked}`);
      if (mine !== turn) return;
      found = next ? { ...answer, columns: [...found.columns, ...answer.columns] } : answer;
      show();
    } catch (problem) {
      list.replaceChildren(make("p", { class: "help" }, `${problem.message} ${problem.hint}`));
    }
  }

  function choice(id, label, kind, note = "") {
    const box = make("input", { type: "checkbox" });
    box.checked = explorer.ids().includes(id);
    box.addEventListener("change", () => {
      const ids = explorer.ids();
      explorer.columnsAre(box.checked ? [...ids, id] : ids.filter((one) => one !== id));
    });
    return make("label", { title: id }, box, make("span", { class: "truncate" }, label), make("small", {}, note || kind));
  }

  function show() {
    const q = field.value.trim().toLowerCase();
    const shown = explorer.columns.filter((one) => one.kind !== "name" && (!q || one.label.toLowerCase().includes(q)));
    const ids = new Set(shown.map((one) => one.id));
    const fixed = Object.entries(FIXED).filter(([id, one]) => one.kind !== "name" && !ids.has(id) && (!q || one.label.toLowerCase().includes(q)));
    const others = found.columns.filter((one) => !ids.has(one.id));
    const parts = [];
    if (shown.length) parts.push(make("p", { class: "choices-title" }, "Shown"), ...shown.map((one) => choice(one.id, one.label, one.kind === "metric" || one.kind === "param" || one.kind === "tag" ? one.kind : "run")));
    if (fixed.length || others.length) parts.push(make("p", { class: "choices-title" }, "More"));
    parts.push(...fixed.map(([id, one]) => choice(id, one.label, "run")));
    parts.push(...others.map((one) => choice(one.id, one.key, one.kind, one.share != null && one.share < 1 ? `${one.kind}, ${Math.round(one.share * 100)} %` : one.kind)));
    if (found.next) {
      const more = make("button", { type: "button", class: "button small quiet" }, `Show more of ${found.total.toLocaleString("en")}`);
      more.addEventListener("click", () => look(found.next));
      parts.push(more);
    }
    if (!parts.length) parts.push(make("p", { class: "help" }, "No name fits."));
    list.replaceChildren(...parts);
  }

  field.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(look, WAIT_MS);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") list.querySelector("input")?.focus();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const boxes = [...list.querySelectorAll("input")];
    (boxes[boxes.indexOf(event.target) + step] ?? field).focus();
  });
  menu.addEventListener("toggle", () => {
    if (!menu.open) return;
    show();
    look();
    field.focus();
  });
  return menu;
}
