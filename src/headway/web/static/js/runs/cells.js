// Cells of the runs table, made from a row and a column.
import { tokenOf } from "../colours.js";
import { icon, make } from "../dom.js";
import { parts, span } from "../numbers.js";
import { ago } from "../when.js";

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export function number(value) {
  const [whole, fraction] = parts(value);
  const shown = make("span", { class: value == null ? "num none" : "num", title: typeof value === "number" && fraction ? String(value) : false }, whole);
  if (fraction) shown.append(make("span", { class: "frac", "data-digits": "4" }, fraction));
  return shown;
}

export function dot(setup, state, cause = "") {
  const [word, tone, sign] = setup.states[state] ?? [state, "off", "circle"];
  return make("span", { class: "dot", "data-tone": tone, title: cause || false }, icon(sign), word);
}

const when = (ms) => (ms == null ? make("span", { class: "none" }, "–") : make("time", { "data-when": ms, "data-local": "1", title: exact.format(ms), datetime: new Date(ms).toISOString() }, ago(ms)));

const MAKERS = {
  name(row, { base, charted, filterChildren }) {
    const link = make("a", { href: `${base}/${row.id}`, tabindex: "-1", title: row.name }, row.name);
    const swatch = charted.has(row.id) ? make("span", { class: "swatch", title: "Drawn in the charts" }) : null;
    if (swatch) swatch.style.background = `var(${tokenOf(row.id)})`;
    const children = row.children ? make("a", { class: "tag", href: filterChildren(row.id), tabindex: "-1", title: "Its child runs" }, icon("network"), String(row.children)) : null;
    return [swatch, link, children];
  },
  status: (row, { setup }) => [dot(setup, row.state, row.cause)],
  when: (row) => [when(row.start)],
  duration: (row) => [make("span", { class: "num", "data-since": row.end == null && row.state === "running" ? row.start : false }, span(row.end == null ? (row.state === "running" ? Date.now() - row.start : null) : row.end - row.start))],
  experiment: (row, { setup }) => [setup.experiments[row.experiment] ?? ""],
  user: (row) => [row.user],
  metric: (row, _, column) => [number(row.cells[column.id])],
  param: (row, _, column) => [text(row.cells[column.id])],
  tag: (row, _, column) => [text(row.cells[column.id])],
};

function text(value) {
  if (value == null) return make("span", { class: "none" }, "–");
  const shown = value.length > 200 ? `${value.slice(0, 200)}…` : value;
  return make("span", { title: value.length > 14 ? value.slice(0, 1000) : false }, shown);
}

export const isNumber = (column) => column.kind === "metric" || column.kind === "duration";

/** What a cell of a run shows. `scene`: base, setup, charted runs, and where its children are. */
export const content = (row, column, scene) => MAKERS[column.kind](row, scene, column).filter((one) => one != null);

/** The plain value, for copying and for charts. */
export function valueOf(row, column) {
  switch (column.kind) {
    case "name": return row.name;
    case "status": return row.state;
    case "when": return row.start;
    case "duration": return row.end == null ? null : row.end - row.start;
    case "experiment": return row.experiment;
    case "user": return row.user;
    default: return row.cells[column.id] ?? null;
  }
}
