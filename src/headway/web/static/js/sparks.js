// Small courses of a running run's metrics: <td class="spark" data-spark-run data-spark-metric data-spark-points data-spark-values>
// holds what was drawn on the server; what the page's stream brings is drawn on at its end.
import { fresh, ready } from "./dom.js";

const MOST = 96; // values in a picture; then pairs become one
const SPACE = "http://www.w3.org/2000/svg";
const courses = new Map(); // cell -> {values, each: points a value stands for, sum, count}

ready((root) => {
  for (const cell of fresh(root, "td[data-spark-run]", "sparkKnown")) {
    const values = JSON.parse(cell.dataset.sparkValues);
    courses.set(cell, { values, each: Math.max(1, Number(cell.dataset.sparkPoints) / Math.max(1, values.length)), sum: 0, count: 0 });
  }
});

document.addEventListener("headway:live", ({ detail: { run, points } }) => {
  for (const [cell, course] of courses) {
    if (!cell.isConnected) courses.delete(cell);
    else if (cell.dataset.sparkRun === run && points[cell.dataset.sparkMetric]) {
      grow(course, points[cell.dataset.sparkMetric].values);
      draw(cell, course);
    }
  }
});

/** Each value of the picture is the mean of equally many points; the last one is of those that came so far. */
export function grow(course, values) {
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    course.sum += value;
    course.count += 1;
    if (course.count < course.each) continue;
    course.values.push(course.sum / course.count);
    course.sum = course.count = 0;
    if (course.values.length < MOST) continue;
    course.values = course.values.flatMap((one, at) => (at % 2 ? [] : [mean(one, course.values[at + 1])]));
    course.each *= 2;
  }
}

const mean = (one, other) => (one == null || other == null ? (one ?? other ?? null) : (one + other) / 2);

/** The `d` of a path through the values, 2 px inside a box of 96 by 24, as the server draws it; gaps where one is missing. */
export function path(values) {
  const known = values.filter((value) => value != null);
  if (known.length < 2) return "";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const across = 92 / Math.max(1, values.length - 1);
  return values.map((value, at) => {
    if (value == null) return "";
    const y = high > low ? 22 - ((value - low) * 20) / (high - low) : 12;
    return `${at && values[at - 1] != null ? "L" : "M"}${(2 + at * across).toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
}

function draw(cell, course) {
  const line = path(course.count ? [...course.values, course.sum / course.count] : course.values);
  if (!line) return;
  if (!cell.querySelector("path")) {
    const picture = document.createElementNS(SPACE, "svg");
    for (const [name, value] of Object.entries({ class: "sparkline", viewBox: "0 0 96 24", preserveAspectRatio: "none", "aria-hidden": "true" })) picture.setAttribute(name, value);
    picture.append(document.createElementNS(SPACE, "path"));
    cell.replaceChildren(picture);
  }
  cell.querySelector("path").setAttribute("d", line);
}
