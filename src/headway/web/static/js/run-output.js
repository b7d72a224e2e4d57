// A notebook that runs: each cell's outputs as they come. The server has drawn and cleaned them; here they only take their place.

import { reload } from "./steady.js";
import { resumed, stream } from "./stream.js";

export function open(element) {
  const atFoot = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;

  const shown = (data) => {
    const cell = element.querySelector(`[data-cell="${data.cell}"]`);
    if (!cell) return;
    const follow = atFoot();
    cell.dataset.state = data.state;
    cell.querySelector(".cell-count").textContent = `[${data.state === "running" ? "*" : (data.count ?? " ")}]`;
    const box = cell.querySelector(".cell-outputs");
    const places = [...box.querySelectorAll("pre")].map((pre) => [pre.scrollTop, pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4]);
    box.innerHTML = data.html;
    [...box.querySelectorAll("pre")].forEach((pre, at) => {
      const [top, atEnd] = places[at] ?? [0, true];
      pre.scrollTop = atEnd ? pre.scrollHeight : top;
    });
    if (follow && data.state === "running") cell.scrollIntoView({ block: "end" });
  };
  const end = () => {
    source.close();
    if (element.closest("[data-reload-at-end]")) reload();
  };
  const source = stream(resumed(element.dataset.runOutput), { cell: shown, end });
  element.addEventListener("htmx:beforeCleanupElement", () => source.close());
}
