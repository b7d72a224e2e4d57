// Light, dark, or what the system says. In a cookie, so that the server writes it into the page and nothing flashes.
const dark = matchMedia("(prefers-color-scheme: dark)");

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-switch]")) return;
  const root = document.documentElement;
  const now = root.dataset.theme || (dark.matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  const isSystem = next === (dark.matches ? "dark" : "light");
  if (isSystem) delete root.dataset.theme;
  else root.dataset.theme = next;
  document.cookie = `hw_theme=${isSystem ? "" : next}; path=/; max-age=${isSystem ? 0 : 31536000}; samesite=lax`;
  document.dispatchEvent(new CustomEvent("headway:theme"));
});

dark.addEventListener("change", () => document.dispatchEvent(new CustomEvent("headway:theme")));
