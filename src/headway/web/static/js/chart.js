// Charts: lines over steps or time, drawn by uPlot. The server sends at most a thousand points, and more of them when zoomed.
import { asset, icon, make, memory } from "./dom.js";

const COLOURS = 8;
const LABEL_SPACE = 116;
const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const STEPS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power)); // steps are whole
const colours = new Map(); // name of a series -> its number, the same in all charts of the page
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

/** A token as the colour that it is now, light or dark. */
function colour(token) {
  const probe = make("span", { hidden: true });
  document.body.append(probe);
  probe.style.color = `var(${token})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const faded = (value) => `color-mix(in srgb, ${value} 28%, transparent)`;

function numberOf(name) {
  if (!colours.has(name)) colours.set(name, colours.size);
  return colours.get(name);
}

/** Exponential moving average, corrected at its start; missing values stay missing. */
export function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0;
  let share = 0;
  return values.map((value) => {
    if (value == null) return null;
    sum = sum * weight + value * (1 - weight);
    share = share * weight + (1 - weight);
    return sum / share;
  });
}

export function short(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** Marks of a time axis: the hour within a day, the day over more, seconds within minutes. In the reader's zone. */
function times(ticks) {
  const span = (ticks.at(-1) ?? 0) - (ticks[0] ?? 0);
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : span;
  const style = span > 86400 * 2 && step >= 43200 ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hour12: false };
  if (step < 60) style.second = "2-digit";
  const format = new Intl.DateTimeFormat("en-GB", style);
  return ticks.map((tick) => format.format(tick * 1000));
}

class Chart {
  constructor(figure, uPlot) {
    this.figure = figure;
    this.uPlot = uPlot;
    this.box = figure.querySelector(".chart-plot");
    const liked = memory.get("chart", {});
    this.smooth = Number(figure.dataset.smooth) || liked.smooth || 0;
    this.log = "log" in figure.dataset;
    this.x = figure.dataset.x;
    this.range = null;
    if ("tools" in figure.dataset) this.tools();
    new ResizeObserver(() => this.resize()).observe(this.box);
    document.addEventListener("headway:theme", () => this.data && this.figure.isConnected && this.plot());
    figure.addEventListener("headway:refresh", () => this.fetch());
    this.fetch();
  }

  async fetch() {
    const url = new URL(this.figure.dataset.chart, location.href);
    url.searchParams.set("x", this.x);
    if (this.range) {
      url.searchParams.set("from", this.range[0]);
      url.searchParams.set("to", this.range[1]);
    }
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.data = await answer.json();
      this.plot();
      this.later();
    } catch (error) {
      if (this.chart) return;
      const again = make("button", { type: "button", class: "button small" }, "Try again");
      again.addEventListener("click", () => this.fetch());
      this.box.replaceChildren(make("p", { class: "chart-wait" }, `The chart could not be loaded: ${error.message}. `, again));
    }
  }

  later() {
    clearTimeout(this.timer);
    const every = 1000 * Number(this.figure.dataset.live);
    if (!every || this.data.done || !this.figure.isConnected) return;
    this.timer = setTimeout(() => (document.hidden || this.range ? this.later() : this.fetch()), every);
  }

  tools() {
    const bar = make("div", { class: "chart-tools" });
    const add = (label, sign, act, pressed) => {
      const button = make("button", { type: "button", class: "icon-button", title: label, "aria-label": label }, sign);
      if (pressed !== undefined) button.setAttribute("aria-pressed", pressed);
      button.addEventListener("click", () => act(button));
      bar.append(button);
      return button;
    };
    this.whole = add("Show all", icon("zoom-out"), () => this.zoom(null));
    this.whole.hidden = true;
    add("Smooth", icon("activity"), (button) => {
      this.smooth = this.smooth === 0 ? 0.6 : this.smooth < 0.9 ? 0.9 : 0;
      memory.set("chart", { smooth: this.smooth });
      button.setAttribute("aria-pressed", this.smooth > 0);
      button.title = this.smooth ? `Smooth: ${this.smooth}` : "Smooth";
      this.plot();
    }, this.smooth > 0);
    add("Logarithmic", "log", (button) => {
      this.log = !this.log;
      button.setAttribute("aria-pressed", this.log);
      this.plot();
    }, this.log);
    if (this.x === "step" || this.x === "time") {
      add("Over time", icon("clock"), (button) => {
        this.x = this.x === "time" ? "step" : "time";
        button.setAttribute("aria-pressed", this.x === "time");
        this.zoom(null);
      }, this.x === "time");
    }
    this.figure.prepend(bar);
  }

  zoom(range) {
    this.range = range;
    if (this.whole) this.whole.hidden = !range;
    this.fetch();
  }

  /** uPlot wants one x column: the series are joined on it. */
  columns() {
    const tables = this.data.series.map((one) => [this.isTime ? one.x.map((ms) => ms / 1000) : one.x, one.y]);
    if (!tables.length) return null;
    return tables.length === 1 ? tables[0] : this.uPlot.join(tables, tables.map((table) => table.slice(1).map(() => 1)));
  }

  plot() {
    this.isTime = (this.data.x ?? this.x) === "time";
    const raw = this.columns();
    if (!raw || !raw[0].length) {
      this.chart?.destroy();
      this.chart = null;
      this.box.replaceChildren(make("p", { class: "chart-wait" }, "Nothing was logged here yet."));
      return;
    }
    if (!this.isTime && this.data.series.every((one) => new Set(one.x).size < 2)) return this.bars();
    const smooth = this.smooth > 0 && raw[0].length > 2;
    const lines = raw.slice(1);
    const columns = [raw[0], ...(smooth ? lines : []), ...lines.map((values) => smoothed(values, this.smooth))];
    this.chart?.destroy();
    this.box.replaceChildren();
    this.chart = new this.uPlot(this.options(columns, smooth), columns, this.box);
  }

  /** Where each series has one point only, a line has nothing to tell: bars, longest first, from zero. */
  bars() {
    this.chart?.destroy();
    this.chart = null;
    const rows = this.data.series
      .map((one) => ({ one, value: one.y.at(-1) }))
      .filter(({ value }) => value != null)
      .sort((a, b) => b.value - a.value);
    const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
    const list = make("ol", { class: "bars" });
    for (const { one, value } of rows) {
      const bar = make("span", { class: value < 0 ? "bar below" : "bar" });
      bar.style.width = `${Math.max(0.5, (Math.abs(value) / most) * 100)}%`;
      bar.style.background = colour(`--c${(numberOf(one.key ?? one.name) % COLOURS) + 1}`);
      const name = make("span", { class: "bar-name", title: one.name }, one.name);
      list.append(make("li", {}, name, make("span", { class: "bar-room" }, bar), make("span", { class: "num" }, short(value))));
    }
    this.box.replaceChildren(list);
  }

  options(columns, smooth) {
    const positive = columns.slice(1).every((values) => values.every((value) => value == null || value > 0));
    const grid = { stroke: colour("--line"), width: 1 };
    const ink = colour("--text-3");
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, grid, ticks: { show: false }, gap: 6 };
    this.strokes = this.data.series.map((one) => colour(`--c${(numberOf(one.key ?? one.name) % COLOURS) + 1}`));
    const lone = (at) => this.data.series[at].y.filter((value) => value != null).length < 2;
    const line = (one, at) => ({
      label: one.name,
      stroke: this.strokes[at],
      width: 1.75,
      dash: DASHES[Math.floor(numberOf(one.key ?? one.name) / COLOURS) % DASHES.length],
      spanGaps: true,
      points: { show: lone(at), size: 7, fill: this.strokes[at] },
    });
    const ghosts = smooth ? this.data.series.map((one, at) => ({ ...line(one, at), stroke: faded(this.strokes[at]), width: 1 })) : [];
    this.offset = ghosts.length;
    return {
      width: this.box.clientWidth,
      height: Number(this.figure.dataset.height),
      padding: [8, this.room(), 0, 0],
      legend: { show: false },
      scales: {
        x: { time: this.isTime },
        y: this.log && positive ? { distr: 3 } : { range: (_, low, high) => this.bounds(low, high) },
      },
      axes: [
        { ...axis, space: 56, size: 26, grid: { show: false }, ...(this.isTime ? {} : { incrs: STEPS }), values: (_, ticks) => (this.isTime ? times(ticks) : ticks.map(short)) },
        { ...axis, space: 34, size: 44, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick))) },
      ],
      cursor: { sync: { key: this.figure.dataset.group }, drag: { x: true, y: false, setScale: false }, points: { size: 7 }, y: false },
      series: [{}, ...ghosts, ...this.data.series.map(line)],
      hooks: { ready: [(chart) => this.label(chart)], setCursor: [() => this.tip()], setSelect: [(chart) => this.selected(chart)] },
    };
  }

  /** The ends of the y axis: a little air, and a sane span where all values are the same. */
  bounds(low, high) {
    if (low == null) return [0, 1];
    if (low === high) return low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
    return this.uPlot.rangeNum(low, high, 0.1, true);
  }

  room() {
    return this.box.clientWidth > 440 && this.data.series.length > 1 ? LABEL_SPACE : 12;
  }

  selected(chart) {
    if (chart.select.width < 6) return;
    const scale = this.isTime ? 1000 : 1;
    const [from, to] = [0, chart.select.width].map((shift) => chart.posToVal(chart.select.left + shift, "x") * scale);
    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoom([Math.floor(from), Math.ceil(to)]);
  }

  /** Names at the ends of their lines, kept apart; under the chart where there is no room beside it. */
  label(chart) {
    const series = this.data.series;
    if (series.length < 2) return;
    const below = this.room() !== LABEL_SPACE || series.length > 10;
    const box = make("div", { class: below ? "chart-legend" : "chart-labels", "aria-hidden": "true" });
    const ratio = devicePixelRatio;
    const bottom = (chart.bbox.top + chart.bbox.height) / ratio;
    const ends = series.map((one, at) => {
      const values = chart.data[1 + this.offset + at];
      const last = values.findLastIndex((value) => value != null);
      return { one, at, y: last < 0 ? bottom : chart.valToPos(values[last], "y") + chart.bbox.top / ratio };
    });
    if (!below) ends.sort((a, b) => a.y - b.y);
    let floor = -Infinity;
    for (const end of ends) {
      floor = end.y = Math.max(end.y, floor + 13);
    }
    let ceiling = bottom + 6;
    for (const end of ends.toReversed()) {
      ceiling = end.y = Math.min(end.y, ceiling);
      ceiling -= 13;
    }
    for (const { one, at, y } of ends) {
      const name = make("span", { title: one.name }, one.name);
      name.style.color = this.strokes[at];
      if (!below) {
        name.style.top = `${y}px`;
        name.style.left = `${(chart.bbox.left + chart.bbox.width) / ratio + 4}px`;
      }
      box.append(name);
    }
    this.box.append(box);
  }

  tip() {
    const { left, idx } = this.chart.cursor;
    this.hint?.remove();
    this.hint = null;
    // the other charts of the group show their cursor only
    if (idx == null || left < 0 || !this.box.matches(":hover")) return;
    const rows = this.data.series
      .map((one, at) => ({ one, at, value: this.near(this.chart.data[1 + this.offset + at], idx) }))
      .filter(({ value }) => value != null)
      .sort((a, b) => b.value - a.value)
      .slice(0, 14);
    if (!rows.length) return;
    const body = make("tbody");
    for (const { one, at, value } of rows) {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = this.strokes[at];
      body.append(make("tr", {}, make("td", { class: "truncate" }, swatch, one.name), make("td", { class: "num" }, short(value))));
    }
    const at = this.chart.data[0][idx];
    const where = this.isTime ? new Date(at * 1000).toLocaleString() : `step ${at.toLocaleString("en")}`;
    this.hint = make("div", { class: "chart-tip" }, make("div", { class: "at" }, where), make("table", {}, body));
    this.box.append(this.hint);
    const over = this.chart.over.offsetLeft + left;
    const flip = over + 16 + this.hint.offsetWidth > this.box.clientWidth;
    this.hint.style.left = `${Math.max(0, flip ? over - this.hint.offsetWidth - 12 : over + 12)}px`;
    this.hint.style.top = "4px";
  }

  /** The value at a row, or of the last point before it where this series has none just there. */
  near(values, at) {
    for (let i = at; i >= Math.max(0, at - 20); i -= 1) if (values[i] != null) return values[i];
    return null;
  }

  resize() {
    if (!this.chart || this.chart.width === this.box.clientWidth) return;
    this.plot();
  }
}

export async function draw(figure) {
  try {
    new Chart(figure, await load());
  } catch (error) {
    figure.querySelector(".chart-wait").textContent = error.message;
  }
}
