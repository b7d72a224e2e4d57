// Copy buttons, and the tabs of snippets.
import { icon, memory, ready, fresh, toast } from "./dom.js";

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // the clipboard's interface is there only on https and localhost
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("refused");
  }
}

export async function copy(text, button) {
  try {
    await copyText(text);
    if (!button) return toast("Copied");
    const was = button.querySelector(".icon");
    const check = icon("check");
    button.classList.add("done");
    was?.replaceWith(check);
    setTimeout(() => {
      button.classList.remove("done");
      if (was) check.replaceWith(was);
    }, 1400);
  } catch {
    toast("The browser did not allow copying; select the text instead.", "bad");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-code]");
  if (!button || button.classList.contains("done")) return;
  const text = "copy" in button.dataset ? button.dataset.copy : button.parentElement.querySelector("pre").textContent.replace(/\n$/, "");
  copy(text, button);
});

function choose(snippet, tab, focus) {
  for (const other of snippet.querySelectorAll('[role="tab"]')) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
}

ready((root) => {
  for (const snippet of fresh(root, "[data-snippet]", "tabbed")) {
    const tabs = [...snippet.querySelectorAll('[role="tab"]')];
    const liked = tabs.find((tab) => tab.textContent === memory.get("language"));
    if (liked) choose(snippet, liked);
    for (const tab of tabs) {
      tab.addEventListener("click", () => {
        choose(snippet, tab);
        memory.set("language", tab.textContent);
      });
    }
    snippet.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = tabs.indexOf(event.target);
      if (!step || at < 0) return;
      event.preventDefault();
      choose(snippet, tabs[(at + step + tabs.length) % tabs.length], true);
    });
  }
});
