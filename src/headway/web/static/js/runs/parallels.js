// Parallel coordinates of the columns that the table shows. Ranges on the axes choose runs: to select them, or to filter by them.
import { make } from "../dom.js";
import { valueOf } from "./cells.js";
import { both } from "./state.js";

const MOST = 400;
const AXES = 9;
const WIDE = 50;

/** Texts that are all numbers, as numbers. */
export function numbers(values) {
  const found = values.map((value) => (value == null || value === "" ? null : Number(value)));
  return found.every((value, at) => value === null || Number.isFinite(value) || values[at] === "NaN") ? found.map((value) => (Number.isFinite(value) ? value : null)) : values;
}

export const isWide = (values) => {
  const present = values.filter((value) => typeof value === "number");
  return present.length > 1 && Math.min(...present) > 0 && Math.max(...present) / Math.min(...present) >= WIDE;
};

export async function parallel(panel) {
  const { explorer } = panel;
  const usable = panel.drawable.filter((one) => one.kind === "metric" || one.kind === "param" || one.kind === "tag");
  const rows = await panel.sample(usable.map((one) => one.id), MOST);
  const data = axesOf(usable, rows);
  if (rows.length < 2 || data.axes.length < 2) return panel.say("Show at least two columns in which the runs differ: they become the axes.");
  const runs = rows.map((row, at) => ({ id: row.id, name: row.name, url: `${explorer.base}/${row.id}`, values: data.columns.map((column) => column[at]) }));
  const { Parallel } = await import("../parallel.js");
  const figure = make("figure", { class: "chart", "data-height": "260" }, make("div", { class: "chart-plot" }));
  panel.body.replaceChildren(figure);
  const keep = make("button", { type: "button", class: "button small", hidden: true });
  const filter = make("button", { type: "button", class: "button small", hidden: true }, "Filter by these ranges");
  panel.tools.replaceChildren(make("span", { class: "note" }, `${rows.length} runs`), keep, filter);
  let kept = [];
  let clauses = "";
  new Parallel(figure, { axes: data.axes, runs }, (ids, ranges) => {
    const names = new Set(ids);
    kept = rows.filter((row) => names.has(row.id));
    clauses = both(...ranges.map(({ axis, low, high }) => clauseOf(data.shown[axis], low, high)));
    keep.hidden = !ranges.length;
    keep.textContent = `Select ${kept.length}`;
    filter.hidden = !clauses;
    filter.title = ranges.some(({ axis }) => data.shown[axis].kind !== "metric") ? `Only ranges of metrics can be filtered by: ${clauses}` : clauses;
  });
  keep.addEventListener("click", () => {
    explorer.actions.all(false);
    explorer.actions.toggle(kept, true);
  });
  filter.addEventListener("click", () => explorer.query.apply(both(explorer.state.filter.trim() && explorer.query.meant(), clauses)));
}

/** The axes: columns with at least two values, parameters first, the table's first metric last, as it gives the colour. */
function axesOf(usable, rows) {
  const telling = usable.map((one) => ({ one, values: numbers(rows.map((row) => valueOf(row, one))) })).filter(({ values }) => new Set(values.filter((value) => value != null)).size > 1);
  const metrics = telling.filter(({ one }) => one.kind === "metric").slice(0, 5).reverse();
  const others = telling.filter(({ one }) => one.kind !== "metric").slice(0, AXES - Math.min(4, metrics.length));
  const list = [...others, ...metrics.slice(-(AXES - others.length))];
  return { shown: list.map(({ one }) => one), axes: list.map(({ one, values }) => ({ name: one.label, log: isWide(values) })), columns: list.map(({ values }) => values) };
}

/** A range of a metric in the grammar of filters; parameters are texts there, and have no ranges. */
function clauseOf(column, low, high) {
  if (column.kind !== "metric" || typeof low !== "number") return "";
  return `${column.id} >= ${Number(low.toPrecision(6))} AND ${column.id} <= ${Number(high.toPrecision(6))}`;
}
