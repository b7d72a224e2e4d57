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

// A menu in a table would be cut off at the edge of what scrolls; it is placed on the window instead, and closed when its button moves away.
const placed = new WeakMap(); // menu -> where its button was when it was placed

const where = (menu) => menu.querySelector("summary").getBoundingClientRect();

document.addEventListener(
  "toggle",
  (event) => {
    const menu = event.target;
    if (!menu.matches?.("details.menu") || !menu.closest(".table-scroll")) return;
    placed.delete(menu);
    if (!menu.open) return;
    const items = menu.querySelector(".menu-items");
    const button = where(menu);
    items.style.position = "fixed";
    items.style.right = `${document.documentElement.clientWidth - button.right}px`;
    const below = button.bottom + items.offsetHeight + 8 < innerHeight;
    items.style.top = below ? `${button.bottom + 4}px` : `${Math.max(4, button.top - items.offsetHeight - 4)}px`;
    placed.set(menu, button);
  },
  true,
);
document.addEventListener(
  "scroll",
  (event) => {
    for (const menu of document.querySelectorAll(".table-scroll details.menu[open]")) {
      // a scroll is told a frame late: the one that brought the button into view must not close the menu that was opened since
      const [then, now] = [placed.get(menu), where(menu)];
      const moved = then && (Math.abs(now.top - then.top) > 1 || Math.abs(now.left - then.left) > 1);
      if (moved && !menu.contains(event.target)) menu.open = false;
    }
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
