// The list: rows change where they stand as sessions go on; new ones wait until they are asked for. Keys j, k, Enter.

import { duration, integer, money } from "./format.js";
import { el } from "./html.js";

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
  const badge = row.querySelector(".badge");
  const status = session.terminating ? "TERMINATING" : session.status;
  if (badge.textContent !== status.replace("_", " ")) {
    badge.className = `badge s-${status.toLowerCase().replace("_", "-")}`;
    badge.lastChild.textContent = status.replace("_", " ");
    row.classList.remove("changed");
    void row.offsetWidth; // so that the animation begins anew
    row.classList.add("changed");
  }
  const time = row.querySelector(".duration");
  if (session.duration_ms !== null) time.replaceChildren(el("span", {}, duration(session.duration_ms)));
  set(row.querySelector(".turns"), integer(session.turns));
  set(row.querySelector(".tokens"), integer(session.total_tokens));
  if (session.cost_usd !== null) {
    const span = row.querySelector(".cost > span:not(.mark)") ?? row.querySelector(".cost").appendChild(el("span"));
    if (span.lastChild?.nodeType === Node.TEXT_NODE) span.lastChild.textContent = money(session.cost_usd);
    else row.querySelector(".cost").replaceChildren(el("span", {}, money(session.cost_usd)));
  }
}

function announce(fresh) {
  const note = document.getElementById("fresh"); // its place is kept: nothing moves when it appears
  note.textContent = `${fresh.size} new session${fresh.size === 1 ? "" : "s"}: show`;
  note.hidden = false;
}

function live() {
  const query = table.dataset.query;
  const source = new EventSource(`/v1/stream?q=${encodeURIComponent(query)}`);
  const badge = document.querySelector("[data-live]");
  const fresh = new Set();
  const born = Date.now() - 60_000;
  source.addEventListener("ready", () => {
    badge.hidden = false;
    badge.classList.remove("away");
  });
  source.addEventListener("state", (event) => {
    const session = JSON.parse(event.data);
    const row = document.getElementById(`s-${session.session_id}`);
    if (row) update(row, session);
    else if (table.dataset.first && Date.parse(session.started_at) > born) {
      fresh.add(session.session_id);
      announce(fresh);
    }
  });
  source.addEventListener("gone", (event) => {
    document.getElementById(`s-${JSON.parse(event.data).session_id}`)?.classList.add("gone");
  });
  source.addEventListener("error", () => {
    badge.classList.add("away");
    if (source.readyState === EventSource.CLOSED) badge.hidden = true;
  });
  addEventListener("pagehide", () => source.close());
}

if (table?.hasAttribute("data-live-query")) live();
