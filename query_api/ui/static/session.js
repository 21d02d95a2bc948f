// The page of one session: windows of turns as they come near, errors in turn, and what happens live.

import { duration, timeOfDay } from "./format.js";
import { el, fetchPart, icon, say } from "./html.js";

const shell = document.getElementById("header");
const id = shell.dataset.session;
const trace = document.getElementById("trace");

// ---- windows -------------------------------------------------------------------------------------------------------

const size = Number(trace?.dataset.size ?? 50);
const exact = trace?.dataset.view ?? "";
let last = Number(trace?.dataset.last ?? 0);

async function load(section) {
  if (section.hasAttribute("data-loaded") || section.hasAttribute("data-loading")) return;
  section.setAttribute("data-loading", "");
  try {
    const part = await fetchPart(`/sessions/${id}/turns?first=${section.dataset.first}&view=${exact}`);
    section.replaceChildren(part);
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

function windowOf(turn) {
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
    if (!found) location.assign(target);
  });
});

// ---- errors --------------------------------------------------------------------------------------------------------

let error = -1;

function step(by) {
  const links = [...document.querySelectorAll("[data-error-link]")];
  if (!links.length) return;
  error = error < 0 && by < 0 ? links.length - 1 : (error + by + links.length) % links.length;
  links[error].click();
  say(`Error ${error + 1} of ${links.length}: ${links[error].textContent.trim().slice(0, 120)}`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-error]");
  if (button) step(Number(button.dataset.error));
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") step(1);
  if (event.key === "p") step(-1);
});

// ---- hits ----------------------------------------------------------------------------------------------------------

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

// ---- terminate -----------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-terminate]");
  if (!form) return;
  // Its buttons only: a form that is disabled whole would send nothing.
  for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
});

// ---- live ----------------------------------------------------------------------------------------------------------

const tail = document.getElementById("tail");
const follow = document.getElementById("follow");
let following = false;
let refresh = 0;

const isOpen = () => shell.querySelector("[data-open]")?.dataset.open === "yes";
const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

async function header() {
  if (shell.querySelector("dialog[open], details.drop[open]") || shell.contains(document.activeElement)) {
    // Nobody's dialog or focus is taken away; the status alone is shown meanwhile.
    return;
  }
  shell.replaceChildren(await fetchPart(`/sessions/${id}/header`));
}

function soon() {
  clearTimeout(refresh);
  refresh = setTimeout(() => header().catch(() => {}), 400);
}

/** Put what is new into its window, once the ledger has it: rendered as everything else. */
let settling = 0;
function settle() {
  clearTimeout(settling);
  settling = setTimeout(async () => {
    const first = Math.floor(last / size) * size;
    let section = trace.querySelector(`.window[data-first="${first}"]`);
    if (!section) {
      section = el("section", { class: "window", "data-first": first, "data-loaded": "" });
      tail.before(section);
    }
    const part = await fetchPart(`/sessions/${id}/turns?first=${first}&view=${exact}`).catch(() => null);
    if (!part) return settle();
    section.setAttribute("data-loaded", "");
    section.replaceChildren(part);
    for (const draft of [...tail.querySelectorAll("[data-place]")]) {
      if (document.querySelector(`.window [data-place="${CSS.escape(draft.dataset.place)}"]`)) draft.remove();
    }
    for (const draft of [...tail.querySelectorAll("[data-call]")]) {
      if (document.querySelector(`.window #${CSS.escape(`call-${draft.dataset.call}`)}`)) draft.remove();
    }
    if (tail.querySelector("[data-place], [data-call]")) settle();
  }, 700);
}

const ICONS = { USER: "user", ASSISTANT: "agent", TOOL: "tool", SYSTEM: "gear" };

function draft(turn, role) {
  const known = tail.querySelector(`[data-draft="${turn}"]`);
  if (known) return known;
  const name = role[0] + role.slice(1).toLowerCase();
  const made = el(
    "article",
    { class: `turn draft ${role.toLowerCase()}`, "data-draft": turn },
    el("header", {}, icon(ICONS[role] ?? "gear"), el("strong", {}, name), el("span", { class: "permalink num" }, `#${turn}`)),
    el("details", { class: "thinking", hidden: "" }, el("summary", {}, "Thinking"), el("pre", { class: "plain" })),
    el("div", { class: "body", dir: "auto" }, el("pre", { class: "plain" })),
  );
  tail.append(made);
  return made;
}

function onDelta(piece) {
  if (piece.turn_index <= last && document.getElementById(`turn-${piece.turn_index}`)) return;
  const box = draft(piece.turn_index, "ASSISTANT");
  const thinking = box.querySelector(".thinking");
  if (piece.kind === "THINKING") {
    thinking.hidden = false;
    thinking.open = true;
    thinking.querySelector("pre").append(piece.text);
  } else box.querySelector(".body pre").append(piece.text);
}

function onTurn(entry, payload) {
  const turn = payload.turn_index;
  if (document.querySelector(`.window [data-place="${CSS.escape(`${entry.log_id}:${entry.offset}`)}"]`)) return;
  last = Math.max(last, turn);
  const box = draft(turn, payload.role);
  box.dataset.place = `${entry.log_id}:${entry.offset}`;
  box.className = `turn draft ${payload.role.toLowerCase()}`;
  box.querySelector(".body pre").textContent = payload.content;
  if (payload.thinking) {
    box.querySelector(".thinking").hidden = false;
    box.querySelector(".thinking pre").textContent = payload.thinking;
  }
  box.querySelector("header").append(el("span", { class: "meta" }, timeOfDay(entry.occurred_at ?? entry.broker_time)));
  settle();
}

function onCall(payload, done) {
  const name = `call-${payload.tool_call_id}`;
  const known = document.getElementById(name) ?? tail.querySelector(`[data-call="${CSS.escape(payload.tool_call_id)}"]`);
  if (known) {
    const mark = known.querySelector(".mark");
    if (done && mark && mark.textContent !== payload.status) {
      mark.textContent = payload.status;
      mark.className = `mark ${payload.status === "SUCCESS" ? "good" : "bad"}`;
    }
  } else {
    tail.append(
      el(
        "p",
        { class: "calls", "data-call": payload.tool_call_id },
        el(
          "span",
          { class: "call" },
          icon("tool"),
          el("bdi", {}, payload.tool_name),
          el("span", { class: `mark ${done ? (payload.status === "SUCCESS" ? "good" : "bad") : "warn"}` }, done ? payload.status : "RUNNING"),
          ...(done && payload.latency_ms != null ? [el("span", { class: "num muted" }, duration(payload.latency_ms))] : []),
        ),
      ),
    );
  }
  settle();
}

function onEntry(entry) {
  const payload = entry.event?.payload;
  if (!payload || entry.flags?.length) return;
  if (payload.kind === "TurnRecorded") onTurn(entry, payload);
  else if (payload.kind === "ToolCallStarted") onCall(payload, false);
  else if (payload.kind === "ToolCallCompleted") onCall(payload, true);
}

function live() {
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
    if (badge) badge.hidden = true;
    soon();
    if (trace) settle();
    follow?.setAttribute("hidden", "");
    say("The session has ended");
  });
  addEventListener("pagehide", () => source.close());
}

if (isOpen()) {
  live();
  if (trace) {
    following = !location.hash && !new URLSearchParams(location.search).has("turn") && atEnd();
    new ResizeObserver(() => following && toEnd()).observe(trace);
    let [lastY, lastHeight] = [scrollY, trace.offsetHeight];
    addEventListener("scroll", () => {
      // A page that became shorter moves by itself: only who moves within the same page wants to read.
      if (scrollY < lastY - 2 && trace.offsetHeight === lastHeight) following = false;
      else if (atEnd()) following = true;
      [lastY, lastHeight] = [scrollY, trace.offsetHeight];
      follow.hidden = following || !isOpen();
    }, { passive: true });
    follow.addEventListener("click", () => {
      following = true;
      toEnd();
      follow.hidden = true;
    });
    follow.hidden = following;
  }
}
