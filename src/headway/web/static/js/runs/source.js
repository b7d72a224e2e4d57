// Rows of the table as they are scrolled to: pages of the server, kept by their place, asked for once.

const LIMIT = 100;

/** One answer of the table, as rows: {id, name, state, ..., cells: {column's id: value}}. */
export function rowsOf(table) {
  return table.run_id.map((id, at) => {
    const cells = {};
    for (const column of table.columns) {
      cells[column.id] = column.values[at];
      if (column.of === column.goal) cells[column.id.replace(/^(min|max)\(/, "best(")] = column.values[at]; // asked for as the best
    }
    return { id, name: table.name[at] || id.slice(0, 8), state: table.state[at], cause: table.cause[at], experiment: table.experiment[at], user: table.user[at],
      start: table.start[at], end: table.end[at], parent: table.parent[at], children: table.children[at], cells };
  });
}

/** What the server answers to a request; what it refuses is thrown, with its hint and where it stopped to understand. */
export async function ask(url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  const { message, hint = "", position } = found.error ?? {};
  const problem = new Error(message ?? `The server answered ${answer.status}.`);
  throw Object.assign(problem, { hint, position, status: answer.status });
}

/** The same for what changes something. */
export function send(method, url, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": document.querySelector('meta[name="csrf"]')?.content ?? "" };
  return ask(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
}

export class Source {
  /** `url` asks the table for one question; `changed()` is told when rows or their number came. */
  constructor(url, changed, failed = () => {}) {
    this.url = url;
    this.changed = changed;
    this.failed = failed;
    this.rows = [];
    this.total = null;
    this.marks = new Map([[0, ""]]); // where a page begins -> the server's mark for it
    this.pending = [];
    this.chosen = null;
    this.over = new AbortController();
  }

  /** How many rows there are, as far as is known. */
  get count() {
    return this.total ?? this.rows.length;
  }

  close() {
    this.over.abort();
  }

  async load(start) {
    const span = { from: start, to: start + LIMIT };
    this.pending.push(span);
    const url = new URL(this.url, location.href);
    url.searchParams.set("limit", LIMIT);
    if (this.marks.has(start)) this.marks.get(start) && url.searchParams.set("cursor", this.marks.get(start));
    else url.searchParams.set("offset", start);
    try {
      const table = await ask(url, { signal: this.over.signal });
      this.chosen ??= table.columns.map((column) => column.id);
      const at = span.from; // rows may have come before it meanwhile
      rowsOf(table).forEach((row, i) => (this.rows[at + i] = row));
      const end = at + table.run_id.length;
      if (table.next) this.marks.set(end, table.next);
      else this.total = end;
      this.changed(table);
    } catch (problem) {
      if (problem.name !== "AbortError") this.failed(problem);
    } finally {
      this.pending.splice(this.pending.indexOf(span), 1);
    }
  }

  /** How many rows there are in all: asked beside the rows, which don't wait for it. */
  async weigh() {
    const url = new URL(this.url, location.href);
    url.searchParams.set("limit", 1);
    url.searchParams.set("count", "true");
    url.searchParams.delete("column");
    url.searchParams.append("column", "tags.mlflow.user");
    try {
      const { total } = await ask(url, { signal: this.over.signal });
      if (this.total === null || total > this.total) this.total = total;
      this.changed();
    } catch (problem) {
      if (problem.name !== "AbortError") this.failed(problem);
    }
  }

  has(at) {
    return this.rows[at] !== undefined || this.pending.some(({ from, to }) => at >= from && at < to);
  }

  /** Have the rows from `from` until before `to` come, if they are not here yet. */
  need(from, to) {
    const end = Math.min(to, this.total ?? to);
    for (let at = Math.max(0, from); at < end; at += 1) {
      if (this.has(at)) continue;
      let start = at;
      while (start > 0 && at - start < LIMIT - 1 && !this.has(start - 1)) start -= 1;
      if (this.total === null && start > 0 && !this.marks.has(start)) return; // beyond what is known to be there
      this.load(start);
      at = start + LIMIT - 1;
    }
  }

  /** New runs, which come before all others. */
  prepend(rows) {
    const known = new Set(this.rows.slice(0, 200).map((row) => row?.id));
    const fresh = rows.filter((row) => !known.has(row.id));
    const count = fresh.length;
    if (!count) return 0;
    this.rows.unshift(...fresh);
    if (this.total !== null) this.total += count;
    this.marks = new Map([[0, ""], ...[...this.marks].filter(([at]) => at > 0).map(([at, mark]) => [at + count, mark])]);
    for (const span of this.pending) {
      span.from += count;
      span.to += count;
    }
    return count;
  }

  row(id) {
    return this.rows.find((one) => one?.id === id);
  }
}
