// What every page has; charts and terminals are loaded where there are some.
import { fresh, leave, ready } from "./dom.js";
import "./theme.js";
import "./when.js";
import "./copy.js";
import "./confirm.js";
import "./live.js";
import "./steady.js";
import "./lightbox.js";
import "./menus.js";
import "./cmdk.js";
import "./table.js";
import "./keys.js";

if (location.hash.startsWith("#/experiments/")) import("./mlflow-links.js");

ready((root) => {
  const charts = fresh(root, "[data-chart]", "drawn");
  if (charts.length) import("./chart.js").then(({ draw }) => charts.forEach(draw));
  const parallels = fresh(root, "[data-parallel]", "drawn");
  if (parallels.length) import("./parallel.js").then(({ draw }) => parallels.forEach(draw));
  const terminals = fresh(root, "[data-terminal]", "opened");
  if (terminals.length) import("./terminal.js").then(({ open }) => terminals.forEach(open));
  const explorers = fresh(root, "[data-runs]", "opened");
  if (explorers.length) import("./runs/main.js").then(({ open }) => explorers.forEach(open));
  const notebooks = fresh(root, "[data-run-output]", "opened");
  if (notebooks.length) import("./run-output.js").then(({ open }) => notebooks.forEach(open));
  const finders = fresh(root, "[data-finder]", "opened");
  if (finders.length) import("./finder.js").then(({ open }) => finders.forEach(open));
  if (root.querySelector("[data-unfold]")) import("./unfold.js");
  if (root.querySelector("[data-follow-runs], [data-follow-news], [data-elapsed]")) import("./follow.js");
  if (root.querySelector("td[data-spark-run]")) import("./sparks.js");
  for (const range of fresh(root, "[data-range]", "ranged")) {
    range.addEventListener("input", () => (range.parentElement.querySelector("output").value = range.value));
  }
  for (const choice of fresh(root, "select[data-submit]", "submits")) choice.addEventListener("change", () => choice.form.requestSubmit());
  // on a narrow screen the tab we are on may lie outside of the row
  for (const tab of fresh(root, ".tabs [aria-current]", "shown")) {
    const row = tab.parentElement;
    row.scrollLeft = tab.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2;
  }
  fresh(root, ".toast", "leaving").forEach(leave);
});
