// What happens while one looks at a session: its header, its trace as it grows, and the end of the page.

import { onDelta, onEntry, settle } from "./drafts.js";
import { fetchPart, say } from "./html.js";
import { id, trace } from "./trace.js";

const HEADER_MS = 700;
const HEADER_MS_MAX = 15_000;
const LISTEN_AGAIN_MS = 5_000;
const shell = document.getElementById("header");
const button = document.getElementById("follow");

const isOpen = () => shell.querySelector("[data-open]")?.dataset.open === "yes";
const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

let refresh = 0;
let wait = HEADER_MS;
/** How many headers were asked for, and which of them stands there. */
let asked = 0;
let shown = 0;
/** The status that the stream told last. The header comes from the ledger, which may have it a moment later. */
let heard = "";
let resume = shell.dataset.resume;

/** Show the header anew, at most once in `HEADER_MS`. */
function soon() {
  refresh ||= setTimeout(() => {
    refresh = 0;
    header().catch(again);
  }, wait);
}

function again() {
  wait = Math.min(HEADER_MS_MAX, 2 * wait);
  soon();
}

function hear(event) {
  heard = JSON.parse(event.data).status;
  if (wait > HEADER_MS) {
    clearTimeout(refresh);
    refresh = 0;
    wait = HEADER_MS;
  }
  soon();
}

async function header() {
  const mine = ++asked;
  const part = await fetchPart(`/sessions/${id}/header`);
  if (mine < shown) return; // A newer one was quicker.
  shown = mine;
  const { open, status } = part.querySelector("[data-status]").dataset;
  const inUse = shell.querySelector("dialog[open]") || shell.contains(document.activeElement);
  if (inUse) {
    // Nobody's dialog or focus is taken away: the status is shown, the rest once the focus has gone on.
    shell.querySelector(".title .badge").replaceWith(part.querySelector(".title .badge"));
    shell.addEventListener("focusout", soon, { once: true });
  } else shell.replaceChildren(part);
  if (heard && open && status !== heard) again();
  else wait = HEADER_MS;
}

function listen() {
  // It goes on from what the page was rendered from.
  const source = new EventSource(`/v1/sessions/${id}/stream?last_event_id=${encodeURIComponent(resume)}`);
  const badge = document.querySelector("[data-live]");
  const set = (away) => {
    if (!badge) return;
    badge.hidden = false;
    badge.classList.toggle("away", away);
    badge.lastChild.textContent = away ? "reconnecting" : "live";
  };
  source.addEventListener("open", () => set(false));
  source.addEventListener("error", () => {
    set(true);
    // A server that is there and refuses, for now: browsers try again only where there was none.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, LISTEN_AGAIN_MS);
  });
  const on = (name, take) =>
    source.addEventListener(name, (event) => {
      resume = event.lastEventId || resume;
      take(event);
    });
  on("state", hear);
  if (trace) {
    on("event", (event) => onEntry(JSON.parse(event.data)));
    on("delta", (event) => onDelta(JSON.parse(event.data)));
  }
  on("end", (event) => {
    source.close();
    badge?.setAttribute("hidden", "");
    button?.setAttribute("hidden", "");
    hear(event);
    if (trace) settle();
    say("The session has ended");
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

/** Keep the end in view as it grows, unless one scrolls up to read. */
function keepEnd() {
  let following = !location.hash && !new URLSearchParams(location.search).has("turn") && atEnd();
  let [lastY, lastHeight] = [scrollY, trace.offsetHeight];
  const show = () => (button.hidden = following || !isOpen());
  new ResizeObserver(() => following && toEnd()).observe(trace);
  addEventListener("scroll", () => {
    // A page that became shorter moves by itself: only who moves within the same page wants to read.
    if (scrollY < lastY - 2 && trace.offsetHeight === lastHeight) following = false;
    else if (atEnd()) following = true;
    [lastY, lastHeight] = [scrollY, trace.offsetHeight];
    show();
  }, { passive: true });
  button.addEventListener("click", () => {
    following = true;
    toEnd();
    show();
  });
  show();
}

/** Show what happens from now on, if the session still runs. */
export function live() {
  if (!isOpen()) return;
  listen();
  if (trace) keepEnd();
}
