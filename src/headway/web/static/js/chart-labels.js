// What stands around a chart's lines: their names at their ends, a legend that hides and shows them, and the values at the cursor.
import { make } from "./dom.js";
import { tokenOf } from "./colours.js";
import { short, span } from "./numbers.js";

const APART = 14; // pixels between two names
const TIPPED = 14; // values said at the cursor

/** Names at the ends of their lines, kept apart; a legend where there is no room beside them, or where lines are hidden. */
export function labels(chart, plot = chart.chart) {
  for (const old of chart.box.querySelectorAll(":scope > .chart-labels, :scope > .chart-legend")) old.remove();
  if (chart.lines.length < 2) return;
  const shown = chart.lines.map((one, at) => ({ one, at, key: one.key ?? one.name })).filter(({ key }) => !chart.hidden.has(key));
  if (chart.direct) chart.box.append(direct(chart, plot, shown));
  if ((!chart.direct && !("bare" in chart.figure.dataset)) || chart.hidden.size) chart.box.append(legend(chart));
}

function direct(chart, plot, shown) {
  const ratio = devicePixelRatio;
  const bottom = (plot.bbox.top + plot.bbox.height) / ratio;
  const ends = shown.map(({ one, at, key }) => {
    const values = plot.data[1 + chart.offset + at];
    const last = values.findLastIndex((value) => value != null);
    return { one, key, at, y: last < 0 ? bottom : plot.valToPos(values[last], "y") + plot.bbox.top / ratio };
  });
  ends.sort((a, b) => a.y - b.y);
  let floor = -Infinity;
  for (const end of ends) floor = end.y = Math.max(end.y, floor + APART);
  let ceiling = bottom + 6;
  for (const end of ends.toReversed()) {
    ceiling = end.y = Math.min(end.y, ceiling);
    ceiling -= APART;
  }
  const box = make("div", { class: "chart-labels" });
  for (const { one, key, at, y } of ends) {
    const name = entry(chart, one, key, true);
    name.style.color = chart.strokes[at];
    name.style.top = `${y}px`;
    name.style.left = `${(plot.bbox.left + plot.bbox.width) / ratio + 4}px`;
    box.append(name);
  }
  return box;
}

function legend(chart) {
  const box = make("div", { class: "chart-legend" });
  const lines = chart.direct ? chart.lines.filter((one) => chart.hidden.has(one.key ?? one.name)) : chart.lines;
  for (const one of lines) {
    const key = one.key ?? one.name;
    const name = entry(chart, one, key, !chart.hidden.has(key));
    name.style.color = `var(${tokenOf(key)})`;
    box.append(name);
  }
  return box;
}

function entry(chart, one, key, shown) {
  const members = one.members ?? one.runs ?? 1; // a mean of the lines here, or one that the server made
  const title = `${one.name}${members > 1 ? `, mean of ${members} runs${one.read < members ? ` (${one.read} of them read)` : ""}` : ""}: click to ${shown ? "hide" : "show"}, double-click for it alone`;
  const name = make("button", { type: "button", "aria-pressed": String(shown), title }, one.name, members > 1 ? make("small", {}, ` ×${members}`) : null);
  let wait = null;
  name.addEventListener("click", (event) => {
    event.stopPropagation();
    clearTimeout(wait);
    if (event.detail > 1 || event.altKey) chart.toggle(key, true);
    else if (event.detail === 0) chart.toggle(key);
    else wait = setTimeout(() => chart.toggle(key), 220); // a second click may follow
  });
  name.addEventListener("dblclick", (event) => event.stopPropagation());
  name.addEventListener("pointerenter", () => {
    chart.stress(key);
    chart.tell(key);
  });
  name.addEventListener("pointerleave", () => {
    chart.stress(null);
    chart.tell(null);
  });
  return name;
}

/** The values of all lines at the cursor, the highest first; the one that the cursor is at stands out. */
export function tip(chart) {
  const { left, idx } = chart.chart.cursor;
  chart.hint?.remove();
  chart.hint = null;
  // the other charts of the group show their cursor only
  if (idx == null || left < 0 || !(chart.byKey || chart.box.matches(":hover"))) return;
  const rows = chart.lines
    .map((one, at) => ({ one, at, value: near(chart.chart.data[1 + chart.offset + at], idx) }))
    .filter(({ one, value }) => value != null && !chart.hidden.has(one.key ?? one.name))
    .sort((a, b) => b.value - a.value);
  if (!rows.length) return;
  const body = make("tbody");
  for (const { one, at, value } of rows.slice(0, TIPPED)) {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = chart.strokes[at];
    const row = make("tr", { "data-stressed": one.key && one.key === chart.told }, make("td", { class: "truncate" }, swatch, one.name), make("td", { class: "num" }, short(value)));
    if (one.low) row.append(make("td", { class: "num muted" }, `${short(near(one.low, idx))} – ${short(near(one.high, idx))}`));
    body.append(row);
  }
  const more = rows.length > TIPPED ? make("div", { class: "at" }, `and ${rows.length - TIPPED} more`) : null;
  chart.hint = make("div", { class: "chart-tip", role: "status" }, make("div", { class: "at" }, where(chart, idx)), make("table", {}, body), more);
  chart.box.append(chart.hint);
  const over = chart.chart.over.offsetLeft + left;
  const flip = over + 16 + chart.hint.offsetWidth > chart.box.clientWidth;
  chart.hint.style.left = `${Math.max(0, flip ? over - chart.hint.offsetWidth - 12 : over + 12)}px`;
  chart.hint.style.top = "4px";
}

function where(chart, idx) {
  const at = chart.chart.data[0][idx];
  if (chart.axis === "time") return new Date(at * 1000).toLocaleString();
  return chart.axis === "relative" ? `after ${span(at * 1000)}` : `step ${at.toLocaleString("en")}`;
}

/** The value at a row, or of the last point before it where this series has none just there. */
function near(values, at) {
  for (let i = at; i >= Math.max(0, at - 20); i -= 1) if (values[i] != null) return values[i];
  return null;
}
