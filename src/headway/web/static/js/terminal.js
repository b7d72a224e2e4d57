// The output of a process: what is there, then what the stream brings. The stream goes on where it was after a lost connection.
import { make } from "./dom.js";
import { copy } from "./copy.js";
import { Screen } from "./screen.js";
import { reload } from "./steady.js";
import { resumed, stream } from "./stream.js";

export function open(element) {
  const pre = element.querySelector("pre");
  const state = element.querySelector(".terminal-state");
  const follow = element.querySelector("[data-follow]");
  const screen = new Screen();
  const shown = new Map(); // line number -> element
  let waiting = false;

  function paint() {
    waiting = false;
    const first = screen.dropped;
    for (const [number, line] of shown) {
      if (number >= first) break;
      line.remove();
      shown.delete(number);
    }
    const box = document.createDocumentFragment();
    for (let number = first + shown.size; number < first + screen.lines.length; number += 1) {
      const line = make("span", { class: "line" });
      shown.set(number, line);
      box.append(line);
      screen.dirty.add(number);
    }
    pre.append(box);
    for (const number of screen.dirty) {
      const parts = screen.runs(number).map(([text, classes]) => (classes ? make("span", { class: classes }, text) : text));
      shown.get(number)?.replaceChildren(...parts, "\n");
    }
    screen.dirty.clear();
    if (follow.getAttribute("aria-pressed") === "true") pre.scrollTop = pre.scrollHeight;
  }

  function write(text) {
    screen.write(text);
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(paint);
    }
  }

  const before = pre.textContent;
  pre.replaceChildren();
  write(before);

  follow.addEventListener("click", () => {
    const on = follow.getAttribute("aria-pressed") !== "true";
    follow.setAttribute("aria-pressed", on);
    if (on) pre.scrollTop = pre.scrollHeight;
  });
  pre.addEventListener("wheel", (event) => event.deltaY < 0 && follow.setAttribute("aria-pressed", "false"), { passive: true });
  element.querySelector("[data-copy-terminal]").addEventListener("click", (event) => copy(screen.text(), event.currentTarget));

  const url = element.dataset.terminal;
  if (!url) {
    follow.hidden = true;
    return;
  }
  const say = (text) => (state.textContent = text);
  const output = (data) => write(typeof data === "string" ? data : data.text);
  const end = (detail) => {
    source.close();
    say("ended");
    follow.hidden = true;
    element.dispatchEvent(new CustomEvent("headway:ended", { bubbles: true, detail }));
    // the page around it (state, buttons, results) is of before the end
    if (element.closest("[data-reload-at-end]")) reload();
  };
  const source = stream(resumed(url), { output, end }, (word) => say(word === "closed" ? "no longer connected" : word));
  element.addEventListener("htmx:beforeCleanupElement", () => source.close()); // taken out of the page
}
