// Tables: rows by keyboard, columns chosen and remembered, sorting of what is shown, selection to compare, export.
import { fresh, icon, make, memory, ready, typing } from "./dom.js";
import { quoted } from "./numbers.js";

const sorted = new Map(); // key of a table -> [column, down]: a table that the server sends anew is shown in the order that was asked for

class Table {
  constructor(frame) {
    this.frame = frame;
    this.table = frame.querySelector("table");
    this.key = `table.${frame.dataset.table}`;
    if (!this.table?.tHead) return;
    this.heads = [...this.table.tHead.rows[this.table.tHead.rows.length - 1].cells];
    if ("columns" in frame.dataset || frame.dataset.csv || frame.dataset.compare) this.tools();
    if ("sort" in frame.dataset) this.sortable();
    this.rows().forEach((row, at) => (row.tabIndex = at ? -1 : 0));
    this.listen();
  }

  rows() {
    return [...this.table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.dataset.href || row.querySelector(".pick input"));
  }

  listen() {
    this.table.addEventListener("click", (event) => {
      const row = event.target.closest("tbody tr");
      if (!row) return;
      if (event.target.closest(".pick")) return this.picked(event);
      if (!row.dataset.href || event.target.closest("a, button, input, label, select, summary, form") || String(getSelection())) return;
      if (event.metaKey || event.ctrlKey) window.open(row.dataset.href, "_blank", "noopener");
      else location.assign(row.dataset.href);
    });
    this.table.addEventListener("keydown", (event) => this.keys(event));
  }

  keys(event) {
    if (typing(event.target) && event.target.type !== "checkbox") return;
    const row = event.target.closest("tbody tr");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = this.rows();
    const at = rows.indexOf(row);
    const to = { j: at + 1, ArrowDown: at + 1, k: at - 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.focus(rows[Math.max(0, Math.min(to, rows.length - 1))]);
    } else if (event.key === "Enter" && event.target === row && row.dataset.href) {
      location.assign(row.dataset.href);
    } else if ((event.key === "x" || event.key === " ") && event.target === row && row.querySelector(".pick input")) {
      event.preventDefault();
      const box = row.querySelector(".pick input");
      box.checked = !box.checked;
      this.selection();
    }
  }

  focus(row) {
    for (const other of this.rows()) other.tabIndex = other === row ? 0 : -1;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  // ---- selection
  picked(event) {
    const box = event.target.closest("input") ?? event.target.closest(".pick").querySelector("input");
    if (!box) return;
    if (event.target !== box) box.checked = !box.checked;
    const rows = this.rows();
    const at = rows.indexOf(box.closest("tr"));
    if (event.shiftKey && this.last !== undefined) {
      const [from, to] = [Math.min(at, this.last), Math.max(at, this.last)];
      for (const row of rows.slice(from, to + 1)) row.querySelector(".pick input").checked = box.checked;
    }
    this.last = at;
    this.selection();
  }

  selection() {
    const chosen = this.rows().filter((row) => {
      const on = row.querySelector(".pick input")?.checked;
      row.toggleAttribute("data-selected", Boolean(on));
      return on;
    });
    if (!this.compare) return;
    const ids = chosen.map((row) => row.dataset.id);
    this.compare.hidden = !ids.length;
    this.compare.toggleAttribute("aria-disabled", ids.length < 2);
    this.compare.querySelector("span").textContent = ids.length < 2 ? "Pick another to compare" : `Compare ${ids.length}`;
    if (ids.length > 1) this.compare.href = this.frame.dataset.compare + ids.map(encodeURIComponent).join(",");
    else this.compare.removeAttribute("href");
    this.clear.hidden = !ids.length;
    this.note.textContent = ids.length ? `${ids.length} selected` : this.counted;
    this.frame.dispatchEvent(new CustomEvent("headway:selected", { bubbles: true, detail: { ids } }));
  }

  // ---- the bar over the table
  tools() {
    const count = this.table.tBodies[0]?.rows.length ?? 0;
    this.counted = this.frame.dataset.count ?? `${count} ${count === 1 ? "row" : "rows"}`;
    this.note = make("span", {}, this.counted);
    const bar = make("div", { class: "table-tools" }, this.note, make("span", { class: "spring" }));
    if (this.frame.dataset.compare) {
      this.clear = make("button", { type: "button", class: "button small quiet", hidden: true }, make("span", {}, "Clear"));
      this.clear.addEventListener("click", () => {
        for (const box of this.table.querySelectorAll(".pick input")) box.checked = false;
        this.selection();
      });
      this.compare = make("a", { class: "button small", hidden: true }, icon("git-compare"), make("span", {}, "Compare"));
      bar.append(this.clear, this.compare);
    }
    if ("columns" in this.frame.dataset) bar.append(this.chooser());
    if (this.frame.dataset.csv) {
      const save = make("button", { type: "button", class: "icon-button", title: "Save as CSV", "aria-label": "Save as CSV" }, icon("download"));
      save.addEventListener("click", () => this.export());
      const copy = make("button", { type: "button", class: "icon-button", title: "Copy table", "aria-label": "Copy table" }, icon("copy"));
      copy.addEventListener("click", () => import("./copy.js").then((module) => module.copy(this.text("\t"), copy)));
      bar.append(copy, save);
    }
    // in a card the tools stand in its head; the number of rows is said there already
    const head = this.frame.closest(".card.flush")?.querySelector(":scope > header");
    if (head && !head.querySelector(".table-tools")) {
      this.counted = "";
      this.note.textContent = "";
      head.append(bar);
    } else this.frame.prepend(bar);
    if (this.compare) this.selection();
  }

  chooser() {
    const saved = memory.get(`${this.key}.columns`, {});
    const items = make("div", { class: "menu-items" });
    for (const head of this.heads) {
      const name = head.dataset.col;
      if (!name) continue;
      const shown = saved[name] ?? !("hidden" in head.dataset);
      this.column(head, shown || "fixed" in head.dataset);
      if ("fixed" in head.dataset) continue;
      const box = make("input", { type: "checkbox" });
      box.checked = shown;
      box.addEventListener("change", () => {
        this.column(head, box.checked);
        memory.set(`${this.key}.columns`, { ...memory.get(`${this.key}.columns`, {}), [name]: box.checked });
      });
      items.append(make("label", {}, box, head.textContent.trim() || name));
    }
    const summary = make("summary", { class: "button small quiet", "aria-label": "Columns" }, icon("columns-3"), make("span", {}, "Columns"));
    return make("details", { class: "menu" }, summary, items);
  }

  column(head, shown) {
    const at = head.cellIndex;
    for (const row of this.table.rows) {
      if (row.cells.length === head.parentElement.cells.length && row.cells[at]) row.cells[at].hidden = !shown;
    }
  }

  // ---- sorting of the rows that are here
  sortable() {
    for (const head of this.heads) {
      if (!head.dataset.col || head.querySelector("a")) continue;
      const button = make("button", { type: "button", class: "sort-button" }, ...head.childNodes, icon("arrow-down"));
      head.append(button);
      button.addEventListener("click", () => this.sort(head, head.getAttribute("aria-sort") !== "descending"));
      const [name, down] = sorted.get(this.key) ?? [];
      if (name === head.dataset.col) this.sort(head, down);
    }
  }

  sort(head, down) {
    sorted.set(this.key, [head.dataset.col, down]);
    for (const other of this.heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const at = head.cellIndex;
    const body = this.table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, value: valueOf(row.cells[at]) }));
    rows.sort((a, b) => order(a.value, b.value, down));
    body.append(...rows.map(({ row }) => row));
  }

  // ---- export
  text(separator) {
    const shown = (cell) => !cell.hidden && !cell.classList.contains("pick") && !cell.classList.contains("actions");
    return [...this.table.rows]
      .map((row) => [...row.cells].filter(shown).map((cell) => quoted(plain(cell), separator)).join(separator))
      .join("\n");
  }

  export() {
    const url = URL.createObjectURL(new Blob([this.text(",") + "\n"], { type: "text/csv;charset=utf-8" }));
    make("a", { href: url, download: this.frame.dataset.csv }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

function plain(cell) {
  const time = cell.querySelector("time");
  const number = cell.querySelector(".num[title]");
  return (time?.dateTime ?? (cell.classList.contains("num") && number?.title) ?? "") || cell.innerText.trim().replace(/\s+/g, " ").replace("−", "-");
}

function valueOf(cell) {
  if (!cell) return null;
  const time = cell.querySelector("time[data-when]");
  if (cell.dataset.value !== undefined) return number(cell.dataset.value);
  if (time) return Number(time.dataset.when);
  const text = plain(cell);
  return text === "" || text === "–" ? null : number(text);
}

function number(text) {
  const value = Number(text.replaceAll(",", ""));
  return Number.isFinite(value) ? value : text;
}

function order(a, b, down) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // what is missing stays last, either way
  const sign = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  return down ? -sign : sign;
}

ready((root) => fresh(root, "[data-table]", "tabled").forEach((frame) => new Table(frame)));

// j and k enter the first table of the page
document.addEventListener("keydown", (event) => {
  if ((event.key !== "j" && event.key !== "k") || event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
  document.querySelector("[data-table] tbody tr[tabindex='0']")?.focus();
});
