// A stream of server-sent events that spares connections: a browser has six to one host over HTTP/1.1, for all tabs together. It is
// closed when the page is left, and when its tab has been out of sight for a while; it goes on where it was when the tab is seen again.

const HIDDEN_MS = 10_000;

/** Addresses of a stream whose ids are offsets: it begins again behind the last one. */
export const resumed = (url) => (last) => {
  const asked = new URL(url, location.href);
  if (last) asked.searchParams.set("offset", last);
  return asked.href;
};

function since(url, last) {
  const asked = new URL(url, location.href);
  if (last) asked.searchParams.set("last", last);
  return asked.href;
}

/**
 * `address(last)` is the URL to ask, `last` the id of the last event that came ("" at first); one that does not take it gets ?last=. `on` maps names of events to
 * functions (data as JSON, event); `state(word)` hears "live", "reconnecting", "paused" or "closed".
 */
export function stream(address, on, state = () => {}) {
  let source = null;
  let last = "";
  let over = false;
  let timer = null;

  function open() {
    if (source || over) return;
    source = new EventSource(address.length ? address(last) : since(address(), last));
    source.addEventListener("open", () => state("live"));
    source.addEventListener("error", () => {
      const closed = source?.readyState === EventSource.CLOSED;
      if (closed) source = null; // refused: asked again when the tab is seen again
      state(closed ? "closed" : "reconnecting");
    });
    for (const [name, act] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        act(event.data ? JSON.parse(event.data) : {}, event);
      });
    }
  }

  function pause() {
    source?.close();
    source = null;
  }

  function seen() {
    clearTimeout(timer);
    if (!document.hidden) return open();
    timer = setTimeout(() => {
      if (!document.hidden || over) return;
      pause();
      state("paused");
    }, HIDDEN_MS);
  }

  function close() {
    over = true;
    clearTimeout(timer);
    pause();
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("pagehide", pause);
    removeEventListener("pageshow", seen);
  }

  document.addEventListener("visibilitychange", seen);
  addEventListener("pagehide", pause);
  addEventListener("pageshow", seen); // back from the browser's memory
  if (!document.hidden) open();
  return { close };
}
