// The head of the runs table: sort by a click, a menu for the rest, widths and order by dragging.
import { icon, make } from "../dom.js";
import { isNumber } from "./cells.js";
import { LEAST, sideOf, sorting } from "./columns.js";

const SIDES = [["last", "Last value"], ["best", "Best value"], ["min", "Lowest value"], ["max", "Highest value"]];
const CONTROLS = "button, summary, input";

/** `on`: sort(id, direction, more), replace(id, other), pin(id), hide(id), group(id), width(id, px), move(id, before), all(checked). */
export function head(thead, columns, state, on) {
  const box = make("input", { type: "checkbox", "aria-label": "Select all that match" });
  box.addEventListener("change", () => on.all(box.checked));
  const row = make("tr", { "aria-rowindex": 1 }, make("th", { class: "pick" }, box));
  for (const one of columns) row.append(cell(one, state, on));
  row.append(make("th", { class: "filler" }));
  const used = inUse(thead);
  thead.replaceChildren(row);
  resume(thead, used);
  return box;
}

/** What a person is at in the head: the column whose menu is open, and what has the focus. */
function inUse(thead) {
  const focused = thead.contains(document.activeElement) ? document.activeElement : null;
  const within = focused?.closest("th");
  return {
    menu: thead.querySelector("details.menu[open]")?.closest("th").dataset.col,
    column: within?.dataset.col,
    control: within ? [...within.querySelectorAll(CONTROLS)].indexOf(focused) : -1,
  };
}

/** Rows that arrive draw the head anew: the menu that is open stays open, and the focus stays where it was. */
function resume(thead, { menu, column, control }) {
  const find = (id) => id !== undefined && thead.querySelector(`th[data-col="${CSS.escape(id)}"]`);
  const open = find(menu)?.querySelector?.("details.menu");
  if (open) open.open = true;
  const controls = find(column)?.querySelectorAll?.(CONTROLS) ?? [];
  const place = open ? control : Math.min(control, 1); // a menu that a choice closed: its button
  controls[place]?.focus({ preventScroll: true });
}

function cell(column, state, on) {
  const { direction } = sorting(state, column.sort ?? column.id);
  const th = make("th", { "data-col": column.id, class: [isNumber(column) ? "num" : "", column.pinned ? "pinned" : ""].join(" ").trim(), title: column.id,
    "aria-sort": { asc: "ascending", desc: "descending" }[direction] ?? (column.sort ? "none" : false) });
  if (column.pinned) th.style.left = `${column.left ?? 36}px`;
  const label = column.sort ? make("button", { type: "button", class: "sort-button" }, make("span", { class: "truncate" }, column.label), direction ? icon(direction === "asc" ? "arrow-up" : "arrow-down") : null) : make("span", { class: "sort-button" }, make("span", { class: "truncate" }, column.label));
  if (column.sort) label.addEventListener("click", (event) => !th.dataset.dragged && on.sort(column.sort, next(column, direction), event.shiftKey));
  th.append(make("span", { class: "head" }, label, menu(column, direction, on)));
  if (column.kind !== "name") move(th, column, on);
  resize(th, column, on);
  return th;
}

const next = (column, direction) => (!direction ? column.first : direction === "desc" ? "ASC" : direction === "asc" && column.first === "ASC" ? "DESC" : "DESC");

function menu(column, direction, on) {
  const items = make("div", { class: "menu-items" });
  const details = make("details", { class: "menu" }, make("summary", { class: "icon-button", "aria-label": `${column.label}: column` }, icon("chevron-down")), items);
  const add = (label, sign, act, current = false) => {
    const choice = make("button", { type: "button", "aria-current": current ? "true" : false }, icon(current ? "check" : sign), label);
    choice.addEventListener("click", () => {
      details.open = false;
      act();
    });
    items.append(choice);
  };
  if (column.sort) {
    add("Sort ascending", "arrow-up", () => on.sort(column.sort, "ASC"), direction === "asc");
    add("Sort descending", "arrow-down", () => on.sort(column.sort, "DESC"), direction === "desc");
    if (direction) add("Don't sort by it", "x", () => on.sort(column.sort, ""));
  }
  if (column.kind === "metric") {
    items.append(make("hr"));
    for (const [of, label] of SIDES) add(label, of === "best" ? "trophy" : "hash", () => on.replace(column.id, sideOf(column.id, of)), column.of === of);
  }
  items.append(make("hr"));
  if (column.group) add("Group by it", "layers", () => on.group(column.group));
  if (column.kind !== "name") {
    add(column.pinned ? "Don't pin" : "Pin to the left", "pin", () => on.pin(column.id));
    add("Move left", "arrow-left", () => on.step(column.id, -1));
    add("Move right", "arrow-right", () => on.step(column.id, 1));
    add("Hide", "eye-off", () => on.hide(column.id));
  }
  return details;
}

/** Drag the right edge: the width. */
function resize(th, column, on) {
  const grip = make("span", { class: "col-grip", "aria-hidden": "true" });
  grip.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    event.stopPropagation();
    grip.setPointerCapture(event.pointerId);
    const from = event.clientX;
    const width = (moved) => Math.max(LEAST, Math.round(column.width + moved.clientX - from));
    const drag = (moved) => on.width(column.id, width(moved), false);
    grip.addEventListener("pointermove", drag);
    grip.addEventListener("pointerup", (ended) => {
      grip.removeEventListener("pointermove", drag);
      on.width(column.id, width(ended), true);
    }, { once: true });
  });
  grip.addEventListener("dblclick", (event) => {
    event.stopPropagation();
    on.width(column.id, null, true);
  });
  th.append(grip);
}

/** Drag the head: the order. */
function move(th, column, on) {
  th.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || event.target.closest(".col-grip, .menu")) return;
    const from = event.clientX;
    let over = null;
    const mark = (other) => {
      over?.removeAttribute("data-drop");
      over = other;
      over?.setAttribute("data-drop", "");
    };
    const drag = (moved) => {
      if (Math.abs(moved.clientX - from) < 6 && !th.dataset.dragged) return;
      th.dataset.dragged = "1";
      const at = document.elementFromPoint(moved.clientX, th.getBoundingClientRect().top + 8)?.closest("th[data-col]");
      mark(at && at !== th && at.dataset.col !== "run_name" ? at : null);
    };
    const done = () => {
      removeEventListener("pointermove", drag);
      const before = over?.dataset.col;
      mark(null);
      setTimeout(() => delete th.dataset.dragged);
      if (before) on.move(column.id, before);
    };
    addEventListener("pointermove", drag);
    addEventListener("pointerup", done, { once: true });
  });
}
