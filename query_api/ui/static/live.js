// What happens while one looks at a session: its header, its trace as it grows, and the end of the page.

import { onDelta, onEntry, settle } from "./drafts.js";
import { fetchPart, say } from "./html.js";
import { id, trace } from "./trace.js";

const HEADER_MS = 700;
const shell = document.getElementById("header");
const button = document.getElementById("follow");

const isOpen = () => shell.querySelector("[data-open]")?.dataset.open === "yes";
const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

let refresh = 0;

/** Show the header anew, at most once in `HEADER_MS`. */
function soon() {
  refresh ||= setTimeout(() => {
    refresh = 0;
    header().catch(() => {});
  }, HEADER_MS);
}

async function header() {
  const part = await fetchPart(`/sessions/${id}/header`);
  const inUse = shell.querySelector("dialog[open]") || shell.contains(document.activeElement);
  if (!inUse) return shell.replaceChildren(part);
  // Nobody's dialog or focus is taken away: the status is shown, the rest once the focus has gone on.
  shell.querySelector(".title .badge").replaceWith(part.querySelector(".title .badge"));
  shell.addEventListener("focusout", soon, { once: true });
}

function listen() {
  // It goes on from what the page was rendered from.
  const source = new EventSource(`/v1/sessions/${id}/stream?last_event_id=${encodeURIComponent(shell.dataset.resume)}`);
  const badge = document.querySelector("[data-live]");
  const set = (away) => {
    if (!badge) return;
    badge.hidden = false;
    badge.classList.toggle("away", away);
    badge.lastChild.textContent = away ? "reconnecting" : "live";
  };
  source.addEventListener("open", () => set(false));
  source.addEventListener("error", () => set(true));
  source.addEventListener("state", soon);
  if (trace) {
    source.addEventListener("event", (event) => onEntry(JSON.parse(event.data)));
    source.addEventListener("delta", (event) => onDelta(JSON.parse(event.data)));
  }
  source.addEventListener("end", () => {
    source.close();
    badge?.setAttribute("hidden", "");
    button?.setAttribute("hidden", "");
    soon();
    if (trace) settle();
    say("The session has ended");
  });
  addEventListener("pagehide", () => source.close());
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
