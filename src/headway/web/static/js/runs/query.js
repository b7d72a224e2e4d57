// The query bar: what may come next is offered while one types, errors are pointed at, and what was asked lately is at hand.
import { make, memory } from "../dom.js";
import { ask } from "./source.js";
import { meant } from "./state.js";

const WAIT_MS = 120;
const KEPT = 12;

export class Query {
  constructor(explorer) {
    this.explorer = explorer;
    this.form = explorer.root.querySelector(".runs-query");
    this.field = this.form.querySelector("#runs-filter");
    this.problem = explorer.root.querySelector("#runs-problem");
    this.box = this.form.querySelector(".query");
    this.list = make("ul", { class: "completions", role: "listbox", id: "runs-completions", "aria-label": "Suggestions", hidden: true });
    this.marks = make("div", { class: "query-marks mono", "aria-hidden": "true" });
    this.box.append(this.marks, this.list);
    for (const [name, value] of Object.entries({ role: "combobox", "aria-controls": "runs-completions", "aria-expanded": "false", "aria-autocomplete": "list" })) this.field.setAttribute(name, value);
    this.recent = `runs.queries.${explorer.root.dataset.slug}`;
    this.options = [];
    this.at = -1;
    this.listen();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply(this.field.value);
    });
    this.field.addEventListener("input", () => {
      this.marks.replaceChildren();
      this.soon();
    });
    this.field.addEventListener("search", () => !this.field.value && this.apply("")); // the cross in the field
    this.field.addEventListener("focus", () => this.soon());
    this.field.addEventListener("click", () => this.soon());
    this.field.addEventListener("keydown", (event) => this.keys(event));
    this.field.addEventListener("blur", () => setTimeout(() => document.activeElement === this.field || this.close(), 150));
    this.field.addEventListener("scroll", () => (this.marks.scrollLeft = this.field.scrollLeft));
    const experiment = this.form.querySelector("#runs-experiment");
    experiment.addEventListener("change", () => this.explorer.set({ experiment: experiment.value ? experiment.value.split(",") : [], view: "" }));
  }

  show() {
    this.field.value = this.explorer.state.filter;
  }

  apply(text) {
    const filter = text.trim();
    this.close();
    this.field.value = filter;
    this.fine();
    if (filter) memory.set(this.recent, [filter, ...memory.get(this.recent, []).filter((one) => one !== filter)].slice(0, KEPT));
    this.explorer.set({ filter });
  }

  /** The filter in force, in the grammar. */
  meant() {
    return meant(this.explorer.state.filter);
  }

  // ---- errors
  fine() {
    this.field.removeAttribute("aria-invalid");
    this.marks.replaceChildren();
    this.problem.replaceChildren();
  }

  /** The server says at which character it stopped to understand: that is underlined. */
  wrong(problem) {
    this.field.setAttribute("aria-invalid", "true");
    this.field.setAttribute("aria-describedby", "runs-problem");
    const at = problem.position;
    const text = this.field.value;
    if (Number.isInteger(at)) {
      const lead = text.length - text.trimStart().length;
      const from = Math.min(lead + at, text.length);
      const rest = /^\S*/.exec(text.slice(from))[0];
      this.marks.replaceChildren(text.slice(0, from), make("u", {}, rest || " "));
      this.marks.scrollLeft = this.field.scrollLeft;
    }
    this.problem.replaceChildren(make("p", { class: "query-problem", role: "alert" }, make("strong", {}, problem.message), " ", problem.hint ?? ""));
  }

  // ---- completion
  soon() {
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.look(), WAIT_MS);
  }

  async look() {
    const text = this.field.value;
    const caret = this.field.selectionStart ?? text.length;
    if (document.activeElement !== this.field) return;
    const lately = text.trim() ? [] : memory.get(this.recent, []).map((filter) => ({ text: filter, label: filter, kind: "recent", whole: true }));
    const turn = (this.turn = (this.turn ?? 0) + 1);
    let found = { items: [], start: caret, end: caret };
    try {
      const asked = new URLSearchParams({ text, at: String(caret) });
      this.explorer.state.experiment.forEach((id) => asked.append("experiment", id));
      found = await ask(`${this.explorer.api}/complete?${asked}`);
    } catch {
      // without suggestions one can still type
    }
    if (turn !== this.turn || document.activeElement !== this.field) return;
    this.place = found;
    this.options = [...lately, ...found.items];
    this.at = -1;
    this.draw();
  }

  draw() {
    this.list.hidden = !this.options.length;
    this.field.setAttribute("aria-expanded", String(!this.list.hidden));
    this.list.replaceChildren(...this.options.map((option, at) => {
      const item = make("li", { role: "option", id: `completion-${at}`, "aria-selected": String(at === this.at) }, make("span", { class: "mono truncate" }, option.label), make("small", {}, option.note ?? option.kind));
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.take(option);
      });
      return item;
    }));
    this.field.toggleAttribute("aria-activedescendant", false);
    if (this.at >= 0) {
      this.field.setAttribute("aria-activedescendant", `completion-${this.at}`);
      this.list.children[this.at].scrollIntoView({ block: "nearest" });
    }
  }

  take(option) {
    if (option.whole) return this.apply(option.text);
    const text = this.field.value;
    const before = text.slice(0, this.place.start);
    const gap = before && !/\s$/.test(before) && this.place.start === this.place.end && !/^[')]/.test(option.text) ? " " : "";
    const put = `${before}${gap}${option.text} `;
    this.field.value = put + text.slice(this.place.end).replace(/^\s+/, "");
    this.field.setSelectionRange(put.length, put.length);
    this.marks.replaceChildren();
    this.field.focus();
    this.look();
  }

  close() {
    clearTimeout(this.wait);
    this.turn = (this.turn ?? 0) + 1;
    this.options = [];
    this.list.hidden = true;
    this.field.setAttribute("aria-expanded", "false");
  }

  keys(event) {
    const open = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!open) return this.look();
      this.at = (this.at + step + this.options.length + (this.at < 0 && step < 0 ? 1 : 0)) % this.options.length;
      this.draw();
    } else if ((event.key === "Enter" || event.key === "Tab") && open && this.at >= 0) {
      event.preventDefault();
      this.take(this.options[this.at]);
    } else if (event.key === "Tab" && open && this.field.value && this.options.length) {
      event.preventDefault();
      this.take(this.options[0]);
    } else if (event.key === "Escape" && open) {
      event.stopPropagation();
      event.preventDefault();
      this.close();
    }
  }
}
