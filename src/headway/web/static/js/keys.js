// "?" shows which keys there are.
import { make, typing } from "./dom.js";

const KEYS = [
  ["Ctrl K", "Go to anything"],
  ["/", "Search on this page"],
  ["j k", "Next and previous row"],
  ["Enter", "Open the row"],
  ["x", "Select the row, to compare"],
  ["Esc", "Close what is open"],
  ["?", "These keys"],
];

function show() {
  const rows = KEYS.map(([keys, what]) =>
    make("div", {}, make("dt", {}, what), make("dd", { class: "keys" }, ...keys.split(" ").map((key) => make("kbd", {}, key)))));
  const dialog = make("dialog", { class: "key-help", "aria-label": "Keys" }, make("h2", {}, "Keys"), make("dl", { class: "kv" }, ...rows));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "?" || typing(event.target) || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  show();
});
