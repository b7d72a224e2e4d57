// The table itself: only the rows that are seen are in the document. Rows are runs, or heads of groups with their runs below.
import { make, typing } from "../dom.js";
import { content, isNumber, number } from "./cells.js";

const MARGIN = 10; // rows kept beyond each edge
const HURRIED_MS = 90; // while the scroll bar is dragged, nothing is asked for

/** What is in the table, top to bottom: sections of rows, each perhaps below a head that opens and closes it. */
export class Sections {
  constructor(list) {
    this.list = list; // {source, head?, open}
  }

  get length() {
    return this.list.reduce((sum, one) => sum + (one.head ? 1 : 0) + (one.open ? one.source.count : 0), 0);
  }

  /** {section, head: true} or {section, at, row?} at a place in the table. */
  find(place) {
    let rest = place;
    for (const section of this.list) {
      if (section.head) {
        if (rest === 0) return { section, head: true };
        rest -= 1;
      }
      const count = section.open ? section.source.count : 0;
      if (rest < count) return { section, at: rest, row: section.source.rows[rest] };
      rest -= count;
    }
    return null;
  }

  /** Have the rows of these places come. */
  need(from, to) {
    let first = 0;
    for (const section of this.list) {
      first += section.head ? 1 : 0;
      const count = section.open ? section.source.count : 0;
      const [low, high] = [Math.max(from, first) - first, Math.min(to, first + count) - first];
      if (section.open && (high > low || (count === 0 && first >= from && first <= to))) section.source.need(low, Math.max(high, low + 1));
      first += count;
    }
  }
}

export class Grid {
  /** `on`: open(row), toggle(row, on), range(rows), more(event), fold(section), menu. `scene`: see cells.content. */
  constructor(frame, scene, on) {
    this.frame = frame;
    this.scroll = frame.querySelector(".runs-scroll");
    this.table = frame.querySelector("table");
    this.body = this.table.tBodies[0];
    this.scene = scene;
    this.on = on;
    this.selected = () => false;
    this.sections = new Sections([]);
    this.columns = [];
    this.shown = new Map(); // place -> {row element, what it shows}
    this.active = 0;
    this.before = make("tr", { class: "space", "aria-hidden": "true" });
    this.after = make("tr", { class: "space", "aria-hidden": "true" });
    this.listen();
  }

  listen() {
    this.scroll.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(this.scroll);
    this.scroll.addEventListener("keydown", (event) => this.keys(event));
    this.body.addEventListener("click", (event) => this.clicked(event));
    for (const [name, over] of [["pointerover", true], ["pointerleave", false]]) {
      this.body.addEventListener(name, (event) => this.hover(over ? event.target.closest("tr[data-id]")?.dataset.id : null));
    }
    document.addEventListener("headway:run", ({ detail }) => detail.from !== this && this.stress(detail.key));
    setInterval(() => this.tick(), 1000);
  }

  /** Other columns, or others' widths: every row is made anew. */
  columnsAre(columns) {
    this.columns = columns;
    let left = 36;
    const narrow = this.scroll.clientWidth < 520;
    for (const one of columns) {
      if (narrow && one.kind === "name") one.width = Math.min(one.width, 150);
      if (narrow && one.kind !== "name") one.pinned = false; // a second column that stays would leave no room for the others
      one.left = one.pinned ? left : null;
      left += one.pinned ? one.width : 0;
    }
    this.table.querySelector("colgroup")?.remove();
    const group = make("colgroup", {}, this.col(36), ...columns.map((one) => this.col(one.width)), make("col"));
    this.table.prepend(group);
    this.table.style.width = `${36 + columns.reduce((sum, one) => sum + one.width, 0)}px`;
    this.table.setAttribute("aria-colcount", columns.length + 1);
    this.clear();
  }

  col(width) {
    const made = make("col");
    made.style.width = `${width}px`;
    return made;
  }

  clear() {
    this.shown.clear();
    this.body.replaceChildren(this.before, this.after);
    this.draw();
  }

  get rowHeight() {
    this.measured ??= parseFloat(getComputedStyle(this.table).getPropertyValue("--row")) || 34;
    return this.measured;
  }

  soon() {
    this.frameAsked ??= requestAnimationFrame(() => {
      this.frameAsked = null;
      this.draw();
    });
  }

  window() {
    const height = this.rowHeight;
    const first = Math.floor(this.scroll.scrollTop / height);
    return [first, first + Math.ceil(this.scroll.clientHeight / height)];
  }

  draw() {
    const length = this.sections.length;
    const [top, bottom] = this.window();
    const first = Math.max(0, Math.min(top - MARGIN, length));
    const last = Math.min(length, bottom + MARGIN);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
    for (const [place, { tr }] of this.shown) {
      if (place >= first && place < last) continue;
      if (tr === focused) this.scroll.focus({ preventScroll: true });
      tr.remove();
      this.shown.delete(place);
    }
    let beforeThis = this.before;
    for (let place = first; place < last; place += 1) {
      const item = this.sections.find(place);
      let known = this.shown.get(place);
      const what = item.head ? item.section : item.row;
      if (!known || known.what !== what || known.section !== item.section) {
        const tr = this.element(place, item);
        if (known?.tr.isConnected) known.tr.replaceWith(tr);
        if (known && known.tr === focused) tr.focus({ preventScroll: true }); // what was waited for is here
        known = { tr, what, section: item.section };
        this.shown.set(place, known);
      }
      if (known.tr.previousSibling !== beforeThis) beforeThis.after(known.tr);
      beforeThis = known.tr;
    }
    this.space(this.before, first);
    this.space(this.after, length - last);
    this.table.setAttribute("aria-rowcount", length + 1);
    this.ask(top, bottom);
    this.on.moved?.(top, bottom);
  }

  space(tr, rows) {
    tr.style.height = `${rows * this.rowHeight}px`;
    tr.hidden = rows <= 0;
  }

  ask(top, bottom) {
    clearTimeout(this.asking);
    const far = Math.abs(top - (this.lastTop ?? 0)) > 2 * (bottom - top);
    this.lastTop = top;
    const need = () => this.sections.need(Math.max(0, top - 50), bottom + 100);
    if (far) this.asking = setTimeout(need, HURRIED_MS);
    else need();
  }

  // ---- rows
  element(place, item) {
    if (item.head) return this.groupRow(place, item.section);
    const tr = make("tr", { "aria-rowindex": place + 2, tabindex: place === this.active ? "0" : "-1" });
    if (item.row) this.fill(tr, item.row, place);
    else tr.append(make("td", { class: "wait", colspan: this.columns.length + 2 }, make("span", { class: "ghost" })));
    tr.dataset.place = place;
    return tr;
  }

  fill(tr, row) {
    tr.dataset.id = row.id;
    const chosen = this.selected(row.id);
    tr.toggleAttribute("data-selected", chosen);
    tr.setAttribute("aria-selected", chosen);
    const box = make("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${row.name}` });
    box.checked = chosen;
    const cells = [make("td", { class: "pick" }, box)];
    for (const column of this.columns) {
      const cell = make("td", { class: [column.kind === "name" ? "main" : "", isNumber(column) ? "num" : "", column.pinned ? "pinned" : ""].join(" ").trim() }, ...content(row, column, this.scene));
      if (column.pinned) cell.style.left = `${column.left}px`;
      cells.push(cell);
    }
    tr.replaceChildren(...cells, make("td", { class: "filler" }));
  }

  groupRow(place, section) {
    const { head } = section;
    const tr = make("tr", { class: "group", "aria-rowindex": place + 2, tabindex: place === this.active ? "0" : "-1", "aria-expanded": String(section.open) });
    tr.dataset.place = place;
    const name = make("td", { class: "main pinned", colspan: 2 }, make("span", { class: "fold", "aria-hidden": "true" }, section.open ? "▾" : "▸"), make("span", { title: head.title }, head.label), make("span", { class: "count" }, head.runs.toLocaleString("en")));
    name.style.left = "0";
    const cells = this.columns.slice(1).map((column) => {
      const mean = head.means[column.id];
      const cell = make("td", { class: isNumber(column) ? "num" : "" }, mean ? number(mean.mean) : "");
      if (mean?.min != null) cell.title = `mean of ${head.runs} runs, ${mean.min} to ${mean.max}`;
      if (column.pinned) {
        cell.classList.add("pinned");
        cell.style.left = `${column.left}px`;
      }
      return cell;
    });
    tr.append(name, ...cells, make("td", { class: "filler" }));
    return tr;
  }

  /** A run has changed: its row, if it is seen, shows it. */
  changed(id) {
    for (const [, { tr, what }] of this.shown) {
      if (what?.id !== id) continue;
      this.fill(tr, what);
      tr.classList.add("fresh");
      setTimeout(() => tr.classList.remove("fresh"), 900);
    }
  }

  /** Selection or what is charted has changed. */
  refill() {
    for (const [, { tr, what }] of this.shown) if (what?.id) this.fill(tr, what);
  }

  tick() {
    if (!this.table.isConnected || document.hidden) return;
    for (const [, { tr, what }] of this.shown) if (what?.state === "running" && tr.querySelector("[data-since]")) this.fillSince(tr, what);
  }

  fillSince(tr, row) {
    const at = this.columns.findIndex((column) => column.kind === "duration");
    if (at >= 0) tr.cells[at + 1].replaceChildren(...content(row, this.columns[at], this.scene));
  }

  /** New rows came on top: what is seen stays where it is, unless the top is seen. */
  grew(count) {
    const atTop = this.scroll.scrollTop < this.rowHeight;
    this.shown.forEach(({ tr }) => tr.remove());
    this.shown.clear();
    if (!atTop) {
      this.active += count;
      this.scroll.scrollTop += count * this.rowHeight;
    }
    this.draw();
    return atTop;
  }

  // ---- looking at one
  hover(id) {
    if (id === this.hovered) return;
    this.hovered = id;
    document.dispatchEvent(new CustomEvent("headway:run", { detail: { key: id ?? null, from: this } }));
  }

  stress(id) {
    for (const [, { tr, what }] of this.shown) tr.toggleAttribute("data-stressed", Boolean(id) && what?.id === id);
  }

  // ---- hands
  clicked(event) {
    const tr = event.target.closest("tr[data-place]");
    if (!tr) return;
    const place = Number(tr.dataset.place);
    const item = this.sections.find(place);
    this.active = place;
    if (item.head) return this.on.fold(item.section);
    if (!item.row) return;
    if (event.target.closest(".pick")) {
      const box = tr.querySelector(".pick input");
      if (event.target !== box) box.checked = !box.checked;
      if (event.shiftKey && this.anchor !== undefined) this.range(this.anchor, place, box.checked);
      else this.on.toggle([item.row], box.checked);
      this.anchor = place;
      return;
    }
    if (event.target.closest("a, button, input, label") || String(getSelection())) return;
    if (event.metaKey || event.ctrlKey) this.on.toggle([item.row], !this.selected(item.row.id));
    else if (event.shiftKey && this.anchor !== undefined) this.range(this.anchor, place, true);
    else return this.on.open(item.row, event);
    this.anchor = place;
  }

  range(from, to, chosen) {
    const rows = [];
    for (let place = Math.min(from, to); place <= Math.max(from, to); place += 1) {
      const { row } = this.sections.find(place) ?? {};
      if (row) rows.push(row);
    }
    this.on.toggle(rows, chosen);
  }

  keys(event) {
    if (typing(event.target) && event.target.type !== "checkbox") return;
    if (event.target.closest("thead") || event.altKey) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "a") {
      event.preventDefault();
      return this.on.all();
    }
    if (event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.rowHeight) - 2);
    const to = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    const item = this.sections.find(this.active);
    if (to !== undefined) {
      event.preventDefault();
      const from = this.active;
      this.go(from + to);
      if (event.shiftKey) {
        this.anchor ??= from;
        this.range(this.anchor, this.active, true);
      }
      return;
    }
    if (!item || event.target.closest("a, button")) return;
    if (event.key === "Enter" && item.head) this.on.fold(item.section);
    else if (event.key === "Enter" && item.row) this.on.open(item.row, event);
    else if ((event.key === " " || event.key === "x") && item.row) {
      this.on.toggle([item.row], !this.selected(item.row.id));
      this.anchor = this.active;
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && item.head) this.on.fold(item.section);
    else if (event.key === "Escape") return this.on.none();
    else return;
    event.preventDefault();
  }

  /** Move to a row, and have it seen. */
  go(place) {
    this.active = Math.max(0, Math.min(place, this.sections.length - 1));
    const height = this.rowHeight;
    const head = this.table.tHead.offsetHeight;
    const top = this.active * height;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + height + head > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + height + head - this.scroll.clientHeight;
    this.draw();
    for (const [at, { tr }] of this.shown) tr.tabIndex = at === this.active ? 0 : -1;
    this.shown.get(this.active)?.tr.focus({ preventScroll: true });
  }
}
