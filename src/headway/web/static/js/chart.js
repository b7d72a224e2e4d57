// Charts: lines over steps, time or the time since each run began, drawn by uPlot. The server sends at most about a thousand points
// a line, and more of them when zoomed. A chart can be asked from outside: `figure.chart`, or by events on the figure:
//   headway:refresh                          look again
//   headway:chart  {smooth, log, x, mean}    draw it otherwise; what is left out stays
//   headway:points {key, steps, times, values}   points that came since, of the line with this key (without it: the only line)
// data-bare: the page says elsewhere which line is which run. On the document, headway:run {key} says which run is looked at: its line stands out in all charts.
import { colour, dashOf, faded, tokenOf } from "./colours.js";
import { asset, make, memory } from "./dom.js";
import { labels, tip } from "./chart-labels.js";
import { tools } from "./chart-tools.js";
import { short, span } from "./numbers.js";
import { averaged, joined, smoothed } from "./series.js";

export { short } from "./numbers.js";
export { smoothed } from "./series.js";

const AXES = ["step", "time", "relative"];
const MOST = 4000; // points of a line that grew here, before it is asked for again
const STEPS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power)); // steps are whole
const SPANS = [0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
let library = null;

function load() {
  library ??= new Promise((resolve, reject) => {
    const script = make("script", { src: asset("vendor/uplot.min.js") });
    script.addEventListener("load", () => resolve(window.uPlot));
    script.addEventListener("error", () => reject(new Error("the chart library did not load")));
    document.head.append(script);
  });
  return library;
}

/** Marks of a time axis: the hour within a day, the day over more, seconds within minutes. In the reader's zone. */
function times(ticks) {
  const length = (ticks.at(-1) ?? 0) - (ticks[0] ?? 0);
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : length;
  const style = length > 86400 * 2 && step >= 43200 ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hour12: false };
  if (step < 60) style.second = "2-digit";
  const format = new Intl.DateTimeFormat("en-GB", style);
  return ticks.map((tick) => format.format(tick * 1000));
}

export class Chart {
  constructor(figure, uPlot) {
    this.figure = figure;
    this.uPlot = uPlot;
    figure.chart = this;
    this.box = figure.querySelector(".chart-plot");
    const liked = memory.get("chart", {});
    this.smooth = Number(figure.dataset.smooth) || liked.smooth || 0;
    this.log = "log" in figure.dataset;
    this.x = AXES.includes(figure.dataset.x) ? figure.dataset.x : "step";
    this.mean = "mean" in figure.dataset;
    this.range = null;
    this.hidden = new Set();
    this.bar = "tools" in figure.dataset ? tools(this) : null;
    this.listen();
    this.fetch();
  }

  listen() {
    const { box, figure } = this;
    box.tabIndex = 0;
    new ResizeObserver(() => this.resize()).observe(box);
    figure.addEventListener("headway:refresh", () => this.fetch());
    figure.addEventListener("headway:chart", (event) => this.change(event.detail));
    figure.addEventListener("headway:points", (event) => this.append(event.detail));
    box.addEventListener("dblclick", () => this.range && this.zoom(null));
    box.addEventListener("keydown", (event) => this.keys(event));
    box.addEventListener("blur", () => this.forget());
    const theme = () => (figure.isConnected ? this.anew() : document.removeEventListener("headway:theme", theme));
    document.addEventListener("headway:theme", theme);
    const run = ({ detail }) => (figure.isConnected ? detail.from !== this && this.stress(detail.key) : document.removeEventListener("headway:run", run));
    document.addEventListener("headway:run", run);
  }

  // ---- data
  async fetch() {
    const url = new URL(this.figure.dataset.chart, location.href);
    url.searchParams.set("x", this.x);
    if (this.range) {
      url.searchParams.set("from", this.range[0]);
      url.searchParams.set("to", this.range[1]);
    }
    this.asking?.abort();
    this.asking = new AbortController();
    this.figure.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: this.asking.signal });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.data = await answer.json();
      this.plot();
      this.later();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!this.chart) this.failed(error);
    }
    this.figure.removeAttribute("aria-busy");
  }

  failed(error) {
    const again = make("button", { type: "button", class: "button small" }, "Try again");
    again.addEventListener("click", () => this.fetch());
    this.box.replaceChildren(make("p", { class: "chart-wait" }, `The chart could not be loaded: ${error.message}. `, again));
  }

  later() {
    clearTimeout(this.timer);
    const every = 1000 * Number(this.figure.dataset.live);
    if (!every || this.data.done || !this.figure.isConnected) return;
    this.timer = setTimeout(() => (document.hidden || this.range ? this.later() : this.fetch()), every);
  }

  /** Points that came since: drawn at the next frame. A zoomed chart keeps to what it shows. */
  append({ key, steps, times, values }) {
    const line = this.data?.series.find((one) => key === undefined || one.key === key);
    if (!line || this.range) return;
    const origin = this.axis === "relative" ? (line.start ?? times[0]) : 0;
    const xs = this.axis === "step" ? steps : times.map((ms) => ms - origin);
    const last = line.x.at(-1) ?? -Infinity;
    values.forEach((value, at) => {
      if (xs[at] <= last) return;
      line.x.push(xs[at]);
      line.y.push(Number.isFinite(value) ? value : null);
    });
    if (line.x.length > MOST) return this.fetch();
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.plot();
    });
  }

  change({ smooth, log, x, mean }) {
    if (smooth !== undefined) this.smooth = smooth;
    if (log !== undefined) this.log = log;
    if (mean !== undefined) this.mean = mean;
    this.bar?.show();
    if (x !== undefined && x !== this.x) {
      this.x = x;
      this.zoom(null);
    } else if (this.data) this.plot();
  }

  zoom(range) {
    this.range = range;
    this.bar?.show();
    this.fetch();
  }

  toggle(key, alone = false) {
    const keys = this.lines.map((one) => one.key ?? one.name);
    if (alone) this.hidden = this.hidden.size === keys.length - 1 && !this.hidden.has(key) ? new Set() : new Set(keys.filter((other) => other !== key));
    else if (!this.hidden.delete(key)) this.hidden.add(key);
    this.plot();
  }

  // ---- drawing
  /** The columns that uPlot draws, in blocks of one a line: what was logged (faint, if smoothed), the band's ends, the lines. */
  columns() {
    const lines = this.lines;
    const scaled = this.axis === "step" ? lines : lines.map((one) => ({ ...one, x: one.x.map((ms) => ms / 1000) }));
    const [xs, ...raw] = joined(scaled);
    const blocks = [];
    const inLog = (values) => (this.isLog ? values.map((value) => (value > 0 ? value : null)) : values);
    this.isSmooth = this.smooth > 0 && xs.length > 2;
    this.hasBand = lines.some((one) => one.low);
    if (this.isSmooth && !this.hasBand) blocks.push(...raw.map(inLog));
    if (this.hasBand) {
      for (const end of ["low", "high"]) {
        const ends = joined(scaled.map((one) => ({ x: one.x, y: one[end] ?? one.y }))).slice(1);
        blocks.push(...ends.map((values) => inLog(smoothed(values, this.smooth))));
      }
    }
    this.offset = blocks.length;
    return [xs, ...blocks, ...raw.map((values) => inLog(smoothed(values, this.smooth)))];
  }

  plot() {
    this.axis = AXES.includes(this.data.x) ? this.data.x : this.x;
    const series = this.data.series.filter((one) => one.x.length);
    this.lines = this.mean && series.length > 1 && !series[0].low ? averaged(series) : series; // those with a band are means
    if (!this.lines.length) return this.empty();
    if (this.axis === "step" && !this.mean && series.every((one) => new Set(one.x).size < 2)) return this.bars(series);
    this.isLog = this.log && this.lines.some((one) => one.y.some((value) => value > 0));
    const columns = this.columns();
    const shape = JSON.stringify([this.lines.map((one) => [one.name, one.key, tokenOf(one.key ?? one.name)]), this.offset, this.isLog, this.axis, this.range, [...this.hidden], this.box.clientWidth]);
    if (this.chart && shape === this.shape) {
      this.chart.setData(columns);
      return labels(this);
    }
    this.shape = shape;
    this.clear();
    this.chart = new this.uPlot(this.options(), columns, this.box);
  }

  /** Drawn from scratch: the colours are others now. */
  anew() {
    this.shape = "";
    if (this.data) this.plot();
  }

  clear() {
    this.chart?.destroy();
    this.chart = null;
    this.box.replaceChildren();
  }

  empty() {
    this.clear();
    this.box.append(make("p", { class: "chart-wait" }, this.range ? "Nothing lies in this range. Double-click shows all." : "Nothing was logged here yet."));
  }

  /** Where each series has one point only, a line has nothing to tell: bars, longest first, from zero. */
  bars(series) {
    this.clear();
    const rows = series
      .map((one) => ({ one, value: one.y.at(-1) }))
      .filter(({ value }) => value != null)
      .sort((a, b) => b.value - a.value);
    const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
    const list = make("ol", { class: "bars" });
    for (const { one, value } of rows) {
      const bar = make("span", { class: value < 0 ? "bar below" : "bar" });
      bar.style.width = `${Math.max(0.5, (Math.abs(value) / most) * 100)}%`;
      bar.style.background = `var(${tokenOf(one.key ?? one.name)})`;
      const name = make("span", { class: "bar-name", title: one.name }, one.name);
      const row = make("li", { "data-key": one.key ?? one.name }, name, make("span", { class: "bar-room" }, bar), make("span", { class: "num" }, short(value)));
      row.addEventListener("pointerenter", () => this.tell(one.key));
      row.addEventListener("pointerleave", () => this.tell(null));
      list.append(row);
    }
    this.box.append(list);
  }

  options() {
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: colour("--text-3"), font, grid, ticks: { show: false }, gap: 6 };
    const count = this.lines.length;
    this.strokes = this.lines.map((one) => colour(tokenOf(one.key ?? one.name)));
    const shown = (one) => !this.hidden.has(one.key ?? one.name);
    const lone = (one) => one.y.filter((value) => value != null).length < 2;
    const line = (one, at) => ({
      label: one.name, stroke: this.strokes[at], width: 1.75, dash: dashOf(one.key ?? one.name), spanGaps: true, show: shown(one),
      points: { show: lone(one), size: 7, fill: this.strokes[at] },
    });
    const under = [];
    for (let block = 0; block < this.offset / count; block += 1) {
      under.push(...this.lines.map((one, at) => ({ ...line(one, at), stroke: this.hasBand ? "transparent" : faded(this.strokes[at]), width: 1, points: { show: false } })));
    }
    const bands = this.hasBand ? this.lines.map((_, at) => ({ series: [1 + count + at, 1 + at], fill: faded(this.strokes[at], 18) })) : [];
    return {
      width: this.box.clientWidth,
      height: this.height(),
      padding: [8, this.room(), 0, 0],
      legend: { show: false },
      focus: { alpha: 0.22 },
      scales: { x: { time: this.axis === "time", range: (_, low, high) => this.ends(low, high) }, y: this.isLog ? { distr: 3 } : { range: (_, low, high) => this.bounds(low, high) } },
      axes: [
        { ...axis, space: 64, size: 26, grid: { show: false }, ...this.marks() },
        { ...axis, space: 34, size: 48, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick))) },
      ],
      cursor: { sync: { key: this.figure.dataset.group, setSeries: false }, drag: { x: true, y: false, setScale: false, dist: 4 }, focus: { prox: 24 }, points: { size: 7 }, y: false, bind: { dblclick: () => () => null } },
      bands,
      series: [{}, ...under, ...this.lines.map(line)],
      hooks: {
        ready: [(chart) => labels(this, chart)], setCursor: [() => tip(this)], setSelect: [(chart) => this.selected(chart)],
        setSeries: [(_, at, options) => this.pointed(at, options)],
      },
    };
  }

  marks() {
    if (this.axis === "time") return { values: (_, ticks) => times(ticks) };
    if (this.axis === "relative") return { incrs: SPANS, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : span(tick * 1000))) };
    return { incrs: STEPS, values: (_, ticks) => ticks.map(short) };
  }

  /** The ends of the x axis: what was zoomed to, else from the first point to the last. */
  ends(low, high) {
    const scale = this.axis === "step" ? 1 : 1000;
    if (this.range) return this.range.map((end) => end / scale);
    return low === high ? [low - 1, high + 1] : [low, high];
  }

  /** The ends of the y axis: a little air, and a sane span where all values are the same. */
  bounds(low, high) {
    if (low == null) return [0, 1];
    if (low === high) return low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
    return this.uPlot.rangeNum(low, high, 0.1, true);
  }

  height() {
    if (!this.figure.classList.contains("full")) return Number(this.figure.dataset.height);
    return Math.max(160, innerHeight - this.box.getBoundingClientRect().top - 48);
  }

  /** Space to the right of the lines, for their names. */
  room() {
    const full = this.figure.classList.contains("full");
    this.direct = (full || !("bare" in this.figure.dataset)) && this.box.clientWidth > 440 && this.lines.length > 1 && this.lines.length - this.hidden.size <= 10;
    return this.direct ? 116 : 14;
  }

  resize() {
    if (this.chart && (this.chart.width !== this.box.clientWidth || this.chart.height !== this.height())) this.plot();
  }

  // ---- looking
  selected(chart) {
    if (chart.select.width < 6) return;
    const scale = this.axis === "step" ? 1 : 1000;
    const [from, to] = [0, chart.select.width].map((shift) => chart.posToVal(chart.select.left + shift, "x") * scale);
    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoom([Math.floor(from), Math.ceil(to)]);
  }

  /** uPlot says which of its series is under the cursor: tell the page which run that is. */
  pointed(at, options) {
    if (options.focus == null || this.stressing) return;
    const line = at == null ? null : this.lines[(at - 1) % this.lines.length];
    if (line?.key === this.told) return;
    this.tell(line?.key ?? null);
  }

  tell(key) {
    this.told = key;
    document.dispatchEvent(new CustomEvent("headway:run", { detail: { key, from: this } }));
  }

  /** Let one line stand out; none: all are as they were. */
  stress(key) {
    for (const row of this.box.querySelectorAll(".bars li")) row.toggleAttribute("data-stressed", row.dataset.key === key);
    if (!this.chart) return;
    const at = this.lines.findIndex((one) => one.key === key);
    this.stressing = true;
    this.chart.setSeries(at < 0 ? null : 1 + this.offset + at, { focus: at >= 0 });
    this.stressing = false;
  }

  keys(event) {
    if (!this.chart || event.ctrlKey || event.metaKey || event.altKey || event.target !== this.box) return;
    const xs = this.chart.data[0];
    const at = this.chart.cursor.idx;
    const act = {
      ArrowLeft: () => this.point(Math.max(0, (at ?? xs.length) - (event.shiftKey ? 10 : 1))),
      ArrowRight: () => this.point(Math.min(xs.length - 1, (at ?? -1) + (event.shiftKey ? 10 : 1))),
      "+": () => this.closer(0.5), "=": () => this.closer(0.5), "-": () => this.range && this.closer(2),
      0: () => this.zoom(null), f: () => this.bar?.full(), l: () => this.change({ log: !this.log }),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  point(at) {
    this.byKey = true;
    this.chart.setCursor({ left: this.chart.valToPos(this.chart.data[0][at], "x"), top: this.chart.over.clientHeight / 2 });
  }

  closer(share) {
    const { min, max } = this.chart.scales.x;
    const scale = this.axis === "step" ? 1 : 1000;
    const middle = this.chart.cursor.idx == null ? (min + max) / 2 : this.chart.data[0][this.chart.cursor.idx];
    const length = (max - min) * share;
    const from = share < 1 ? Math.min(Math.max(min, middle - length / 2), max - length) : middle - length / 2;
    this.zoom([Math.floor(from * scale), Math.ceil((from + length) * scale)]);
  }

  forget() {
    this.byKey = false;
    this.chart?.setCursor({ left: -10, top: -10 });
  }
}

export async function draw(figure) {
  try {
    new Chart(figure, await load());
  } catch (error) {
    figure.querySelector(".chart-wait").textContent = error.message;
  }
}
