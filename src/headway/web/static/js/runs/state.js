// The explorer's state, which is the page's address. Pure. What may be in it is as in tracking/views.py.

export const LISTS = ["experiment", "sort", "column", "pin", "width", "chart"];
export const WORDS = ["filter", "group", "panel", "top", "x", "y", "color", "axis", "smooth"];
export const FLAGS = ["deleted", "children", "log", "mean"];
const ORDER = ["filter", ...LISTS, ...WORDS.slice(1), ...FLAGS];

export function read(search) {
  const asked = new URLSearchParams(search);
  const state = { view: asked.get("view") ?? "" };
  for (const name of LISTS) state[name] = asked.getAll(name).filter(Boolean);
  for (const name of WORDS) state[name] = asked.get(name) ?? "";
  for (const name of FLAGS) state[name] = asked.get(name) === "true";
  state.experiment = state.experiment.flatMap((ids) => ids.split(","));
  return state;
}

/** As a query, without what is as at first; `view` is no part of what a view keeps. */
export function write(state, withView = true) {
  const asked = new URLSearchParams();
  if (withView && state.view) asked.set("view", state.view);
  for (const name of ORDER) {
    if (LISTS.includes(name)) state[name].forEach((value) => asked.append(name, value));
    else if (FLAGS.includes(name)) state[name] && asked.set(name, "true");
    else if (state[name]) asked.set(name, state[name]);
  }
  return asked.toString();
}

/** Plain words search the runs' names; anything else is MLflow's grammar. As completion.meant. */
export function meant(text) {
  const filter = text.trim();
  if (!filter || /[=<>!`'"()]|(?:^|\s)(?:i?like|in|is|and)(?:\s|$)/i.test(filter)) return filter;
  return filter.split(/\s+/).map((word) => `attributes.run_name ILIKE '%${word}%'`).join(" AND ");
}

export const both = (...filters) => filters.filter(Boolean).join(" AND ");

/** What the table's rows are asked for with. */
export function question(state, filter = meant(state.filter)) {
  const asked = new URLSearchParams();
  if (filter) asked.set("filter", filter);
  for (const name of ["experiment", "sort"]) state[name].forEach((value) => asked.append(name === "sort" ? "order" : name, value));
  if (state.deleted) asked.set("deleted", "true");
  // said outright: a filter of ours (of a group, of a new run) must not bring children that the state leaves out
  asked.set("children", String(state.children || Boolean(state.filter.trim())));
  return asked;
}
