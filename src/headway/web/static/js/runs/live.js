// Runs that go on: the rows that are here follow them, and new runs come on top without moving what is looked at.
import { make } from "../dom.js";
import { stream } from "../stream.js";
import { meant, both, question } from "./state.js";
import { ask, rowsOf } from "./source.js";

const MOST = 90;
const LOOK_MS = 400;

export class Live {
  constructor(explorer) {
    this.explorer = explorer;
    this.followed = new Set();
    this.news = [];
    this.pill = make("button", { type: "button", class: "button small news", hidden: true });
    this.pill.addEventListener("click", () => this.up());
    explorer.frame.append(this.pill);
    explorer.grid.scroll.addEventListener("scroll", () => this.atTop() && this.count && this.seen(), { passive: true });
    this.count = 0;
    if (!explorer.state.deleted) this.open();
  }

  atTop() {
    return this.explorer.grid.scroll.scrollTop < this.explorer.grid.rowHeight;
  }

  get address() {
    return `${this.explorer.base.replace(/\/runs$/, "/live")}?${new URLSearchParams({ news: "true", runs: [...this.followed].join(",") })}`;
  }

  open() {
    this.stream?.close();
    this.ready = false;
    const state = (word) => (this.ready = word === "live");
    this.stream = stream(() => this.address, { run: (data) => this.run(data), new: (data) => this.came(data), stale: ({ run }) => this.renew([run]) }, state);
  }

  /** Which running runs are here now: the stream is about these. */
  look() {
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      const wanted = [];
      for (const row of this.explorer.rows()) {
        if ((row.state === "running" || row.state === "queued") && wanted.push(row.id) === MOST) break;
      }
      if (this.explorer.state.deleted || wanted.every((id) => this.followed.has(id))) return;
      this.followed = new Set(wanted);
      this.open();
    }, LOOK_MS);
  }

  run(data) {
    const { explorer } = this;
    for (const section of explorer.grid.sections.list) {
      const row = section.source.row(data.run);
      if (!row) continue;
      Object.assign(row, { name: data.name || row.name, state: data.state, cause: data.cause, start: data.start, end: data.end });
      for (const column of explorer.columns) {
        const value = { metric: () => side(data.metrics[column.key], column), param: () => data.params[column.key], tag: () => data.tags[column.key] }[column.kind]?.();
        if (value !== undefined) row.cells[column.id] = value;
      }
      explorer.grid.changed(row.id);
    }
    explorer.panel.grew(data);
  }

  came(data) {
    this.news.push(data.run ?? data.run_id ?? data.id);
    clearTimeout(this.fetching);
    this.fetching = setTimeout(() => this.fetchNews(), LOOK_MS);
  }

  async fetchNews() {
    const { explorer } = this;
    const ids = this.news.splice(0, MOST).filter(Boolean);
    if (!ids.length) return;
    const { state } = explorer;
    if (!explorer.source0) return this.say(ids.length);
    const rows = await this.rows(ids);
    if (!rows.length) return;
    if (state.sort.length && !/start_time desc/i.test(state.sort[0])) return this.say(rows.length);
    rows.sort((a, b) => b.start - a.start);
    const added = explorer.source0.prepend(rows);
    if (!added) return;
    const top = explorer.grid.grew(added);
    explorer.shown({});
    if (!top) this.say(added);
    this.look();
  }

  /** Of these runs those that belong into the table, as rows. */
  async rows(ids) {
    const { explorer } = this;
    const filter = both(meant(explorer.state.filter), `attributes.run_id IN (${ids.map((id) => `'${id}'`).join(", ")})`);
    try {
      return rowsOf(await ask(explorer.url(question(explorer.state, filter))));
    } catch {
      return [];
    }
  }

  async renew(ids) {
    for (const fresh of await this.rows(ids)) {
      for (const section of this.explorer.grid.sections.list) {
        const row = section.source.row(fresh.id);
        if (row) Object.assign(row, fresh);
      }
      this.explorer.grid.changed(fresh.id);
    }
  }

  say(count) {
    this.count += count;
    this.pill.textContent = `↑ ${this.count} new ${this.count === 1 ? "run" : "runs"}`;
    this.pill.hidden = false;
  }

  seen() {
    this.count = 0;
    this.pill.hidden = true;
  }

  up() {
    const inPlace = this.explorer.source0 && !this.explorer.state.sort.length;
    this.seen();
    if (inPlace) this.explorer.grid.scroll.scrollTo({ top: 0, behavior: "smooth" });
    else this.explorer.load();
  }
}

function side(metric, column) {
  if (!metric) return undefined;
  if (column.of === "min") return metric.low;
  if (column.of === "max") return metric.high;
  return column.of === "best" ? undefined : Number.isFinite(metric.last) ? metric.last : String(metric.last ?? "NaN");
}
