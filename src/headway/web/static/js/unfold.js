// Equal lines of a difference are folded; here they come out.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-unfold]");
  if (!button) return;
  const gap = button.closest("tr");
  for (let row = gap.nextElementSibling; row?.hidden; row = row.nextElementSibling) row.hidden = false;
  gap.remove();
});
