// What streams of a session: shown as plain text at once, replaced by the rendered turn once the ledger has it.

import { duration, timeOfDay } from "./format.js";
import { el, icon } from "./html.js";
import { fetchWindow, size, trace, windowOf } from "./trace.js";

const tail = document.getElementById("tail");
const ICONS = { USER: "user", ASSISTANT: "agent", TOOL: "tool", SYSTEM: "gear" };
const SETTLE_MS = 700;
const SETTLE_MS_MAX = 30_000;
/** What the ledger lacks after these is asked for again only once something else has happened. */
const TRIES_MAX = 10;

let last = Number(trace?.dataset.last ?? 0);
/** First turns of the windows that lack something. */
const stale = new Set();
/** Places of completions → place of the start, the first turn of its window, and how it ended; until the ledger shows it. */
const ended = new Map();
let tries = 0;
let over = false;
let settling = 0;
let renewing = false;

/** Take an entry of the session's stream. */
export function onEntry(entry) {
  const payload = entry.event?.payload;
  if (!payload || entry.flags?.length) return;
  if (payload.kind === "TurnRecorded") onTurn(entry, payload);
  else if (payload.kind === "ToolCallStarted") onCallStarted(place(entry), payload);
  else if (payload.kind === "ToolCallCompleted") onCallCompleted(place(entry), payload);
}

/** Take a piece of a turn that is being written. */
export function onDelta(piece) {
  if (piece.turn_index <= last && document.getElementById(`turn-${piece.turn_index}`)) return;
  const box = draft(piece.turn_index, "ASSISTANT");
  // A stream that goes on after a break begins with the recent pieces, which may stand here already.
  if (box.dataset.place || piece.delta_index <= Number(box.dataset.delta ?? -1)) return;
  box.dataset.delta = piece.delta_index;
  const thinking = box.querySelector(".thinking");
  if (piece.kind === "THINKING") {
    thinking.hidden = false;
    thinking.open = true;
    thinking.querySelector("pre").append(piece.text);
  } else box.querySelector(".body pre").append(piece.text);
}

/** Take the session's end: have what is open rendered anew, with what the ledger has by then. */
export function settle() {
  over = true;
  findOpen();
  soon(windowFirst(last));
}

/** Have a window rendered anew soon. */
function soon(first) {
  stale.add(first);
  tries = 0;
  again();
}

function again() {
  clearTimeout(settling);
  if (tries < TRIES_MAX) settling = setTimeout(renew, Math.min(SETTLE_MS_MAX, SETTLE_MS * 2 ** tries));
  tries += 1;
}

/** Of a session that is over no call runs: windows that say so are older than its end. */
function findOpen() {
  for (const call of running(".window [data-call]")) stale.add(Number(call.closest(".window").dataset.first));
}

async function renew() {
  if (renewing) return again(); // Of two at once the older answer might come last.
  renewing = true;
  const asked = [...stale];
  stale.clear();
  await Promise.all(asked.map((first) => renewWindow(first).catch(() => stale.add(first))));
  renewing = false;
  for (const one of tail.querySelectorAll("[data-place], [data-end]")) {
    if (find(one.dataset, ".window")) one.remove();
    else stale.add(Number(one.dataset.window));
  }
  for (const [end, { start, first, status }] of ended) {
    if (find({ end }, ".window")) {
      ended.delete(end);
      continue;
    }
    stale.add(first);
    const shown = find({ place: start }, "");
    if (shown && runs(shown)) setMark(shown, status);
  }
  if (over) findOpen();
  if (stale.size) again();
}

async function renewWindow(first) {
  const part = await fetchWindow(first);
  let section = windowOf(first);
  if (!section) {
    section = el("section", { class: "window", "data-first": first });
    const later = [...trace.querySelectorAll(".window")].find((other) => Number(other.dataset.first) > first);
    (later ?? tail).before(section);
  }
  section.setAttribute("data-loaded", "");
  section.replaceChildren(part);
}

function find({ place, end }, within) {
  const known = place ? `data-place="${CSS.escape(place)}"` : `data-end="${CSS.escape(end)}"`;
  return trace.querySelector(`${within} [${known}]`);
}

/** Where an entry stands in the ledger. */
function place(entry) {
  return `${entry.log_id}:${entry.offset}`;
}

/** The first turn of the window that has ``turn``. */
function windowFirst(turn) {
  return Math.floor(turn / size) * size;
}

function draft(turn, role) {
  const known = tail.querySelector(`[data-draft="${turn}"]`);
  if (known) return known;
  const name = role[0] + role.slice(1).toLowerCase();
  const made = el(
    "article",
    { class: `turn draft ${role.toLowerCase()}`, "data-draft": turn, "data-window": windowFirst(turn) },
    el("header", {}, icon(ICONS[role] ?? "gear"), el("strong", {}, name), el("span", { class: "permalink num" }, `#${turn}`)),
    el("details", { class: "thinking", hidden: "" }, el("summary", {}, "Thinking"), el("pre", { class: "plain" })),
    el("div", { class: "body", dir: "auto" }, el("pre", { class: "plain" })),
  );
  tail.append(made);
  return made;
}

function onTurn(entry, payload) {
  if (find({ place: place(entry) }, ".window")) return;
  last = Math.max(last, payload.turn_index);
  const box = draft(payload.turn_index, payload.role);
  box.dataset.place = place(entry);
  box.className = `turn draft ${payload.role.toLowerCase()}`;
  box.querySelector(".body pre").textContent = payload.content;
  if (payload.thinking) {
    box.querySelector(".thinking").hidden = false;
    box.querySelector(".thinking pre").textContent = payload.thinking;
  }
  box.querySelector("header").append(el("span", { class: "meta" }, timeOfDay(entry.occurred_at ?? entry.broker_time)));
  soon(windowFirst(payload.turn_index));
}

function onCallStarted(start, payload) {
  if (find({ place: start }, "")) return;
  const first = windowFirst(payload.turn_index ?? last);
  tail.append(callBox(payload, { "data-place": start, "data-window": first }, mark("RUNNING")));
  soon(first);
}

function onCallCompleted(end, payload) {
  if (ended.has(end) || find({ end }, "")) return;
  const status = payload.status;
  // The n-th completion of an id belongs to its n-th start: to the first that still runs.
  const known = running(`[data-call="${CSS.escape(payload.tool_call_id)}"]`)[0];
  const first = Number(known?.closest(".window")?.dataset.first ?? known?.dataset.window ?? windowFirst(last));
  if (known) {
    ended.set(end, { start: known.dataset.place, first, status });
    setMark(known, status);
  } else {
    const took = payload.latency_ms == null ? [] : [el("span", { class: "num muted" }, duration(payload.latency_ms))];
    tail.append(callBox(payload, { "data-end": end, "data-window": first }, mark(status), ...took));
  }
  soon(first);
}

function running(calls) {
  return [...trace.querySelectorAll(calls)].filter(runs);
}

function runs(call) {
  return call.querySelector(".mark").textContent === "RUNNING";
}

function setMark(call, status) {
  call.querySelector(".mark").replaceWith(mark(status));
}

function callBox(payload, places, ...shown) {
  return el(
    "p",
    { class: "calls", "data-call": payload.tool_call_id, ...places },
    el("span", { class: "call" }, icon("tool"), el("bdi", {}, payload.tool_name), ...shown),
  );
}

function mark(status) {
  const tone = { SUCCESS: "good", RUNNING: "warn" }[status] ?? "bad";
  return el("span", { class: `mark ${tone}` }, status);
}
