// Parallel coordinates: a line a run, an axis a parameter or metric. Drag along an axis to keep the runs that pass there.
import { make } from "./dom.js";
import { short } from "./numbers.js";

const SPACE = "http://www.w3.org/2000/svg";
const TOP = 34, FOOT = 14, SIDE = 44, LEAST = 92;

function svg(tag, attributes = {}, text) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Where values lie on an axis, 0 at its foot to 1 at its head; missing values have no place. */
export class Axis {
  constructor({ name, log = false }, values) {
    this.name = name;
    const present = values.filter((value) => value != null);
    this.isNumber = present.every((value) => typeof value === "number");
    if (this.isNumber) {
      this.log = log && present.every((value) => value > 0);
      const scaled = present.map((value) => this.scale(value));
      this.low = Math.min(...scaled);
      this.high = Math.max(...scaled);
    } else {
      this.words = [...new Set(present.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    }
  }

  scale(value) {
    return this.log ? Math.log10(value) : value;
  }

  /** The value at a place: of numbers alone. */
  value(place) {
    if (!this.isNumber) return null;
    const scaled = this.low + (this.high - this.low) * place;
    return this.log ? 10 ** scaled : scaled;
  }

  place(value) {
    if (value == null) return null;
    if (!this.isNumber) return this.words.length < 2 ? 0.5 : this.words.indexOf(String(value)) / (this.words.length - 1);
    return this.high === this.low ? 0.5 : (this.scale(value) - this.low) / (this.high - this.low);
  }

  /** Marks as [place, text]: the words, or the ends and the middle. */
  marks() {
    if (!this.isNumber) {
      const every = Math.ceil(this.words.length / 8);
      return this.words.map((word) => [this.place(word), word]).filter((_, at) => at % every === 0);
    }
    if (this.high === this.low) return [[0.5, short(this.log ? 10 ** this.low : this.low)]];
    return [0, 0.5, 1].map((at) => {
      const value = this.low + (this.high - this.low) * at;
      return [at, short(Number((this.log ? 10 ** value : value).toPrecision(3)))];
    });
  }
}

/** `told` hears which runs pass the ranges (their ids), and the ranges as [{axis, low, high}] in values. */
export class Parallel {
  constructor(figure, data, told = () => {}) {
    this.told = told;
    this.figure = figure;
    this.data = data;
    this.box = figure.querySelector(".chart-plot");
    this.axes = data.axes.map((axis, at) => new Axis(axis, data.runs.map((run) => run.values[at])));
    this.kept = new Map(); // number of an axis -> [low, high] in places
    const stress = ({ detail }) => (figure.isConnected ? this.stress(detail.key) : document.removeEventListener("headway:run", stress));
    document.addEventListener("headway:run", stress);
    new ResizeObserver(() => this.width !== this.box.clientWidth && this.draw()).observe(this.box);
    this.draw();
  }

  draw() {
    this.width = this.box.clientWidth;
    this.height = Number(this.figure.dataset.height);
    const span = Math.max(this.width, this.axes.length * LEAST);
    this.gap = this.axes.length > 1 ? (span - 2 * SIDE) / (this.axes.length - 1) : 0;
    this.canvas = svg("svg", { width: span, height: this.height, viewBox: `0 0 ${span} ${this.height}`, class: "parallel" });
    this.lines = this.data.runs.map((run) => this.line(run));
    this.axes.forEach((axis, at) => this.axis(axis, at));
    this.say = make("p", { class: "chart-note" });
    this.box.replaceChildren(make("div", { class: "parallel-scroll" }, this.canvas), this.say);
    this.filter();
  }

  x(at) {
    return SIDE + at * this.gap;
  }

  y(place) {
    return this.height - FOOT - place * (this.height - TOP - FOOT);
  }

  line(run) {
    let path = "";
    let drawn = false;
    this.axes.forEach((axis, at) => {
      const place = axis.place(run.values[at]);
      if (place !== null) path += `${drawn ? "L" : "M"}${this.x(at).toFixed(1)} ${this.y(place).toFixed(1)}`;
      drawn = place !== null;
    });
    const line = svg("path", { d: path, class: "parallel-line" });
    // the last axis is what the runs were made for: it gives the colour, from low to high
    const end = this.axes.at(-1).place(run.values.at(-1));
    line.style.stroke = end === null ? "var(--line-strong)" : `color-mix(in oklab, var(--c1) ${Math.round(end * 100)}%, var(--c5))`;
    line.append(svg("title", {}, run.name));
    line.addEventListener("pointerenter", () => this.tell(run.id));
    line.addEventListener("pointerleave", () => this.tell(null));
    if (run.url) {
      line.addEventListener("click", () => {
        const url = new URL(run.url, location.href);
        if (url.origin === location.origin) location.assign(url);
      });
    }
    this.canvas.append(line);
    return line;
  }

  tell(key) {
    document.dispatchEvent(new CustomEvent("headway:run", { detail: { key, from: this } }));
  }

  stress(key) {
    this.lines.forEach((line, at) => line.toggleAttribute("data-stressed", Boolean(key) && this.data.runs[at].id === key));
  }

  axis(axis, at) {
    const x = this.x(at);
    const group = svg("g", { class: "parallel-axis" });
    const anchor = at === 0 ? "start" : at === this.axes.length - 1 ? "end" : "middle";
    const shift = at === 0 ? x - SIDE + 4 : at === this.axes.length - 1 ? x + SIDE - 4 : x;
    const room = Math.max(8, Math.floor(this.gap / 6.6));
    const name = svg("text", { x: shift, y: 14, "text-anchor": anchor, class: "parallel-name" }, clip(axis.name, room));
    name.append(svg("title", {}, axis.name));
    group.append(name, svg("line", { x1: x, x2: x, y1: this.y(0), y2: this.y(1) }));
    for (const [place, text] of axis.marks()) {
      group.append(svg("text", { x: x + 6, y: this.y(place) + 3.5, class: "parallel-mark" }, clip(text, 12)));
    }
    const range = svg("rect", { x: x - 5, width: 10, y: 0, height: 0, rx: 3, class: "parallel-range" });
    const grip = svg("rect", { x: x - 14, width: 28, y: TOP - 8, height: this.height - TOP - FOOT + 16, class: "parallel-grip" });
    grip.append(svg("title", {}, `${axis.name}: drag to keep a range, click to keep all`));
    this.brush(grip, range, at);
    group.append(range, grip);
    this.canvas.append(group);
    this.mark(range, at);
  }

  brush(grip, range, at) {
    const place = (event) => {
      const y = event.clientY - this.canvas.getBoundingClientRect().top;
      return Math.min(1, Math.max(0, (this.height - FOOT - y) / (this.height - TOP - FOOT)));
    };
    grip.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      grip.setPointerCapture(event.pointerId);
      const from = place(event);
      const move = (moved) => {
        const to = place(moved);
        if (Math.abs(to - from) < 0.02) this.kept.delete(at);
        else this.kept.set(at, [Math.min(from, to), Math.max(from, to)]);
        this.mark(range, at);
        this.filter();
      };
      grip.addEventListener("pointermove", move);
      const done = (ended) => {
        move(ended);
        grip.removeEventListener("pointermove", move);
      };
      grip.addEventListener("pointerup", done, { once: true });
    });
  }

  mark(range, at) {
    const kept = this.kept.get(at);
    range.setAttribute("y", kept ? this.y(kept[1]) : 0);
    range.setAttribute("height", kept ? this.y(kept[0]) - this.y(kept[1]) : 0);
  }

  filter() {
    const stays = this.data.runs.map((run) =>
      [...this.kept].every(([at, [low, high]]) => {
        const place = this.axes[at].place(run.values[at]);
        return place !== null && place >= low - 1e-9 && place <= high + 1e-9;
      }),
    );
    this.lines.forEach((line, at) => line.classList.toggle("out", !stays[at]));
    const count = stays.filter(Boolean).length;
    this.say.textContent = this.kept.size ? `${count} of ${stays.length} runs pass; click an axis to let all through.` : "Drag along an axis to keep a range.";
    const ranges = [...this.kept].map(([axis, ends]) => ({ axis, low: this.axes[axis].value(ends[0]), high: this.axes[axis].value(ends[1]) }));
    this.told(this.data.runs.filter((_, at) => stays[at]).map((run) => run.id), ranges);
    const table = document.getElementById(this.figure.dataset.filters ?? "");
    if (!table) return;
    const out = new Set(this.data.runs.filter((_, at) => !stays[at]).map((run) => run.id));
    for (const row of table.querySelectorAll("tbody tr[data-id]")) row.hidden = out.has(row.dataset.id);
  }
}

const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export async function draw(figure) {
  const wait = figure.querySelector(".chart-wait");
  try {
    const answer = await fetch(figure.dataset.parallel, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const data = await answer.json();
    if (data.runs.length < 2 || data.axes.length < 2) {
      wait.textContent = "Two runs with a parameter and a metric are needed to draw this.";
      return;
    }
    new Parallel(figure, data);
  } catch (error) {
    wait.textContent = `This could not be loaded: ${error.message}.`;
  }
}
