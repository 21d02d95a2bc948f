// The list: rows change where they stand as sessions go on; new ones wait until they are asked for. Keys j, k, Enter.

import { duration, exactMoney, integer, money } from "./format.js";
import { el } from "./html.js";
import { listen } from "./stream.js";

const LOOK_AGAIN_MS = 5_000;
/** Rows of a page, and what an answer may have. */
const [ROWS, ITEMS_MAX] = [50, 1_000];
const OPEN = ["RUNNING", "PENDING_APPROVAL"];
const list = document.getElementById("list");
const table = document.getElementById("sessions");
const form = document.getElementById("search");

// Empty fields would only lengthen the address.
form?.addEventListener("submit", () => {
  for (const input of form.elements) if (input.name && input.name !== "q" && !input.value) input.disabled = true;
});
addEventListener("pageshow", () => {
  for (const input of form?.elements ?? []) input.disabled = false;
});

document.addEventListener("keydown", (event) => {
  if (!table || event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...table.querySelectorAll("tr[data-session]")];
  const at = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
  if (event.key === "j" || event.key === "k") {
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))];
    rows[at]?.removeAttribute("aria-selected");
    next.setAttribute("aria-selected", "true");
    next.querySelector("a").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
});

function set(cell, text) {
  if (cell && cell.textContent !== text) cell.textContent = text;
}

function update(row, session) {
  row.classList.remove("gone");
  row.removeAttribute("title");
  const badge = row.querySelector(".badge");
  const status = session.terminating ? "TERMINATING" : session.status;
  if (badge.textContent !== status.replace("_", " ")) {
    badge.className = `badge s-${status.toLowerCase().replace("_", "-")}`;
    badge.lastChild.textContent = status.replace("_", " ");
    row.classList.remove("changed");
    void row.offsetWidth; // so that the animation begins anew
    row.classList.add("changed");
  }
  row.querySelector(".duration").replaceChildren(elapsed(session));
  set(row.querySelector(".turns"), integer(session.turns));
  const tokens = row.querySelector(".tokens");
  set(tokens, integer(session.total_tokens));
  tokens.title = `${integer(session.total_input_tokens)} in, ${integer(session.total_output_tokens)} out`;
  row.querySelector(".cost").replaceChildren(...cost(session));
}

/** As `elapsed` of macros.html draws it. */
function elapsed({ duration_ms: ms, started_at: since, status }) {
  if (ms !== null) return el("span", {}, duration(ms));
  if (!since || !OPEN.includes(status)) return "–";
  return el("span", { "data-since": since }, duration(Math.max(0, Date.now() - Date.parse(since))));
}

/** As `cost` of macros.html draws it. */
function cost({ cost_usd: usd, unpriced_calls: unpriced, estimated }) {
  const unknown = `${unpriced} model calls have no price: their cost is unknown`;
  if (usd === null) return unpriced ? [el("span", { class: "mark warn", title: `${unknown}, not zero` }, "unpriced")] : ["–"];
  const sum = el("span", { title: exactMoney(usd) }, money(usd));
  if (estimated.length) sum.prepend(el("abbr", { title: `Some values are estimates: ${estimated.join(", ")}` }, "≈"));
  return unpriced ? [sum, el("abbr", { class: "mark warn", title: `${unknown} and not in this sum` }, "+?")] : [sum];
}

/** How the row was is all that is known: it does not tick on. */
function leave(row) {
  row.classList.add("gone");
  row.title = "This session no longer matches the search";
  row.querySelector("[data-since]")?.removeAttribute("data-since");
}

/** Say how many sessions the list would have beside its rows. */
function announce(fresh) {
  const note = document.getElementById("fresh"); // its place is kept: nothing moves when it appears
  note.textContent = `${fresh.size} new session${fresh.size === 1 ? "" : "s"}: show`;
  note.hidden = !fresh.size;
}

/** Whether a session that has no row would stand on this page, and not on a later one. */
function belongs(session, rows) {
  if (!list.dataset.first) return false;
  if (!document.querySelector("[rel=next]")) return true;
  return Date.parse(session.started_at) >= Date.parse(rows.at(-1)?.querySelector("time")?.dateTime);
}

function live() {
  const query = encodeURIComponent(list.dataset.query);
  const rows = [...list.querySelectorAll("tr[data-session]")];
  const fresh = new Set();
  /** Rows that the stream has said nothing of: as old as the page. */
  const unheard = new Map(rows.map((row) => [row.dataset.session, row]));
  let looking = 0;

  function state(session) {
    unheard.delete(session.session_id);
    const row = document.getElementById(`s-${session.session_id}`);
    if (row) update(row, session);
    else if (belongs(session, rows)) {
      fresh.add(session.session_id);
      announce(fresh);
    }
  }

  function gone({ session_id: id }) {
    unheard.delete(id);
    const row = document.getElementById(`s-${id}`);
    if (row) leave(row);
    if (fresh.delete(id)) announce(fresh);
  }

  /** What happened between the page and its stream: from here on the stream tells everything. */
  async function look() {
    clearTimeout(looking);
    if (!unheard.size) return;
    const asked = [...unheard.keys()];
    const answer = await fetch(`/v1/sessions?q=${query}&limit=${ITEMS_MAX}&id=${asked.join("&id=")}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const { items, next_cursor: more } = await answer.json();
    const found = new Map(items.map((session) => [session.session_id, session]));
    for (const id of asked) {
      if (!unheard.has(id)) continue; // The stream was quicker, and knows better.
      if (found.has(id)) state(found.get(id));
      else if (!more) gone({ session_id: id });
    }
  }

  function ready() {
    look().catch(() => (looking = setTimeout(ready, LOOK_AGAIN_MS)));
  }

  // With the newest sessions first, a stream misses nothing of what the table has not had when it began.
  listen(`/v1/stream?q=${query}&backfill=${list.dataset.first ? ROWS : 1}`, { ready, state, gone });
}

if (list?.hasAttribute("data-live-query")) live();
