// A chart's tools: smoothing, axes, full screen, and saving what is drawn.
import { colour } from "./colours.js";
import { icon, make, memory } from "./dom.js";
import { csv } from "./numbers.js";
import { table } from "./series.js";

const AXES = [["step", "Step"], ["time", "Time"], ["relative", "Since start"]];

/** The bar over a chart; `show()` brings it up to the chart's state. */
export function tools(chart) {
  const bar = make("div", { class: "chart-tools" });
  const button = (label, sign, act) => {
    const made = make("button", { type: "button", class: "icon-button", title: label, "aria-label": label }, sign);
    made.addEventListener("click", act);
    bar.append(made);
    return made;
  };
  const whole = button("Show all", icon("zoom-out"), () => chart.zoom(null));
  const log = button("Logarithmic", "log", () => chart.change({ log: !chart.log }));
  const settings = looks(chart);
  bar.append(settings.menu);
  const full = button("Full screen", icon("maximize-2"), () => fullScreen(chart));
  bar.append(saves(chart));
  chart.figure.prepend(bar);
  const show = () => {
    whole.hidden = !chart.range;
    log.setAttribute("aria-pressed", chart.log);
    full.setAttribute("aria-pressed", chart.figure.classList.contains("full"));
    settings.show();
  };
  show();
  return { show, full: () => fullScreen(chart) };
}

function looks(chart) {
  const range = make("input", { type: "range", min: "0", max: "0.99", step: "0.01", "aria-label": "Smoothing" });
  const said = make("output");
  const say = () => (said.textContent = Number(range.value) ? Number(range.value).toFixed(2) : "off");
  range.addEventListener("input", () => {
    say();
    memory.set("chart", { ...memory.get("chart", {}), smooth: Number(range.value) });
    chart.change({ smooth: Number(range.value) });
  });
  const axis = make("div", { class: "segments", role: "group", "aria-label": "Horizontal axis" });
  for (const [x, label] of AXES) {
    const choice = make("button", { type: "button", "data-x": x }, label);
    choice.addEventListener("click", () => chart.change({ x }));
    axis.append(choice);
  }
  const mean = make("input", { type: "checkbox" });
  mean.addEventListener("change", () => chart.change({ mean: mean.checked }));
  const items = make("div", { class: "menu-items chart-looks" }, make("label", { class: "chart-smooth" }, "Smoothing", range, said), axis,
    make("label", {}, mean, "Mean and range of the lines"));
  const summary = make("summary", { class: "icon-button", "aria-label": "Smoothing and axes", title: "Smoothing and axes" }, icon("sliders-horizontal"));
  const menu = make("details", { class: "menu" }, summary, items);
  const show = () => {
    range.value = chart.smooth;
    mean.checked = chart.mean;
    say();
    summary.setAttribute("aria-pressed", chart.smooth > 0 || chart.mean);
    for (const choice of axis.children) choice.setAttribute("aria-pressed", choice.dataset.x === chart.x);
  };
  return { menu, show };
}

function saves(chart) {
  const items = make("div", { class: "menu-items" });
  const menu = make("details", { class: "menu" }, make("summary", { class: "icon-button", "aria-label": "Save the chart", title: "Save" }, icon("download")), items);
  for (const [label, sign, act] of [["Picture (PNG)", "image", picture], ["Values (CSV)", "table", values]]) {
    const choice = make("button", { type: "button" }, icon(sign), label);
    choice.addEventListener("click", () => {
      menu.open = false;
      if (chart.data) act(chart);
    });
    items.append(choice);
  }
  return menu;
}

export const nameOf = (chart) => chart.figure.dataset.name || chart.figure.querySelector("figcaption")?.textContent.trim() || "chart";

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name.replaceAll(/[^\w.-]+/g, "_") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function values(chart) {
  const name = { step: "step", time: "time_ms", relative: "since_start_ms" }[chart.axis];
  save(new Blob([csv(table(chart.lines ?? [], name))], { type: "text/csv;charset=utf-8" }), `${nameOf(chart)}.csv`);
}

/** The lines with their names and the title on the page's ground, at the screen's resolution. */
function picture(chart) {
  const plot = chart.chart;
  if (!plot) return values(chart);
  const ratio = devicePixelRatio;
  const head = 30 * ratio;
  const names = chart.direct ? [] : chart.lines.filter((one) => !chart.hidden.has(one.key ?? one.name));
  const rows = Math.ceil(names.length / 4);
  const canvas = make("canvas");
  canvas.width = plot.ctx.canvas.width;
  canvas.height = plot.ctx.canvas.height + head + rows * 16 * ratio;
  const ctx = canvas.getContext("2d");
  const face = getComputedStyle(document.body).fontFamily;
  ctx.fillStyle = colour("--surface");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(plot.ctx.canvas, 0, head);
  ctx.fillStyle = colour("--text");
  ctx.font = `600 ${13 * ratio}px ${face}`;
  ctx.textBaseline = "middle";
  ctx.fillText(nameOf(chart), 10 * ratio, head / 2);
  ctx.font = `500 ${11 * ratio}px ${face}`;
  for (const label of chart.box.querySelectorAll(".chart-labels button")) {
    ctx.fillStyle = label.style.color;
    ctx.fillText(label.textContent, parseFloat(label.style.left) * ratio, parseFloat(label.style.top) * ratio + head, canvas.width - parseFloat(label.style.left) * ratio - 4);
  }
  names.forEach((one, at) => {
    ctx.fillStyle = chart.strokes[chart.lines.indexOf(one)];
    const width = canvas.width / 4;
    ctx.fillText(one.name, (at % 4) * width + 10 * ratio, plot.ctx.canvas.height + head + (Math.floor(at / 4) + 0.5) * 16 * ratio, width - 14 * ratio);
  });
  canvas.toBlob((blob) => blob && save(blob, `${nameOf(chart)}.png`));
}

/** The figure over the whole window, in the top layer; Esc and the button bring it back to its place. */
function fullScreen(chart) {
  const { figure } = chart;
  const open = !figure.classList.contains("full");
  if (open) {
    figure.popover = "manual";
    figure.classList.add("full");
    figure.showPopover();
    figure.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      fullScreen(chart);
    };
    chart.box.focus();
  } else {
    figure.classList.remove("full");
    figure.hidePopover();
    figure.removeAttribute("popover");
    figure.onkeydown = null;
  }
  chart.bar?.show();
  chart.resize();
}
