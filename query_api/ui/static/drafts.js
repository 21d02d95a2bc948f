// What streams of a session: shown as plain text at once, replaced by the rendered turn once the ledger has it.

import { duration, timeOfDay } from "./format.js";
import { el, icon } from "./html.js";
import { fetchWindow, size, trace, windowOf } from "./trace.js";

const tail = document.getElementById("tail");
const ICONS = { USER: "user", ASSISTANT: "agent", TOOL: "tool", SYSTEM: "gear" };
const SETTLE_MS = 700;
const SETTLE_MS_MAX = 30_000;

let last = Number(trace?.dataset.last ?? 0);
/** First turns of the windows that lack something. */
const stale = new Set();
/** Calls that have ended → the first turn of their window, and how they ended; until the ledger shows it. */
const ended = new Map();
let wait = SETTLE_MS;
let settling = 0;
let renewing = false;

/** Take an entry of the session's stream. */
export function onEntry(entry) {
  const payload = entry.event?.payload;
  if (!payload || entry.flags?.length) return;
  if (payload.kind === "TurnRecorded") onTurn(entry, payload);
  else if (payload.kind === "ToolCallStarted") onCall(payload, false);
  else if (payload.kind === "ToolCallCompleted") onCall(payload, true);
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

/** Have the window of ``turn`` rendered anew soon, with what the ledger has by then. */
export function settle(turn = last) {
  stale.add(Math.floor(turn / size) * size);
  wait = SETTLE_MS;
  again();
}

function again() {
  clearTimeout(settling);
  settling = setTimeout(renew, wait);
  wait = Math.min(SETTLE_MS_MAX, 2 * wait);
}

async function renew() {
  if (renewing) return again(); // Of two at once the older answer might come last.
  renewing = true;
  const asked = [...stale];
  stale.clear();
  await Promise.all(asked.map((first) => renewWindow(first).catch(() => stale.add(first))));
  renewing = false;
  for (const one of tail.querySelectorAll("[data-place], [data-call]")) {
    if (isIn(one.dataset)) one.remove();
    else stale.add(Number(one.dataset.window));
  }
  for (const [call, { first, status }] of ended) {
    const shown = isIn({ call })?.querySelector(".mark");
    if (shown && shown.textContent !== "RUNNING") ended.delete(call);
    else stale.add(first);
    if (shown?.textContent === "RUNNING") shown.replaceWith(mark(status));
  }
  if (stale.size) again();
}

async function renewWindow(first) {
  const part = await fetchWindow(first);
  let section = windowOf(first);
  if (!section) {
    section = el("section", { class: "window", "data-first": first });
    tail.before(section);
  }
  section.setAttribute("data-loaded", "");
  section.replaceChildren(part);
}

function isIn({ place, call }) {
  return trace.querySelector(
    place ? `.window [data-place="${CSS.escape(place)}"]` : `.window #${CSS.escape(`call-${call}`)}`,
  );
}

function draft(turn, role) {
  const known = tail.querySelector(`[data-draft="${turn}"]`);
  if (known) return known;
  const name = role[0] + role.slice(1).toLowerCase();
  const made = el(
    "article",
    { class: `turn draft ${role.toLowerCase()}`, "data-draft": turn, "data-window": Math.floor(turn / size) * size },
    el("header", {}, icon(ICONS[role] ?? "gear"), el("strong", {}, name), el("span", { class: "permalink num" }, `#${turn}`)),
    el("details", { class: "thinking", hidden: "" }, el("summary", {}, "Thinking"), el("pre", { class: "plain" })),
    el("div", { class: "body", dir: "auto" }, el("pre", { class: "plain" })),
  );
  tail.append(made);
  return made;
}

function onTurn(entry, payload) {
  const place = `${entry.log_id}:${entry.offset}`;
  if (isIn({ place })) return;
  last = Math.max(last, payload.turn_index);
  const box = draft(payload.turn_index, payload.role);
  box.dataset.place = place;
  box.className = `turn draft ${payload.role.toLowerCase()}`;
  box.querySelector(".body pre").textContent = payload.content;
  if (payload.thinking) {
    box.querySelector(".thinking").hidden = false;
    box.querySelector(".thinking pre").textContent = payload.thinking;
  }
  box.querySelector("header").append(el("span", { class: "meta" }, timeOfDay(entry.occurred_at ?? entry.broker_time)));
  settle(payload.turn_index);
}

function onCall(payload, done) {
  const call = payload.tool_call_id;
  const known = isIn({ call }) ?? tail.querySelector(`[data-call="${CSS.escape(call)}"]`);
  const turn = payload.turn_index ?? last;
  if (!known) tail.append(callBox(payload, done, Math.floor(turn / size) * size));
  else if (done) known.querySelector(".mark").replaceWith(mark(payload.status));
  const first = Number(known?.closest(".window")?.dataset.first ?? Math.floor(turn / size) * size);
  if (done) ended.set(call, { first, status: payload.status });
  settle(first);
}

function callBox(payload, done, first) {
  const took = done && payload.latency_ms != null ? [el("span", { class: "num muted" }, duration(payload.latency_ms))] : [];
  return el(
    "p",
    { class: "calls", "data-call": payload.tool_call_id, "data-window": first },
    el("span", { class: "call" }, icon("tool"), el("bdi", {}, payload.tool_name), mark(done ? payload.status : "RUNNING"), ...took),
  );
}

function mark(status) {
  const tone = { SUCCESS: "good", RUNNING: "warn" }[status] ?? "bad";
  return el("span", { class: `mark ${tone}` }, status);
}
