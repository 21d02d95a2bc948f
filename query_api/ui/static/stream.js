// A stream of the API while a page is open: cut off or refused, it goes on where it was; the page's badge says how it is.

import { el, signInPath } from "./html.js";

const AGAIN_MS = 5_000;

/** Hand what comes from ``path``, after the id ``last`` if there is one, to ``takers`` by event; return what ends it. */
export function listen(path, takers, last = "") {
  const badge = document.querySelector("[data-live]");
  let source;
  let again = 0;

  function show(text) {
    if (!badge) return;
    badge.hidden = false;
    badge.classList.toggle("away", text !== "live");
    badge.lastChild.textContent = text;
  }

  function open() {
    const url = new URL(path, location);
    if (last) url.searchParams.set("last_event_id", last);
    source = new EventSource(url);
    source.addEventListener("open", () => show("live"));
    source.addEventListener("error", () => {
      show("reconnecting");
      // A server that is there and refuses: browsers try again only where there was none.
      if (source.readyState === EventSource.CLOSED) refused(url);
    });
    for (const [name, take] of Object.entries(takers)) {
      source.addEventListener(name, (event) => {
        last = event.lastEventId || last;
        take(JSON.parse(event.data));
      });
    }
  }

  async function refused(url) {
    if ((await status(url)) !== 401) {
      again = setTimeout(open, AGAIN_MS);
      return;
    }
    show("signed out");
    const way = el("a", { href: signInPath() }, "Sign in again");
    document.body.append(el("p", { class: "note warn lost", role: "alert" }, "You are signed out: this page stands still. ", way));
  }

  function end() {
    clearTimeout(again);
    source.close();
    badge?.setAttribute("hidden", "");
  }

  open();
  addEventListener("pagehide", end, { once: true });
  return end;
}

/** What a server answers, which an EventSource does not tell; 0 when it does not. */
async function status(url) {
  const stop = new AbortController();
  try {
    return (await fetch(url, { signal: stop.signal })).status;
  } catch {
    return 0;
  } finally {
    stop.abort();
  }
}
