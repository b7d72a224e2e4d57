// The runs explorer: its state is the page's address; the table, the charts and the query bar follow it and change it.
import { begin } from "../colours.js";
import { make, toast } from "../dom.js";
import { Actions } from "./actions.js";
import { chooser } from "./chooser.js";
import { columns, sorting } from "./columns.js";
import { Grid, Sections } from "./grid.js";
import { head } from "./head.js";
import { Live } from "./live.js";
import { Panel } from "./panel.js";
import { Query } from "./query.js";
import { same } from "./same.js";
import { ask, Source } from "./source.js";
import { both, meant, question, read, write } from "./state.js";
import { Views } from "./views.js";

const RELOADS = ["filter", "sort", "column", "group"]; // what the rows are asked for with
const NAVIGATES = ["experiment", "deleted", "children"]; // what the whole page is about

class Explorer {
  constructor(root) {
    this.root = root;
    this.api = root.dataset.runs;
    this.base = root.dataset.base;
    this.setup = JSON.parse(root.dataset.setup);
    this.state = read(location.search);
    this.mayRun = "mayRun" in root.dataset;
    this.mayEdit = "mayEdit" in root.dataset;
    this.chosen = [];
    this.charted = new Set();
    this.frame = root.querySelector(".runs-frame") ?? this.makeFrame();
    for (const plain of root.querySelectorAll("[data-plain]")) plain.remove();
    this.none = root.querySelector(".runs-none");
    this.chosen = [...this.frame.querySelectorAll("th[data-col]")].map((th) => th.dataset.col).filter((id) => /[.(]/.test(id));
    const scene = { base: this.base, setup: this.setup, charted: this.charted, filterChildren: (id) => `${this.base}?view=none&${new URLSearchParams({ filter: `tags.\`mlflow.parentRunId\` = '${id}'` })}` };
    this.grid = new Grid(this.frame, scene, {
      open: (row, event) => (event.metaKey || event.ctrlKey || event.button === 1 ? window.open(`${this.base}/${row.id}`, "_blank", "noopener") : location.assign(`${this.base}/${row.id}`)),
      toggle: (rows, chosen) => this.actions.toggle(rows, chosen), all: () => this.actions.all(true), none: () => this.actions.all(false),
      fold: (section) => this.fold(section), moved: () => this.live?.look(),
    });
    this.grid.selected = (id) => this.actions.has(id);
    this.actions = new Actions(this);
    this.query = new Query(this);
    this.views = new Views(this);
    this.panel = new Panel(this);
    this.tools();
    this.load();
    this.live = new Live(this);
    addEventListener("popstate", () => this.back());
    root.classList.add("alive");
  }

  makeFrame() {
    const table = make("table", { class: "table runs-table", "aria-label": "Runs" }, make("thead"), make("tbody"));
    const frame = make("div", { class: "table-frame runs-frame" }, make("div", { class: "runs-tools" }), make("div", { class: "table-scroll runs-scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, table));
    frame.hidden = true;
    this.root.append(frame);
    return frame;
  }

  tools() {
    this.said = make("span", { class: "runs-count", role: "status" });
    this.bar = this.frame.querySelector(".runs-tools");
    this.bar.replaceChildren(this.said, this.actions.bar, make("span", { class: "spring" }), this.actions.group, chooser(this), this.actions.exports);
  }

  // ---- state
  /** Change the state: the address, and all that depends on it. `push`: Back leads to the state before. */
  set(changes, push = true) {
    const old = write(this.state);
    Object.assign(this.state, changes);
    const now = write(this.state);
    if (now === old) return;
    const address = `${location.pathname}${now ? `?${now}` : "?view=none"}`;
    if (NAVIGATES.some((name) => name in changes)) return location.assign(address);
    if (push) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.follow(Object.keys(changes));
  }

  follow(names) {
    if (names.some((name) => RELOADS.includes(name))) this.load();
    else if (names.some((name) => ["pin", "width"].includes(name))) this.shape();
    this.panel.follow(names);
    this.views.show();
    this.actions.show();
    same(this);
  }

  back() {
    const old = this.state;
    this.state = read(location.search);
    if (NAVIGATES.some((name) => String(old[name]) !== String(this.state[name]))) return location.reload();
    this.query.show();
    this.follow([...RELOADS, "pin", "width", "panel", "chart", "top"]);
  }

  // ---- rows
  /** Ask for the rows of this state. What is seen stays until the first of them are here. */
  async load() {
    this.asked?.abort();
    this.asked = new AbortController();
    const number = (this.turn = (this.turn ?? 0) + 1);
    this.root.setAttribute("aria-busy", "true");
    try {
      if (this.state.group) await this.loadGroups(number);
      else this.loadFlat(number);
    } catch (problem) {
      if (problem.name !== "AbortError" && number === this.turn) this.failed(problem);
    }
  }

  url(asked) {
    // the columns of the last answer are kept, so that a filter does not move what one looks at
    const names = (this.state.column.length ? this.state.column : this.chosen).filter((id) => /[.(]/.test(id));
    const wanted = new URLSearchParams(asked);
    if (this.state.column.length || this.keepChosen) {
      for (const id of names) wanted.append("column", id);
      if (!names.length) wanted.append("column", "tags.mlflow.runName");
    }
    return `${this.api}/table?${wanted}`;
  }

  source(filter, number, first) {
    const source = new Source(this.url(question(this.state, filter)), (table) => number === this.turn && first(table, source), (problem) => number === this.turn && this.failed(problem));
    return source;
  }

  loadFlat(number) {
    const source = this.source(meant(this.state.filter), number, (table) => {
      if (this.source0 !== source) this.arrive(source, [{ source, open: true }]);
      this.shown(table);
    });
    source.need(0, 1);
    source.weigh();
  }

  arrive(source, list) {
    for (const section of this.grid.sections.list) if (section.source !== source) section.source?.close?.();
    this.source0 = source;
    if (source?.chosen && !this.state.column.length) this.chosen = source.chosen;
    this.keepChosen = true;
    this.grid.sections = new Sections(list);
    this.grid.scroll.scrollTop = 0;
    this.grid.active = 0;
    this.root.removeAttribute("aria-busy");
    this.query.fine();
    this.shape();
  }

  async loadGroups(number) {
    const filter = meant(this.state.filter);
    const asked = question(this.state, filter);
    asked.set("by", this.state.group);
    asked.set("limit", "200");
    const list = columns(this.state, this.chosen).filter((one) => one.kind === "metric");
    const metrics = [...new Set(list.map((one) => one.id))].slice(0, 8);
    const answers = await Promise.all((metrics.length ? metrics : [""]).map((metric) => {
      const url = new URLSearchParams(asked);
      if (metric) url.set("metric", metric);
      return ask(`${this.api}/groups?${url}`, { signal: this.asked.signal });
    }));
    if (number !== this.turn) return;
    const means = new Map();
    answers.forEach(({ groups }, at) => groups.forEach((group) => {
      if (!means.has(group.value)) means.set(group.value, {});
      if (metrics[at] && group.mean != null) means.get(group.value)[metrics[at]] = group;
    }));
    const opened = new Set(this.grid.sections.list.filter((one) => one.open && one.head).map((one) => one.head.value));
    const sections = answers[0].groups.map((group) => {
      const source = this.source(both(filter, group.filter), number, (table) => this.shown(table));
      source.total = group.runs;
      const label = group.value == null ? "none" : this.state.group === "attributes.experiment_id" ? (this.setup.experiments[group.value] ?? group.value) : group.value;
      return { source, open: opened.has(group.value), head: { value: group.value, label, title: `${this.state.group}: ${label}`, runs: group.runs, means: means.get(group.value) } };
    });
    this.total = sections.reduce((sum, one) => sum + one.head.runs, 0);
    this.arrive(null, sections);
    this.shown();
    this.panel.rows();
    if (answers[0].more) toast("Only the 200 largest groups are shown.", "warn");
  }

  fold(section) {
    section.open = !section.open;
    this.grid.clear();
    this.grid.go(this.grid.active);
  }

  /** Rows or their number came. */
  shown(table) {
    if (this.source0) this.total = this.source0.total ?? null;
    const empty = this.source0 ? this.source0.total === 0 : !this.grid.sections.list.length;
    this.frame.hidden = empty;
    this.nothing(empty);
    this.grid.soon();
    this.count();
    if (table) this.panel.rows();
  }

  nothing(empty) {
    if (!empty) return this.none?.remove();
    if (!this.state.filter && this.none) return void this.root.append(this.none);
    this.none?.remove();
    this.none = make("div", { class: "runs-none empty" }, make("h3", {}, "No runs here"), make("p", {}, "Nothing fulfils this filter."));
    const all = make("button", { type: "button", class: "button" }, "Clear the filter");
    all.addEventListener("click", () => this.query.apply(""));
    this.none.append(all);
    this.root.append(this.none);
  }

  failed(problem) {
    this.root.removeAttribute("aria-busy");
    if (problem.status === 400) this.query.wrong(problem);
    else toast(`${problem.message} ${problem.hint ?? ""}`.trim(), "bad");
  }

  count() {
    const chosen = this.actions.size;
    const all = this.total ?? null;
    const counted = this.source0 && this.source0.total === null ? `${this.source0.rows.length.toLocaleString("en")}+` : (all ?? 0).toLocaleString("en");
    this.said.textContent = chosen ? `${chosen.toLocaleString("en")} of ${counted} selected` : `${counted} ${all === 1 ? "run" : "runs"}${this.state.group ? ` in ${this.grid.sections.list.length} groups` : ""}`;
  }

  // ---- columns
  get columns() {
    return columns(this.state, this.chosen);
  }

  /** The head and the widths, as the state has them. */
  shape() {
    const list = this.columns;
    this.grid.columnsAre(list);
    this.headBox = head(this.grid.table.tHead, list, this.state, {
      sort: (id, direction, more) => this.sort(id, direction, more),
      replace: (id, other) => this.columnsAre(this.ids().map((one) => (one === id ? other : one))),
      hide: (id) => this.columnsAre(this.ids().filter((one) => one !== id)),
      pin: (id) => this.set({ pin: this.state.pin.includes(id) ? this.state.pin.filter((one) => one !== id) : [...this.state.pin, id] }),
      group: (id) => this.set({ group: id }),
      move: (id, before) => this.moveColumn(id, before),
      step: (id, by) => this.stepColumn(id, by),
      width: (id, px, done) => this.width(id, px, done),
      all: (chosen) => this.actions.all(chosen),
    });
    this.actions.show();
  }

  ids() {
    return this.columns.map((one) => one.id);
  }

  columnsAre(ids) {
    this.set({ column: ids });
  }

  moveColumn(id, before) {
    const ids = this.ids().filter((one) => one !== id);
    ids.splice(ids.indexOf(before), 0, id);
    this.columnsAre(ids);
  }

  stepColumn(id, by) {
    const ids = this.ids();
    const at = ids.indexOf(id);
    const to = Math.max(1, Math.min(ids.length - 1, at + by));
    ids.splice(at, 1);
    ids.splice(to, 0, id);
    this.columnsAre(ids);
  }

  width(id, px, done) {
    const widths = this.state.width.filter((one) => one.slice(0, one.lastIndexOf(":")) !== id);
    if (px !== null) widths.push(`${id}:${px}`);
    if (done) return this.set({ width: widths }, false);
    const at = this.columns.findIndex((one) => one.id === id);
    const col = this.grid.table.querySelectorAll("col")[at + 1];
    this.grid.table.style.width = `${parseFloat(this.grid.table.style.width) + px - parseFloat(col.style.width)}px`;
    col.style.width = `${px}px`;
  }

  sort(id, direction, more) {
    const { at } = sorting(this.state, id);
    const others = more ? this.state.sort.filter((_, i) => i !== at) : [];
    const mine = direction ? [`${id} ${direction}`] : [];
    const sort = more && at >= 0 && direction ? this.state.sort.with(at, mine[0]) : [...others, ...mine];
    this.set({ sort });
  }

  // ---- what is drawn
  /** The runs that the charts draw, in order; their names get a colour. */
  chart(ids) {
    const before = [...this.charted].join();
    this.charted.clear();
    ids.forEach((id) => this.charted.add(id));
    if (before === ids.join()) return;
    begin(ids);
    this.grid.refill();
  }

  /** The rows that are here, those on top first. */
  *rows() {
    for (const { source } of this.grid.sections.list) for (const row of source.rows) if (row) yield row;
  }
}

export function open(root) {
  root.explorer = new Explorer(root);
}
