// The message trace: windows of turns as they come near, what an address points at, words that were searched for.

import { fetchPart } from "./html.js";

export const id = document.getElementById("header").dataset.session;
/** Undefined on the other tabs. */
export const trace = document.getElementById("trace") ?? undefined;
/** Turns of a window. */
export const size = Number(trace?.dataset.size ?? 50);

/** The turns of one window, rendered. */
export function fetchWindow(first) {
  return fetchPart(`/sessions/${id}/turns?first=${first}&view=${trace.dataset.view}`);
}

async function load(section) {
  if (section.hasAttribute("data-loaded") || section.hasAttribute("data-loading")) return;
  section.setAttribute("data-loading", "");
  try {
    section.replaceChildren(await fetchWindow(section.dataset.first));
    section.setAttribute("data-loaded", "");
    highlight();
  } catch {
    setTimeout(() => near.observe(section), 2000);
  } finally {
    section.removeAttribute("data-loading");
  }
}

const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      load(entry.target);
    }
  },
  { rootMargin: "1500px 0px" },
);

for (const section of trace?.querySelectorAll(".window:not([data-loaded])") ?? []) near.observe(section);

/** The window that has ``turn``, if there is one yet. */
export function windowOf(turn) {
  return trace?.querySelector(`.window[data-first="${Math.floor(turn / size) * size}"]`);
}

/** Bring something into view, loading its window first; what it is stands in the address afterwards. */
async function show(turn, name) {
  const section = turn === null ? null : windowOf(turn);
  if (section) await load(section);
  const target = document.getElementById(name);
  if (!target) return false;
  for (const other of document.querySelectorAll(".here")) other.classList.remove("here");
  const fold = target.closest(".body.folded");
  fold?.classList.add("open");
  target.classList.add("here");
  target.scrollIntoView({ block: "start" });
  return true;
}

function fromAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  if (!name) return;
  const match = /^turn-(\d+)$/.exec(name);
  const asked = new URLSearchParams(location.search).get("turn");
  show(match ? Number(match[1]) : asked === null ? null : Number(asked), name);
}
addEventListener("hashchange", fromAddress);
if (location.hash) fromAddress();

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.permalink, [data-error-link]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const target = new URL(link.href);
  history.pushState(null, "", target);
  const turn = target.searchParams.get("turn");
  show(turn === null ? null : Number(turn), decodeURIComponent(target.hash.slice(1))).then((found) => {
    if (!found) location.reload(); // It is the address already.
  });
});

/** Mark the words that were searched for, without touching the text. */
function highlight() {
  const word = trace?.dataset.find.toLowerCase();
  if (!word || !CSS.highlights) return;
  const ranges = [];
  const walker = document.createTreeWalker(trace, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, Math.min(node.length, at + word.length));
      ranges.push(range);
    }
  }
  CSS.highlights.set("find", new Highlight(...ranges));
}
highlight();
