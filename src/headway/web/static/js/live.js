// htmx: the csrf token on each request, redirects that really go there, errors that are seen.
import { toast } from "./dom.js";

document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector('meta[name="csrf"]')?.content;
  if (token) event.detail.headers["X-CSRF-Token"] = token;
});

// The browser follows a redirect before htmx sees it; a form that led to another page should open that page.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (requestConfig.verb !== "get" && xhr.responseURL && xhr.status < 400) {
    const there = new URL(xhr.responseURL);
    const asked = new URL(requestConfig.path, location.href);
    if (there.pathname !== asked.pathname) {
      event.detail.shouldSwap = false;
      location.assign(there.href);
      return;
    }
  }
  if (xhr.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  // a form with errors comes back as itself
  if (xhr.status === 422) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const said = page.querySelector(".notice strong")?.textContent || page.querySelector(".error-message")?.textContent;
  const next = page.querySelector(".notice p")?.textContent ?? "";
  toast(said ? `${said} ${next}`.trim() : `The server answered ${xhr.status}.`, "bad");
});

let unreachable = false;
document.addEventListener("htmx:sendError", () => {
  if (!unreachable) toast("The server can't be reached. What you see may be old.", "bad");
  unreachable = true;
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) unreachable = false;
});
