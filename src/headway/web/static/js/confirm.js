// A form with data-confirm asks first. Esc and the first button keep things as they are.
const dialog = document.getElementById("confirm");
let asked = null;

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (!question || form === asked || !dialog) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    dialog.querySelector("#confirm-text").textContent = question;
    const yes = dialog.querySelector("[data-yes]");
    yes.textContent = submitter?.dataset.confirmLabel ?? form.dataset.confirmLabel ?? submitter?.textContent.trim() ?? "Go on";
    yes.onclick = () => {
      dialog.close();
      asked = form;
      form.requestSubmit(submitter);
      asked = null;
    };
    dialog.showModal();
  },
  true,
);
