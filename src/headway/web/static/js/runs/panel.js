// The charts over the table: lines of what is selected (or on top), parallel coordinates, a scatter, and what a metric hangs on.
import { icon, make, memory } from "../dom.js";
import { columns } from "./columns.js";
import { importance } from "./importance.js";
import { parallel } from "./parallels.js";
import { scatter } from "./scatter.js";
import { ask, rowsOf } from "./source.js";
import { meant, question } from "./state.js";

const TABS = [["lines", "Charts", "chart-line"], ["parallel", "Parallel", "share-2"], ["scatter", "Scatter", "chart-scatter"], ["importance", "Importance", "sliders-horizontal"]];
const TOPS = [5, 10, 20, 50];
const CHARTS = 3; // drawn at first
const WAIT_MS = 200;
const AXES = [["step", "Step"], ["time", "Time"], ["relative", "Since start"]];

export class Panel {
  constructor(explorer) {
    this.explorer = explorer;
    this.section = explorer.root.querySelector(".runs-panel");
    this.figures = new Map(); // metric -> figure
    this.usual = "lines"; // until it is known that nothing has a course
    this.tabs = make("div", { class: "segments", role: "tablist", "aria-label": "Charts" });
    for (const [name, label, sign] of TABS) {
      const tab = make("button", { type: "button", role: "tab", "data-tab": name }, icon(sign), label);
      tab.addEventListener("click", () => explorer.set({ panel: name }));
      this.tabs.append(tab);
    }
    this.tools = make("div", { class: "panel-tools" });
    this.close = make("button", { type: "button", class: "icon-button" });
    this.close.addEventListener("click", () => explorer.set({ panel: this.tab === "none" ? this.usual : "none" }));
    this.body = make("div", { class: "panel-body" });
    this.section.replaceChildren(make("header", {}, this.tabs, this.tools, this.close), this.body);
    this.section.hidden = false;
    this.header();
  }

  get tab() {
    return this.explorer.state.panel || this.usual;
  }

  header() {
    const shut = this.tab === "none";
    this.section.toggleAttribute("data-shut", shut);
    for (const tab of this.tabs.children) tab.setAttribute("aria-selected", String(tab.dataset.tab === this.tab));
    for (const tab of this.tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.tab === this.tab));
    this.close.replaceChildren(icon(shut ? "chevron-down" : "chevron-up"));
    this.close.title = shut ? "Show the charts" : "Hide the charts";
    this.close.setAttribute("aria-label", this.close.title);
    this.body.hidden = shut;
    this.tools.hidden = shut;
  }

  /** The state has changed in these. */
  follow(names) {
    this.header();
    const looks = ["smooth", "axis", "log", "mean"].filter((name) => names.includes(name));
    if (looks.length && looks.length === names.length) return this.look();
    if (names.includes("width") || names.includes("pin")) return;
    this.rows();
  }

  /** Rows came, or others are selected: what is drawn follows, a moment later. */
  rows() {
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.draw(), WAIT_MS);
  }

  async draw() {
    const { explorer, tab } = this;
    if (tab === "none") return explorer.chart([]);
    if (this.drawn !== tab) {
      this.body.replaceChildren();
      this.tools.replaceChildren();
      this.figures.clear();
      this.asked = "";
    }
    this.drawn = tab;
    try {
      if (tab === "lines") await this.lines();
      else {
        explorer.chart([]);
        await { parallel, scatter, importance }[tab]?.(this);
      }
    } catch (problem) {
      this.say(`${problem.message} ${problem.hint ?? ""}`);
    }
  }

  say(text) {
    this.figures.clear();
    this.asked = "";
    this.body.replaceChildren(make("p", { class: "chart-wait" }, text));
  }

  /** Rows with these columns for a drawing: of what is selected, else the first `most` that match. */
  async sample(ids, most) {
    const { actions, api, state } = this.explorer;
    const chosen = actions.every ? [] : [...actions.chosen.keys()];
    const filter = chosen.length > 1 ? `attributes.run_id IN (${chosen.slice(0, most).map((id) => `'${id}'`).join(", ")})` : meant(state.filter);
    const asked = question(state, filter);
    asked.set("limit", most);
    for (const id of ids.filter((one) => /[.(]/.test(one))) asked.append("column", id);
    if (!asked.has("column")) asked.append("column", "tags.mlflow.runName");
    const key = asked.toString();
    if (this.sampled?.key !== key) this.sampled = { key, rows: rowsOf(await ask(`${api}/table?${asked}`)) };
    return this.sampled.rows;
  }

  // ---- lines
  async lines() {
    const { explorer } = this;
    const { runs, by } = await this.drawnRuns();
    explorer.chart(by ? [] : runs);
    if (!runs.length) return this.say("Nothing to draw yet.");
    const address = `${explorer.base.replace(/runs$/, "")}curves?runs=${runs.join(",")}`;
    const bands = by ? this.bands(by) : "";
    const asked = JSON.stringify([runs, explorer.state.chart, bands]);
    if (asked === this.asked) return;
    this.asked = asked;
    const { metrics } = await ask(address);
    if (asked !== this.asked) return;
    this.metrics = metrics;
    const shown = explorer.state.chart.length ? explorer.state.chart : metrics.slice(0, innerWidth < 720 ? 1 : CHARTS);
    this.lineTools(runs, shown);
    if (!shown.length) {
      explorer.chart([]);
      if (!explorer.state.panel && this.drawable.some((one) => one.kind === "metric")) {
        this.usual = "scatter";
        this.header();
        return this.draw();
      }
      return this.say("These runs have no metric over several steps. Scatter and Parallel draw single numbers.");
    }
    this.place(runs, shown, bands);
  }

  /** The address of the means of all runs that match, in groups. */
  bands(by) {
    const { api, state } = this.explorer;
    const asked = question(state, meant(state.filter));
    for (const name of ["order", "column"]) asked.delete(name);
    asked.set("by", by);
    asked.set("limit", Number(state.top) || 10);
    return `${api}/bands?${asked}`;
  }

  async drawnRuns() {
    const { actions, state } = this.explorer;
    const top = Number(state.top) || 10;
    if (!actions.every && actions.chosen.size) return { runs: [...actions.chosen.keys()].slice(0, 100) };
    // the first runs say which metrics there are; what is drawn of groups is of all their runs
    if (state.group) return { runs: (await this.sample([], 60)).map((row) => row.id), by: state.group };
    const runs = [];
    for (const row of this.explorer.rows()) if (runs.push(row.id) === top) break;
    return { runs };
  }

  place(runs, shown, bands) {
    let grid = this.body.querySelector(".panel-charts");
    if (!grid) this.body.replaceChildren((grid = make("div", { class: "panel-charts" })));
    grid.dataset.count = Math.min(3, shown.length);
    for (const [metric, figure] of this.figures) {
      if (shown.includes(metric)) continue;
      figure.remove();
      this.figures.delete(metric);
    }
    const base = this.explorer.base.replace(/runs$/, "");
    for (const metric of shown) {
      const url = bands ? `${bands}&${new URLSearchParams({ key: metric })}` : `${base}series?${new URLSearchParams({ runs: runs.join(","), key: metric })}`;
      const known = this.figures.get(metric);
      const figure = known ?? this.figure(metric);
      this.figures.set(metric, figure);
      figure.toggleAttribute("data-bare", !bands); // the table's dots are the legend
      grid.append(figure);
      if (figure.dataset.chart === url && known) continue;
      figure.dataset.chart = url;
      if (known) figure.dispatchEvent(new CustomEvent("headway:refresh"));
      else import("../chart.js").then(({ draw }) => draw(figure));
      const mean = Boolean(this.explorer.state.mean);
      if (known?.chart && known.chart.mean !== mean) known.chart.change({ mean });
      else if (mean) figure.dataset.mean = "";
    }
  }

  figure(metric) {
    const { state } = this.explorer;
    return make("figure", { class: "chart", "data-height": "200", "data-group": "explorer", "data-x": state.axis || "step", "data-log": state.log, "data-smooth": state.smooth || "0", "data-tools": true, "data-name": metric },
      make("figcaption", { title: metric }, make("span", { class: "truncate" }, metric)), make("div", { class: "chart-plot", role: "img", "aria-label": metric }, make("p", { class: "chart-wait" }, "Loading")));
  }

  lineTools(runs, shown) {
    const { explorer } = this;
    const { state } = explorer;
    const chosen = !explorer.actions.every && explorer.actions.chosen.size > 0;
    const top = make("select", { "aria-label": "Runs drawn", class: "small" }, ...TOPS.map((n) => make("option", { value: n }, `first ${n}`)));
    top.value = String(Number(state.top) || 10);
    top.addEventListener("change", () => explorer.set({ top: top.value === "10" ? "" : top.value }, false));
    const what = chosen ? make("span", { class: "note" }, `${runs.length} selected`) : state.group ? make("span", { class: "note" }, "mean of each group") : top;
    const smooth = make("input", { type: "range", min: "0", max: "0.99", step: "0.01", "aria-label": "Smoothing of all charts", title: "Smoothing" });
    smooth.value = state.smooth || memory.get("chart", {}).smooth || 0;
    smooth.addEventListener("input", () => explorer.set({ smooth: smooth.value === "0" ? "" : smooth.value }, false));
    const axis = make("select", { "aria-label": "Horizontal axis of all charts", class: "small" }, ...AXES.map(([value, label]) => make("option", { value }, label)));
    axis.value = state.axis || "step";
    axis.addEventListener("change", () => explorer.set({ axis: axis.value === "step" ? "" : axis.value }, false));
    this.tools.replaceChildren(what, this.picker(shown), axis, smooth);
  }

  /** Which metrics are drawn. */
  picker(shown) {
    const { explorer, metrics } = this;
    const field = make("input", { type: "search", placeholder: "Search metrics", "aria-label": "Search metrics" });
    const list = make("div", { class: "choices" });
    const draw = () => {
      const q = field.value.trim().toLowerCase();
      const names = [...new Set([...shown, ...metrics])].filter((name) => name.toLowerCase().includes(q)).slice(0, 80);
      list.replaceChildren(...names.map((name) => {
        const box = make("input", { type: "checkbox" });
        box.checked = shown.includes(name);
        box.addEventListener("change", () => {
          shown = box.checked ? [...shown, name] : shown.filter((one) => one !== name);
          explorer.set({ chart: shown }, false);
        });
        return make("label", { title: name }, box, make("span", { class: "truncate" }, name));
      }));
    };
    field.addEventListener("input", draw);
    const menu = make("details", { class: "menu" }, make("summary", { class: "button small quiet" }, make("span", {}, `Metrics ${shown.length}/${metrics.length}`)), make("div", { class: "menu-items columns-menu" }, field, list));
    menu.addEventListener("toggle", () => menu.open && draw());
    const old = this.tools.querySelector("details.menu[open]");
    if (old) {
      menu.open = true;
      draw();
    }
    return menu;
  }

  look() {
    const { state } = this.explorer;
    const detail = { smooth: Number(state.smooth) || 0, x: state.axis || "step", log: state.log };
    for (const figure of this.figures.values()) figure.dispatchEvent(new CustomEvent("headway:chart", { detail }));
  }

  /** A run went on. */
  grew(data) {
    for (const [metric, figure] of this.figures) {
      const points = data.points?.[metric];
      if (points && this.explorer.charted.has(data.run)) figure.dispatchEvent(new CustomEvent("headway:points", { detail: { key: data.run, ...points } }));
    }
  }

  /** The columns that numbers or words can be drawn of: those shown. */
  get drawable() {
    return columns(this.explorer.state, this.explorer.chosen).filter((one) => ["metric", "param", "tag", "duration", "when"].includes(one.kind));
  }
}
