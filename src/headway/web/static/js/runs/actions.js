// What is selected, and what can be done with it: compare, tag, delete, restore, export. Everything that matches can be meant too.
import { icon, make, toast } from "../dom.js";
import { send } from "./source.js";
import { meant, question } from "./state.js";

const COMPARED = 20;

export class Actions {
  constructor(explorer) {
    this.explorer = explorer;
    this.chosen = new Map(); // id -> row
    this.every = false; // all that match, whether they are here or not, but those left out
    this.but = new Set();
    this.bar = make("span", { class: "runs-actions" });
    this.group = make("span", { class: "runs-group" });
    this.exports = this.exporting();
  }

  get size() {
    return this.every ? Math.max(0, (this.explorer.total ?? this.explorer.source0?.count ?? 0) - this.but.size) : this.chosen.size;
  }

  has(id) {
    return this.every ? !this.but.has(id) : this.chosen.has(id);
  }

  toggle(rows, on) {
    for (const row of rows) {
      if (this.every) on ? this.but.delete(row.id) : this.but.add(row.id);
      else if (on) this.chosen.set(row.id, row);
      else this.chosen.delete(row.id);
    }
    this.changed();
  }

  all(on) {
    this.chosen.clear();
    this.but.clear();
    this.every = on;
    this.changed();
  }

  changed() {
    this.explorer.grid.refill();
    this.show();
    this.explorer.panel.rows();
  }

  show() {
    const { explorer, size } = this;
    const box = explorer.headBox;
    if (box) {
      box.checked = this.every && !this.but.size;
      box.indeterminate = size > 0 && !box.checked;
    }
    this.grouped();
    explorer.count?.();
    if (!size) return this.bar.replaceChildren();
    const parts = [];
    if (!this.every) {
      const ids = [...this.chosen.keys()];
      const few = ids.length < 2 || ids.length > COMPARED;
      const why = ids.length < 2 ? "Select another to compare" : ids.length > COMPARED ? `At most ${COMPARED} can be compared` : "";
      const compare = make("a", { class: "button small", "aria-disabled": few ? "true" : false, title: why || false, href: few ? false : `${explorer.base.replace(/runs$/, "compare")}?runs=${ids.join(",")}` }, icon("git-compare"), make("span", {}, "Compare"));
      parts.push(compare);
    }
    if (explorer.mayRun && !explorer.state.deleted) parts.push(this.tagging(), this.button("Delete", "trash-2", () => this.remove(), "danger"));
    if (explorer.mayRun && explorer.state.deleted) parts.push(this.button("Restore", "undo-2", () => this.act("restore", {}, "restored")));
    if (!this.every && (explorer.total ?? 0) > size) parts.push(this.button(`Select all ${explorer.total.toLocaleString("en")}`, "check", () => this.all(true), "quiet"));
    parts.push(this.button("Clear", "x", () => this.all(false), "quiet"));
    this.bar.replaceChildren(...parts);
  }

  button(label, sign, act, kind = "") {
    const made = make("button", { type: "button", class: `button small ${kind}` }, icon(sign), make("span", {}, label));
    made.addEventListener("click", act);
    return made;
  }

  // ---- groups
  grouped() {
    const { group } = this.explorer.state;
    if (!group) return this.group.replaceChildren();
    const name = group.replace(/^(attributes|params|tags)\./, "");
    const fold = this.button("Close all", "chevron-up", () => {
      for (const section of this.explorer.grid.sections.list) section.open = false;
      this.explorer.grid.clear();
    }, "quiet");
    const off = make("button", { type: "button", class: "tag", title: "Don't group" }, icon("layers"), `by ${name}`, icon("x"));
    off.addEventListener("click", () => this.explorer.set({ group: "" }));
    this.group.replaceChildren(off, fold);
  }

  // ---- doing
  /** What is meant, as the server is told. */
  selection() {
    if (!this.every) return { run_ids: [...this.chosen.keys()] };
    const { state } = this.explorer;
    return { all: true, filter: meant(state.filter), experiment: state.experiment, deleted: state.deleted, children: state.children || Boolean(state.filter.trim()), except: [...this.but] };
  }

  /** The server does some thousands at a time, and says where it is. */
  async act(action, more, done) {
    const total = this.size;
    const selection = this.selection();
    const progress = make("progress", { max: total, value: 0, "aria-label": "Progress" });
    this.bar.replaceChildren(progress);
    let changed = 0;
    try {
      let cursor = "";
      do {
        const answer = await send("POST", `${this.explorer.api}/bulk`, { action, ...selection, ...more, cursor });
        changed += answer.changed;
        cursor = answer.next;
        progress.value = changed;
      } while (cursor);
      toast(`${changed.toLocaleString("en")} ${changed === 1 ? "run" : "runs"} ${done}.`);
    } catch (problem) {
      const why = `${problem.message} ${problem.hint ?? ""}`.trim();
      toast(changed ? `${changed} runs ${done}, then: ${why}` : why, "bad");
    }
    this.all(false);
    await this.explorer.load();
    return changed;
  }

  remove() {
    const { size } = this;
    const dialog = document.getElementById("confirm");
    dialog.querySelector("#confirm-text").textContent = `Delete ${size.toLocaleString("en")} ${size === 1 ? "run" : "runs"}? ${size === 1 ? "It" : "They"} can be restored for 30 days; registered versions stay.`;
    const yes = dialog.querySelector("[data-yes]");
    yes.textContent = "Delete";
    yes.onclick = () => {
      dialog.close();
      this.act("delete", {}, "deleted");
    };
    dialog.showModal();
  }

  tagging() {
    const key = make("input", { name: "key", placeholder: "Name", required: true, maxlength: "250", "aria-label": "Name of the tag", autocomplete: "off" });
    const value = make("input", { name: "value", placeholder: "Value", maxlength: "5000", "aria-label": "Value of the tag", autocomplete: "off" });
    const form = make("form", { class: "menu-items tag-form" }, key, value, make("div", { class: "row" }, this.submit("Set", "set"), this.submit("Remove", "unset", "quiet")));
    const menu = make("details", { class: "menu" }, make("summary", { class: "button small" }, icon("tag"), make("span", {}, "Tag")), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const action = event.submitter?.value === "unset" ? "untag" : "tag";
      menu.open = false;
      this.act(action, { key: key.value.trim(), value: value.value }, action === "tag" ? "tagged" : "without the tag");
    });
    menu.addEventListener("toggle", () => menu.open && key.focus());
    return menu;
  }

  submit(label, value, kind = "primary") {
    return make("button", { type: "submit", class: `button small ${kind}`, value }, make("span", {}, label));
  }

  exporting() {
    const items = make("div", { class: "menu-items" });
    const menu = make("details", { class: "menu" }, make("summary", { class: "icon-button", "aria-label": "Export", title: "Export" }, icon("download")), items);
    menu.addEventListener("toggle", () => {
      if (!menu.open) return;
      const what = this.size ? "what is selected" : "all that match";
      items.replaceChildren(make("p", { class: "menu-title" }, `Export ${what}`), ...[["csv", "These columns, CSV"], ["csv", "All columns, CSV", true], ["jsonl", "All columns, JSON lines", true], ["parquet", "All columns, Parquet", true]].map(([format, label, whole]) => this.exportLink(format, label, whole)));
    });
    return menu;
  }

  exportLink(format, label, whole = false) {
    const asked = question(this.explorer.state);
    asked.set("format", format);
    if (whole) asked.set("all", "true");
    else for (const id of this.explorer.ids()) asked.append("column", id);
    if (!this.every) for (const id of this.chosen.keys()) asked.append("run", id);
    else for (const id of this.but) asked.append("except", id);
    const url = `${this.explorer.api}/export?${asked}`;
    return make("a", { href: url, download: "" }, icon(format === "csv" ? "table" : "file"), label);
  }
}
