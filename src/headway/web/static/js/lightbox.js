// A picture of the page looked at large: left and right leaf through the others, Esc closes. Without scripts its link opens the file.
import { icon, make } from "./dom.js";

let dialog = null;
let links = [];
let at = 0;

function build() {
  const button = (label, sign, act) => {
    const made = make("button", { type: "button", class: "icon-button", "aria-label": label, title: label }, icon(sign));
    made.addEventListener("click", act);
    return made;
  };
  const name = make("span", { class: "name" });
  const count = make("span", { class: "note num" });
  const save = make("a", { class: "icon-button", "aria-label": "Download", title: "Download" }, icon("download"));
  const header = make("header", {}, name, count, button("Previous", "chevron-left", () => show(at - 1)), button("Next", "chevron-right", () => show(at + 1)), save, button("Close", "x", () => dialog.close()));
  const picture = make("img", { alt: "" });
  const stage = make("div", { class: "stage" }, picture);
  dialog = make("dialog", { class: "lightbox", "aria-label": "Figure" }, header, stage);
  Object.assign(dialog, { name, count, save, picture });
  stage.addEventListener("click", (event) => event.target === stage && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, k: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, j: at + 1, " ": at + 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  dialog.addEventListener("close", () => links[at]?.focus());
  document.body.append(dialog);
}

function show(number) {
  at = (number + links.length) % links.length;
  const link = links[at];
  dialog.picture.src = link.href;
  dialog.picture.alt = dialog.name.textContent = link.dataset.figure;
  dialog.count.textContent = links.length > 1 ? `${at + 1} of ${links.length}` : "";
  dialog.save.href = `${link.href}?download`;
  new Image().src = links[(at + 1) % links.length].href; // the next one is there when it is asked for
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-figure]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (!dialog?.isConnected) build();
  links = [...document.querySelectorAll("a[data-figure]")];
  show(links.indexOf(link));
  dialog.showModal();
});
