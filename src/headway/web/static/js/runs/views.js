// Saved views: a name for the state. One's own or the project's, and one of them may be where the page begins.
import { icon, make, toast } from "../dom.js";
import { send } from "./source.js";
import { read, write } from "./state.js";

export class Views {
  constructor(explorer) {
    this.explorer = explorer;
    this.list = explorer.setup.views;
    this.items = make("div", { class: "menu-items views-menu" });
    this.label = make("span");
    this.menu = make("details", { class: "menu" }, make("summary", { class: "button" }, icon("layout-list"), this.label, icon("chevron-down")), this.items);
    this.menu.addEventListener("toggle", () => this.menu.open && this.draw());
    explorer.root.querySelector(".runs-query").append(this.menu);
    this.show();
  }

  get current() {
    return this.list.find((view) => String(view.id) === this.explorer.state.view);
  }

  get differs() {
    return this.current && write(read(this.current.query), false) !== write(this.explorer.state, false);
  }

  show() {
    this.label.textContent = this.current ? `${this.current.name}${this.differs ? " *" : ""}` : "Views";
    this.menu.querySelector("summary").title = this.differs ? "This view was changed since it was saved" : "Saved views";
  }

  url(id = "") {
    return `${this.explorer.api}/views${id ? `/${id}` : ""}`;
  }

  async act(method, id, body, said) {
    try {
      const found = await send(method, this.url(id), body);
      this.list = found.views;
      this.explorer.setup.views = found.views;
      if (found.id) this.explorer.set({ view: String(found.id) }, false);
      else if (method === "DELETE" && String(id) === this.explorer.state.view) this.explorer.set({ view: "" }, false);
      toast(said);
      this.show();
      this.draw();
    } catch (problem) {
      toast(`${problem.message} ${problem.hint ?? ""}`.trim(), "bad");
    }
  }

  draw() {
    const { explorer, current } = this;
    const parts = [];
    const groups = [["Mine", this.list.filter((view) => view.mine && !view.shared)], ["Of the project", this.list.filter((view) => view.shared)]];
    for (const [title, list] of groups) {
      if (!list.length) continue;
      parts.push(make("p", { class: "choices-title" }, title), ...list.map((view) => this.row(view)));
    }
    if (!parts.length) parts.push(make("p", { class: "help" }, "Save the filter, columns, order and charts of now under a name."));
    const plain = make("a", { href: `${location.pathname}?view=none` }, icon("undo-2"), "As at first");
    parts.push(make("hr"), plain);
    if (current && this.differs && this.may(current)) parts.push(this.button(`Save over “${current.name}”`, "save", () => this.act("PATCH", current.id, { query: write(explorer.state, false) }, "The view is saved.")));
    parts.push(this.form());
    this.items.replaceChildren(...parts);
  }

  may(view) {
    return view.shared ? this.explorer.mayEdit : view.mine;
  }

  row(view) {
    const link = make("a", { href: `${location.pathname}?view=${view.id}&${view.query}`, "aria-current": view.id === this.current?.id ? "true" : false }, make("span", { class: "truncate" }, view.name));
    const row = make("div", { class: "view-row" }, link);
    if (!this.may(view)) {
      if (view.default) link.append(make("small", {}, "at first"));
      return row;
    }
    const small = (label, sign, act, pressed) => {
      const made = make("button", { type: "button", class: "icon-button", title: label, "aria-label": `${label}: ${view.name}`, "aria-pressed": pressed === undefined ? false : String(pressed) }, icon(sign));
      made.addEventListener("click", act);
      row.append(made);
    };
    small(view.default ? "The page begins with it" : "Begin with it", "star", () => this.act("PATCH", view.id, { default: !view.default }, view.default ? "The page begins as at first." : `The page begins with ${view.name}.`), view.default);
    if (this.explorer.mayEdit && view.mine) small(view.shared ? "Keep it to myself" : "Share with the project", "users", () => this.act("PATCH", view.id, { shared: !view.shared }, view.shared ? "The view is yours alone." : "The view is the project's."), view.shared);
    small("Delete", "trash-2", () => this.act("DELETE", view.id, undefined, `${view.name} is deleted.`));
    return row;
  }

  button(label, sign, act) {
    const made = make("button", { type: "button" }, icon(sign), label);
    made.addEventListener("click", act);
    return made;
  }

  form() {
    const name = make("input", { name: "name", placeholder: "Name of a new view", required: true, maxlength: "80", "aria-label": "Name of a new view", autocomplete: "off" });
    const shared = make("input", { type: "checkbox", name: "shared" });
    const form = make("form", { class: "view-form" }, name, make("button", { type: "submit", class: "button small primary" }, make("span", {}, "Save")), this.explorer.mayEdit ? make("label", {}, shared, "for everybody in the project") : null);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.act("POST", "", { name: name.value, query: write(this.explorer.state, false), shared: shared.checked }, `${name.value} is saved.`);
    });
    return form;
  }}
