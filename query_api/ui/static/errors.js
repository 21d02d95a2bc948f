// What went wrong in a session, one after the other: n and p, the toolbar's buttons, and its list as it grows.

import { fetchPart, say } from "./html.js";
import { id } from "./trace.js";

const ASK_MS = 700;
const ASK_MS_MAX = 30_000;
const box = document.getElementById("errors");
/** Places in the ledger of calls that failed while one looks, until the list has them. */
const missing = new Set();
let wait = ASK_MS;
let asking = 0;

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

/** Note what an entry of the stream says: the list is asked for once the ledger may have it, and for a while then. */
export function note(entry) {
  const { kind = "", status } = entry.event?.payload ?? {};
  if (!kind.endsWith("CallCompleted") || !["ERROR", "TIMEOUT"].includes(status) || entry.flags?.length) return;
  missing.add(`${entry.log_id}:${entry.offset}`);
  clearTimeout(asking);
  wait = ASK_MS;
  asking = setTimeout(renew, wait);
}

async function renew() {
  const fresh = (await fetchPart(`/sessions/${id}`).catch(() => null))?.getElementById("errors");
  if (fresh) show(fresh);
  for (const place of box.dataset.places.split(" ")) missing.delete(place);
  wait *= 2;
  if (missing.size && wait < ASK_MS_MAX) asking = setTimeout(renew, wait);
}

/** Add what is new: what is open or has the focus stays. */
function show(fresh) {
  const list = box.querySelector("ol");
  box.dataset.places = fresh.dataset.places;
  if (!list) return box.replaceChildren(...fresh.childNodes);
  box.querySelector("summary").replaceChildren(...fresh.querySelector("summary").childNodes);
  list.append(...[...fresh.querySelectorAll("li")].slice(list.children.length));
}
