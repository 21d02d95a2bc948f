// What happens while one looks at a session: its header, its trace as it grows, and the end of the page.

import { onDelta, onEntry, settle } from "./drafts.js";
import { note } from "./errors.js";
import { fetchPart, say } from "./html.js";
import { listen } from "./stream.js";
import { id, trace } from "./trace.js";

const HEADER_MS = 700;
const HEADER_MS_MAX = 15_000;
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

function hear(session) {
  heard = session.status;
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

function watch() {
  const takers = { state: hear, end: over };
  if (trace) {
    takers.event = (entry) => {
      onEntry(entry);
      note(entry);
    };
    takers.delta = onDelta;
  }
  // It goes on from what the page was rendered from.
  const stop = listen(`/v1/sessions/${id}/stream`, takers, shell.dataset.resume);

  function over(ended) {
    stop();
    button?.setAttribute("hidden", "");
    hear(ended);
    if (trace) settle();
    say("The session has ended");
  }
}

/** Begin at the end, unless the address asks for something, and keep it in view unless one scrolls up to read. */
function keepEnd() {
  const query = new URLSearchParams(location.search);
  let following = !location.hash && !query.has("turn") && !query.has("find");
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
  watch();
  if (trace) keepEnd();
}
