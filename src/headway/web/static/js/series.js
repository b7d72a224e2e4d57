// Series of charts: smoothed, joined on one x column, averaged with a band. Pure: no document here.

/** Exponential moving average, corrected at its start; missing values stay missing. `weight`: 0 (as it is) to below 1. */
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

/** All x in order, once, and each series' y there; null where a series has none. Of several points at one x, the last. */
export function joined(series) {
  if (series.length === 1 && ascending(series[0].x)) return [series[0].x, series[0].y];
  const xs = [...new Set(series.flatMap((one) => one.x))].sort((a, b) => a - b);
  const place = new Map(xs.map((x, at) => [x, at]));
  const columns = series.map((one) => {
    const column = new Array(xs.length).fill(null);
    one.x.forEach((x, at) => (column[place.get(x)] = one.y[at] ?? column[place.get(x)]));
    return column;
  });
  return [xs, ...columns];
}

const ascending = (values) => values.every((value, at) => at === 0 || value > values[at - 1]);

/** The value at `x` between two points of a series; null before its first and after its last. */
function between(one, x, from) {
  const { x: xs, y: ys } = one;
  let at = from;
  while (at < xs.length && xs[at] < x) at += 1;
  if (at === xs.length) return [null, at];
  if (xs[at] === x) return [ys[at], at];
  if (at === 0 || ys[at] == null || ys[at - 1] == null) return [null, at];
  return [ys[at - 1] + ((ys[at] - ys[at - 1]) * (x - xs[at - 1])) / (xs[at] - xs[at - 1]), at];
}

/**
 * One line for each group of series: the mean of its members at every x that one of them has, and how far they reach there.
 * A member counts where it goes on: between its first and its last point. `group` names each series' group.
 */
export function averaged(series, most = 1000) {
  const groups = new Map();
  for (const one of series) {
    const name = one.group ?? "";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(one);
  }
  return [...groups].map(([name, members]) => mean(name, members, most));
}

function mean(name, members, most) {
  let xs = [...new Set(members.flatMap((one) => one.x))].sort((a, b) => a - b);
  if (xs.length > most) {
    const stride = Math.ceil(xs.length / most);
    xs = xs.filter((_, at) => at % stride === 0 || at === xs.length - 1);
  }
  const at = members.map(() => 0);
  const y = [], low = [], high = [];
  for (const x of xs) {
    let sum = 0, count = 0, least = Infinity, greatest = -Infinity;
    members.forEach((one, i) => {
      const [value, next] = between(one, x, at[i]);
      at[i] = next;
      if (value == null) return;
      sum += value;
      count += 1;
      least = Math.min(least, value);
      greatest = Math.max(greatest, value);
    });
    y.push(count ? sum / count : null);
    low.push(count ? least : null);
    high.push(count ? greatest : null);
  }
  return { name: name || "All", key: `group:${name}`, x: xs, y, low, high, members: members.length };
}

/** Rows for CSV: x, then a column a series, with values as they were logged. */
export function table(series, xName) {
  if (!series.length) return [[xName]];
  const columns = joined(series);
  return [[xName, ...series.map((one) => one.name)], ...columns[0].map((x, at) => [x, ...columns.slice(1).map((column) => column[at])])];
}
