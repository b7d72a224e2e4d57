// Runs that go on while a page shows them. Elements with data-follow-runs="<id>:<version seen>" say which; one stream brings the news of all:
// charts grow, numbers with data-live-run, -metric and -part change in place, and on the document are said
//   headway:live   {run, status, state, ended, metrics, params, tags, points, ...}   what changed in a run (tracking/changes.py)
//   headway:stale  {run}       more changed than can be told piece by piece: parts of the page load themselves anew
//   headway:new    {run, ...}  a run began in the project, where an element has data-follow-news
import { make, ready, toast } from "./dom.js";
import { inUse } from "./steady.js";
import { stream } from "./stream.js";

const AGAIN_MS = 1500;
const followed = new Map(); // run -> the version this page has seen
let url = "";
let news = false;
let open = null;
let waiting = false;

const say = (name, detail) => document.dispatchEvent(new CustomEvent(`headway:${name}`, { detail }));

function address() {
  const asked = new URL(url, location.href);
  asked.searchParams.set("runs", [...followed].map(([run, version]) => `${run}:${version}`).join(","));
  if (news) asked.searchParams.set("news", "true");
  return asked.href;
}

function begin() {
  waiting = false;
  open?.close();
  open = stream(address, { run: changed, stale, new: (data) => say("new", data), refused: ({ message }) => (open.close(), toast(message, "warn")) });
}

ready((root) => {
  const marks = [...root.querySelectorAll("[data-follow-runs], [data-follow-news]")].concat(root.matches?.("[data-follow-runs]") ? [root] : []);
  let more = false;
  for (const mark of marks) {
    url ||= mark.closest("[data-follow-url]")?.dataset.followUrl ?? "";
    if ("followNews" in mark.dataset && !news) news = more = true;
    for (const part of (mark.dataset.followRuns ?? "").split(",").filter(Boolean)) {
      const [run, version] = part.split(":");
      if (!followed.has(run)) more = true;
      followed.set(run, Math.max(Number(version) || 0, followed.get(run) ?? 0));
    }
  }
  if (!url || !more || waiting) return;
  waiting = true;
  queueMicrotask(begin); // all parts of the page first, then one connection
});

const charts = (run) => [...document.querySelectorAll("figure[data-chart]")].filter((figure) => figure.dataset.chart.includes(run));
const keyOf = (figure) => new URL(figure.dataset.chart, location.href).searchParams.get("key");

function changed(data) {
  followed.set(data.run, Math.max(data.version, followed.get(data.run) ?? 0));
  const ended = !["RUNNING", "SCHEDULED"].includes(data.status);
  for (const figure of charts(data.run)) {
    const points = data.points[keyOf(figure)];
    if (!points) continue;
    const known = figure.chart?.data?.series.some((one) => one.key === data.run);
    if (known) figure.dispatchEvent(new CustomEvent("headway:points", { detail: { key: data.run, ...points } }));
    else if (figure.chart) figure.dispatchEvent(new CustomEvent("headway:refresh"));
  }
  numbers(data);
  say("live", { ...data, ended });
  if (ended && followed.has(data.run)) over(data);
}

function stale(data) {
  for (const figure of charts(data.run)) figure.dispatchEvent(new CustomEvent("headway:refresh"));
  renew(data.run);
}

let renewing = null;
let reloading = false;

/** Parts that can't be patched ask for themselves anew, once for many changes. */
function renew(run) {
  renewing ??= setTimeout(() => {
    renewing = null;
    say("stale", { run });
  }, AGAIN_MS);
}

function numbers({ run, metrics, params }) {
  let missing = Object.keys(params).length > 0 && document.querySelector(`[data-live-params="${run}"]`);
  for (const [key, metric] of Object.entries(metrics)) {
    const places = document.querySelectorAll(`[data-live-run="${run}"][data-live-metric="${CSS.escape(key)}"]`);
    if (!places.length && document.querySelector(`[data-live-metrics="${run}"]`)) missing = true;
    for (const place of places) put(place, metric);
  }
  if (missing) renew(run);
}

function put(place, metric) {
  const part = place.dataset.livePart;
  const value = metric[part];
  const [whole, frac] = metric.shown[part];
  const number = place.querySelector(".num");
  if (!number) return;
  const text = frac || number.querySelector(".frac") ? [whole, make("span", { class: "frac", "data-digits": "4" }, frac)] : [whole];
  number.replaceChildren(...text);
  if (value != null) number.title = value;
}

/** What is shown around a run that has ended (its state, what can be done next, models, figures) is of before its end. */
function over({ run }) {
  if (reloading || !document.querySelector(`[data-reload-at-end="${run}"]`)) return;
  reloading = true;
  setTimeout(() => {
    if (!document.hidden && !inUse(document.querySelector("main"))) return location.reload();
    const again = make("button", { type: "button", class: "button small" }, "Show how it ended");
    again.addEventListener("click", () => location.reload());
    document.querySelector(".page-state")?.append(again);
  }, AGAIN_MS);
}

// time that goes by: <span data-elapsed="<ms since the epoch>">, and a progress bar judged by how long such runs took
setInterval(() => {
  for (const { dataset, children } of document.querySelectorAll("[data-usual]")) {
    const done = Math.min(95, (100 * Math.max(0, Date.now() - Number(dataset.start))) / Number(dataset.usual));
    children[0].querySelector("progress").value = done;
    children[0].querySelector(".num").textContent = `${Math.round(done)} %`;
  }
  for (const element of document.querySelectorAll("[data-elapsed]")) {
    const seconds = Math.max(0, Math.floor((Date.now() - Number(element.dataset.elapsed)) / 1000));
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
    const two = (n) => String(n).padStart(2, "0");
    element.textContent = h ? `${h} h ${two(m)} min` : m ? `${m} min ${two(s)} s` : `${s} s`;
  }
}, 1000);
