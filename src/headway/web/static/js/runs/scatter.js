// A point a run: any two columns, coloured by a third. Drag a box to select the runs in it.
import { make } from "../dom.js";
import { short, span } from "../numbers.js";
import { valueOf } from "./cells.js";
import { column } from "./columns.js";
import { isWide, numbers } from "./parallels.js";

const SPACE = "http://www.w3.org/2000/svg";
const MOST = 1000;
const HEIGHT = 260, LEFT = 56, RIGHT = 16, TOP = 10, FOOT = 34;
const WORDS = 8; // colours told apart
const STEPS = 10; // numbers of so few values are words

function svg(tag, attributes = {}, text) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** About `count` round numbers from `low` to `high`. */
export function round(low, high, count) {
  const rough = (high - low) / Math.max(1, count - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** Values on a line of a length: numbers by size (by their logarithm where they are wide), words side by side. */
export class Scale {
  constructor(values, from, to, words = 0) {
    const present = values.filter((value) => value != null);
    this.isNumber = present.every((value) => typeof value === "number") && new Set(present).size > words;
    this.from = from;
    this.to = to;
    if (!this.isNumber) this.words = [...new Set(present.map(String))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    else {
      this.log = isWide(present);
      const scaled = present.map((value) => this.size(value));
      this.low = Math.min(...scaled);
      this.high = Math.max(...scaled);
      if (this.low === this.high) [this.low, this.high] = [this.low - 1, this.high + 1];
    }
  }

  size(value) {
    return this.log ? Math.log10(value) : value;
  }

  share(value) {
    if (!this.isNumber) return (this.words.indexOf(String(value)) + 0.5) / this.words.length;
    return (this.size(value) - this.low) / (this.high - this.low);
  }

  place(value) {
    return value == null ? null : this.from + (0.03 + 0.94 * this.share(value)) * (this.to - this.from);
  }

  marks(count) {
    if (!this.isNumber) {
      const every = Math.ceil(this.words.length / count);
      return this.words.filter((_, at) => at % every === 0);
    }
    if (!this.log) return round(this.low, this.high, count);
    return Array.from({ length: count }, (_, at) => 10 ** (this.low + ((this.high - this.low) * at) / (count - 1)));
  }
}

export async function scatter(panel) {
  const { explorer } = panel;
  const list = panel.drawable;
  const metrics = list.filter((one) => one.kind === "metric");
  const others = list.filter((one) => one.kind !== "metric");
  const { state } = explorer;
  const pick = (id, otherwise) => column(id) ?? otherwise;
  const y = pick(state.y, metrics[0]);
  const x = pick(state.x, others.find((one) => one.kind === "param") ?? metrics[1] ?? others[0]);
  const color = state.color === "none" ? null : pick(state.color, others.find((one) => one.kind === "param" && one.id !== x?.id) ?? null);
  if (!x || !y) return panel.say("Show at least one metric as a column to draw it over another.");
  choices(panel, list, { x, y, color });
  const rows = await panel.sample([...new Set([x.id, y.id, color?.id].filter(Boolean))], MOST);
  draw(panel, rows, { x, y, color });
}

function choices(panel, list, chosen) {
  const select = (name, label, none) => {
    const known = new Map([...list, ...Object.values(chosen).filter(Boolean)].map((one) => [one.id, one.label]));
    const made = make("select", { "aria-label": label, class: "small" }, ...(none ? [make("option", { value: "none" }, "one colour")] : []), ...[...known].map(([id, text]) => make("option", { value: id }, text)));
    made.value = chosen[name]?.id ?? "none";
    made.addEventListener("change", () => panel.explorer.set({ [name]: made.value }, false));
    return make("label", { class: "panel-choice" }, label, made);
  };
  panel.tools.replaceChildren(select("y", "Up"), select("x", "Across"), select("color", "Colour", true));
}

function draw(panel, rows, { x, y, color }) {
  const { explorer } = panel;
  const width = Math.max(280, panel.body.clientWidth - 24);
  const xs = numbers(rows.map((row) => valueOf(row, x)));
  const ys = numbers(rows.map((row) => valueOf(row, y)));
  const cs = color ? numbers(rows.map((row) => valueOf(row, color))) : rows.map(() => null);
  const points = rows.map((row, at) => ({ row, x: xs[at], y: ys[at], c: cs[at] })).filter((one) => one.x != null && one.y != null);
  if (!points.length) return panel.say(`No run has both ${x.label} and ${y.label}.`);
  const across = new Scale(points.map((one) => one.x), LEFT, width - RIGHT, STEPS);
  // many runs share a word: they stand beside each other, each at its own place whenever this is drawn
  const aside = across.isNumber ? () => 0 : ({ row }) => ((parseInt(row.id.slice(-6), 16) % 101) / 101 - 0.5) * 0.6 * ((width - LEFT - RIGHT) / across.words.length);
  const up = new Scale(points.map((one) => one.y), HEIGHT - FOOT, TOP);
  const tint = color ? new Scale(points.map((one) => one.c), 0, 1, WORDS) : null;
  const canvas = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, class: "scatter", role: "img", "aria-label": `${y.label} over ${x.label}` });
  axes(canvas, across, up, x, y, width);
  const places = points.map((one) => {
    const mark = svg("circle", { cx: (across.place(one.x) + aside(one)).toFixed(1), cy: up.place(one.y).toFixed(1), r: 4.5, "data-key": one.row.id });
    mark.style.fill = tinted(tint, one.c);
    canvas.append(mark);
    return { ...one, mark };
  });
  const tip = make("div", { class: "chart-tip", hidden: true });
  const box = make("figure", { class: "chart" }, make("div", { class: "chart-plot" }, canvas, tip), legend(tint, color));
  panel.body.replaceChildren(box);
  hands(explorer, canvas, places, tip, { x, y, color });
  const stress = ({ detail }) => {
    if (!canvas.isConnected) return document.removeEventListener("headway:run", stress);
    for (const { mark, row } of places) mark.toggleAttribute("data-stressed", row.id === detail.key);
  };
  document.addEventListener("headway:run", stress);
}

const say = (column, value) => (value == null ? "–" : column.kind === "when" ? new Date(value).toLocaleString() : column.kind === "duration" ? span(value) : typeof value === "number" ? short(Number(value.toPrecision(5))) : value);

function tinted(tint, value) {
  if (!tint) return "var(--c1)";
  if (value == null) return "var(--line-strong)";
  if (tint.isNumber) return `color-mix(in oklab, var(--c1) ${Math.round(tint.share(value) * 100)}%, var(--c5))`;
  return `var(--c${(tint.words.indexOf(String(value)) % WORDS) + 1})`;
}

function legend(tint, color) {
  if (!tint) return null;
  const entries = tint.isNumber ? [tint.low, (tint.low + tint.high) / 2, tint.high].map((size) => (tint.log ? 10 ** size : size)) : tint.words.slice(0, WORDS);
  return make("figcaption", { class: "scatter-legend" }, `${color.label}: `, ...entries.map((value) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = tinted(tint, value);
    return make("span", {}, swatch, say(color, value));
  }), tint.isNumber || tint.words.length <= WORDS ? null : make("span", { class: "note" }, `and ${tint.words.length - WORDS} more`));
}

function axes(canvas, across, up, x, y, width) {
  for (const value of up.marks(5)) {
    const at = up.place(value);
    canvas.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: "rule" }), svg("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, clip(say(y, value), 8)));
  }
  const marks = across.marks(Math.max(2, Math.min(7, Math.floor(width / 130))));
  for (const value of marks) canvas.append(svg("text", { x: across.place(value), y: HEIGHT - FOOT + 16, "text-anchor": "middle" }, clip(say(x, value), 16)));
  canvas.append(svg("text", { x: width - RIGHT, y: HEIGHT - 3, "text-anchor": "end", class: "name" }, `${x.label}${across.log ? " (log)" : ""}`), svg("text", { x: 2, y: HEIGHT - 3, class: "name" }, `↑ ${y.label}${up.log ? " (log)" : ""}`));
}

const clip = (text, most) => (String(text).length > most ? `${String(text).slice(0, most - 1)}…` : String(text));

/** The nearest point under the hand is named; a click opens it; a box selects what is in it. */
function hands(explorer, canvas, places, tip, { x, y, color }) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const where = ({ mark }) => [Number(mark.getAttribute("cx")), Number(mark.getAttribute("cy"))];
  const nearest = (px, py) => {
    let best = null;
    for (const one of places) {
      const [cx, cy] = where(one);
      const far = Math.hypot(cx - px, cy - py);
      if (far < 14 && (!best || far < best.far)) best = { one, far };
    }
    return best?.one ?? null;
  };
  let told = null;
  const tell = (one) => {
    if (one?.row.id === told) return;
    told = one?.row.id ?? null;
    document.dispatchEvent(new CustomEvent("headway:run", { detail: { key: told, from: canvas } }));
    tip.hidden = !one;
    if (!one) return;
    const rows = [[y, one.y], [x, one.x], ...(color ? [[color, one.c]] : [])];
    tip.replaceChildren(make("strong", {}, one.row.name), ...rows.map(([column, value]) => make("div", {}, `${column.label} ${say(column, value)}`)));
    const [cx, cy] = where(one);
    tip.style.left = `${Math.min(cx + 10, canvas.clientWidth - 160)}px`;
    tip.style.top = `${Math.max(0, cy - 30)}px`;
  };
  canvas.addEventListener("pointermove", (event) => tell(nearest(...at(event))));
  canvas.addEventListener("pointerleave", () => tell(null));
  canvas.addEventListener("pointerdown", (event) => {
    const from = at(event);
    const box = svg("rect", { class: "lasso" });
    const shape = (moved) => {
      const to = at(moved);
      const [left, top, right, bottom] = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) box.setAttribute(name, value);
      return [left, top, right, bottom];
    };
    canvas.append(box);
    const drag = (moved) => shape(moved);
    addEventListener("pointermove", drag);
    addEventListener("pointerup", (ended) => {
      removeEventListener("pointermove", drag);
      const [left, top, right, bottom] = shape(ended);
      box.remove();
      if (right - left < 5 && bottom - top < 5) {
        const one = nearest(...from);
        if (one) location.assign(`${explorer.base}/${one.row.id}`);
        return;
      }
      const inside = places.filter((one) => {
        const [cx, cy] = where(one);
        return cx >= left && cx <= right && cy >= top && cy <= bottom;
      });
      if (inside.length) explorer.actions.toggle(inside.map(({ row }) => row), true);
    }, { once: true });
  });
}
