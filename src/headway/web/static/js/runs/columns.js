// What a column is: by its id, which is written as in filters and orders. Pure.

export const FIXED = {
  run_name: { label: "Run", kind: "name", sort: "attributes.run_name", width: 230 },
  status: { label: "Status", kind: "status", sort: "attributes.status", width: 136, group: "attributes.status" },
  start_time: { label: "Started", kind: "when", sort: "attributes.start_time", width: 110 },
  duration: { label: "Duration", kind: "duration", width: 112 },
  experiment: { label: "Experiment", kind: "experiment", width: 150, group: "attributes.experiment_id" },
  user_id: { label: "By", kind: "user", sort: "attributes.user_id", width: 100, group: "attributes.user_id" },
};
const WIDTHS = { metric: 112, param: 120, tag: 120 };
export const LEAST = 56;
const KINDS = { metrics: "metric", params: "param", tags: "tag" };

/** ``best(metrics.`a b`)`` -> {id, kind: "metric", key: "a b", of: "best", ...}; null for what is no column. */
export function column(id) {
  if (FIXED[id]) return { id, key: id, first: "ASC", ...FIXED[id] };
  const found = /^(?:(min|max|best)\()?(metrics|params|tags)\.(.+?)\)?$/s.exec(id);
  if (!found) return null;
  const kind = KINDS[found[2]];
  const key = found[3].replace(/^[`"](.*)[`"]$/s, "$1");
  const of = found[1] ?? "last";
  return { id, kind, key, of, label: of === "last" ? key : `${of} ${key}`, sort: id, first: kind === "metric" ? "DESC" : "ASC", width: WIDTHS[kind], group: kind === "metric" ? "" : id };
}

/** The id of a metric's other sides: its last, best, lowest and highest value. */
export function sideOf(id, of) {
  const bare = id.replace(/^(?:min|max|best)\((.*)\)$/s, "$1");
  return of === "last" ? bare : `${of}(${bare})`;
}

export const atFirst = (state) => ["run_name", "status", "start_time", "duration", ...(state.experiment.length === 1 ? [] : ["experiment"])];

/** The columns in their order: those of the state, else the usual ones and `chosen` by the server; pinned ones first. */
export function columns(state, chosen) {
  const ids = state.column.length ? state.column : [...atFirst(state), ...chosen];
  const widths = new Map(state.width.map((one) => [one.slice(0, one.lastIndexOf(":")), Number(one.slice(one.lastIndexOf(":") + 1))]));
  const pinned = (id) => state.pin.includes(id);
  const found = [...new Set(["run_name", ...ids.filter(pinned), ...ids.filter((id) => !pinned(id))])].map(column).filter(Boolean);
  for (const one of found) {
    one.width = Math.max(LEAST, widths.get(one.id) || one.width);
    one.pinned = one.id === "run_name" || pinned(one.id);
  }
  return found;
}

/** The sort that a click leads to, and the direction in force: "" where this column does not sort. */
export function sorting(state, id) {
  const at = state.sort.findIndex((order) => order.replace(/\s+(asc|desc)$/i, "") === id);
  return at < 0 ? { at, direction: "" } : { at, direction: /\sdesc$/i.test(state.sort[at]) ? "desc" : "asc" };
}
