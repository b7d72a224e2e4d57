// Dialogs, menus, the rail on small screens, and buttons that are busy while their form is on its way.
const rail = document.querySelector("[data-rail]");

function showRail(open) {
  document.documentElement.classList.toggle("rail-is-open", open);
  rail?.setAttribute("aria-expanded", open);
  if (open) document.querySelector("#rail a, #rail button")?.focus();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
  // a click on the backdrop lands on the dialog itself, outside of its box
  if (event.target instanceof HTMLDialogElement) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const within = menu.contains(event.target);
    if (!within || event.target.closest(".menu-items a, .menu-items [data-dialog]")) menu.open = false;
  }
  if (event.target.closest("[data-rail]")) showRail(!document.documentElement.classList.contains("rail-is-open"));
  else if (!event.target.closest("#rail")) showRail(false);
});

// A menu in a table would be cut off at the edge of what scrolls; it is placed on the window instead, below (or above) its button.
function place(menu, button) {
  const items = menu.querySelector(".menu-items");
  items.style.position = "fixed";
  items.style.right = `${document.documentElement.clientWidth - button.right}px`;
  const below = button.bottom + items.offsetHeight + 8 < innerHeight;
  items.style.top = below ? `${button.bottom + 4}px` : `${Math.max(4, button.top - items.offsetHeight - 4)}px`;
}

/** Whether a button is seen within what scrolls around it. */
function inView(button, frame) {
  const across = button.right > Math.max(0, frame.left) && button.left < Math.min(innerWidth, frame.right);
  return across && button.bottom > Math.max(0, frame.top) && button.top < Math.min(innerHeight, frame.bottom);
}

const followed = new WeakSet(); // the menus that go with their buttons just now

// Scrolling moves the button, and so does whatever arrives above the table: the menu goes with it, and closes once it is out of view.
function follow(menu, last) {
  const button = menu.querySelector("summary").getBoundingClientRect();
  const frame = menu.closest(".table-scroll")?.getBoundingClientRect(); // none: the table was drawn anew without it
  if (!menu.open || !frame || !inView(button, frame)) {
    menu.open = false;
    followed.delete(menu);
    return;
  }
  if (button.top !== last?.top || button.right !== last?.right) place(menu, button);
  requestAnimationFrame(() => follow(menu, button));
}

document.addEventListener(
  "toggle",
  (event) => {
    const menu = event.target;
    if (!menu.matches?.("details.menu") || !menu.closest(".table-scroll") || followed.has(menu)) return;
    followed.add(menu);
    follow(menu);
  },
  true,
);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  if (document.documentElement.classList.contains("rail-is-open")) {
    showRail(false);
    rail?.focus();
  }
});

// bubbles last, so a form that was stopped (a question first) is not marked
window.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.submitter) return;
  event.submitter.setAttribute("aria-busy", "true");
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll('[aria-busy="true"]')) button.removeAttribute("aria-busy");
});
