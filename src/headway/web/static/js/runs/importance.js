// What a metric hangs on: its parameters, the strongest first. A click draws the metric over that parameter.
import { make } from "../dom.js";
import { column } from "./columns.js";
import { ask } from "./source.js";
import { meant, question } from "./state.js";

export async function importance(panel) {
  const { explorer } = panel;
  const metrics = panel.drawable.filter((one) => one.kind === "metric");
  const metric = column(explorer.state.y)?.kind === "metric" ? column(explorer.state.y) : metrics[0];
  if (!metric) return panel.say("Show a metric as a column: what it hangs on is drawn here.");
  const select = make("select", { "aria-label": "Metric", class: "small" }, ...[...new Map([...metrics, metric].map((one) => [one.id, one.label]))].map(([id, label]) => make("option", { value: id }, label)));
  select.value = metric.id;
  select.addEventListener("change", () => explorer.set({ y: select.value }, false));
  panel.tools.replaceChildren(make("label", { class: "panel-choice" }, "Of", select));
  const asked = question(explorer.state, meant(explorer.state.filter));
  asked.delete("order");
  asked.set("metric", metric.id);
  if (!panel.body.children.length) panel.say("Looking at the runs …");
  const found = await ask(`${explorer.api}/importance?${asked}`);
  if (!found.params.length) return panel.say(found.message ?? "Too few runs differ in a parameter to say what this metric hangs on.");
  const most = Math.max(...found.params.map((one) => one.importance), 1e-9);
  const list = make("ol", { class: "bars importance" });
  for (const one of found.params.slice(0, 24)) {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${Math.max(1, (one.importance / most) * 100)}%`;
    bar.style.background = one.direction == null ? "var(--c7)" : one.direction >= 0 ? "var(--c3)" : "var(--c2)";
    const way = one.direction == null ? "" : one.direction > 0 ? "↑ higher with it" : "↓ lower with it";
    const name = make("button", { type: "button", class: "bar-name link", title: `Draw ${metric.label} over ${one.key}` }, one.key);
    name.addEventListener("click", () => explorer.set({ panel: "scatter", x: idOf(one.key), y: metric.id }));
    list.append(make("li", {}, name, make("span", { class: "bar-room" }, bar), make("span", { class: "num", title: one.confidence == null ? false : `confidence ${one.confidence}` }, `${Math.round(one.importance * 100)} %`), make("span", { class: "note" }, way)));
  }
  panel.body.replaceChildren(list, make("p", { class: "chart-note" }, `From ${found.runs.toLocaleString("en")} runs: how much of the differences in ${metric.label} goes with each parameter. It shows what goes together, not what causes it.`));
}

const idOf = (key) => `params.${/^[\w\-/:@.]+$/.test(key) ? key : `\`${key}\``}`;
