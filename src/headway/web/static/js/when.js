// "3 min ago" stays true while the page is open; the title gets the reader's own zone. The same words as web/show.py.
import { ready } from "./dom.js";

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MINUTE = 60, HOUR = 3600, DAY = 86400;

function amount(seconds) {
  if (seconds < MINUTE) return `${Math.floor(seconds)} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h`;
  const days = Math.floor(seconds / DAY);
  return days === 1 ? "1 day" : `${days} days`;
}

export function ago(ms, now = Date.now()) {
  const seconds = (now - ms) / 1000;
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  if (size < 7 * DAY) return seconds < 0 ? `in ${amount(size)}` : `${amount(size)} ago`;
  const at = new Date(ms);
  const day = `${at.getUTCDate()} ${months[at.getUTCMonth()]}`;
  return size < 300 * DAY ? day : `${day} ${at.getUTCFullYear()}`;
}

function show(time) {
  const ms = Number(time.dataset.when);
  const text = ago(ms);
  if (time.textContent !== text) time.textContent = text;
  if (!time.dataset.local) {
    time.title = exact.format(ms);
    time.dataset.local = "1";
  }
}

ready((root) => root.querySelectorAll("time[data-when]").forEach(show));
setInterval(() => document.querySelectorAll("time[data-when]").forEach(show), 10_000);
