// A field over a table that hides the rows without its words, and a switch that leaves only what changed.
export function open(finder) {
  const field = finder.querySelector("input[type=search]");
  const only = finder.querySelector("[data-only]");
  const said = finder.querySelector("[role=status]");
  finder.hidden = false;

  function apply() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...(document.getElementById(finder.dataset.finder)?.tBodies[0]?.rows ?? [])];
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || (only?.checked && !("changed" in row.dataset));
      if (!row.hidden) shown += 1;
    }
    said.textContent = words.length || only?.checked ? `${shown} of ${rows.length}` : "";
  }

  field.addEventListener("input", apply);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !field.value) return;
    event.stopPropagation();
    field.value = "";
    apply();
  });
  only?.addEventListener("change", apply);
}
