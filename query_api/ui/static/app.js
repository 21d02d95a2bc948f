// What every page does: the viewer's zone and theme, copying, dialogs, ticking times, keys.

import { ago, duration } from "./format.js";
import { fetchPart, say } from "./html.js";

const root = document.documentElement;
root.classList.add("scripted");

function cookie(name) {
  return document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1);
}

function keep(name, value, days = 400) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${value}; Path=/; Max-Age=${days * 86400}; SameSite=Lax${secure}`;
}

// Pages are rendered in the viewer's zone, which only the browser knows: the first one is loaded anew.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && cookie("zone") !== zone) {
  keep("zone", zone);
  if (cookie("zone") === zone && root.dataset.zone !== zone && document.querySelector("time")) location.reload();
}

// On a narrow screen the pages stand in a row that scrolls.
const current = document.querySelector(".side [aria-current]");
if (current) current.closest(".side").scrollLeft = current.offsetLeft - 60;

const THEMES = ["", "light", "dark"];
document.querySelector("[data-theme-toggle]")?.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  keep("theme", next, next ? 400 : 0);
  say(`Theme: ${next || "as the system"}`);
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(copy.dataset.copy);
    say("Copied");
    return;
  }
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  const unfold = event.target.closest(".unfold");
  if (unfold) {
    const open = unfold.previousElementSibling.classList.toggle("open");
    unfold.setAttribute("aria-expanded", open);
    unfold.firstChild.textContent = open ? "Show less " : "Show all ";
  }
  for (const drop of document.querySelectorAll("details.drop[open]")) if (!drop.contains(event.target)) drop.open = false;
});

function tick() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
  for (const span of document.querySelectorAll("[data-since]")) {
    span.textContent = duration(Math.max(0, Date.now() - Date.parse(span.dataset.since)));
  }
}
setInterval(tick, 1000);

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const drop of document.querySelectorAll("details.drop[open]")) drop.open = false;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
});

// What stands open beside the page is folded where there is no room beside it.
const narrow = matchMedia("(max-width: 1100px)");
function fold() {
  for (const part of document.querySelectorAll("details[data-folds]")) part.open = !narrow.matches;
}
narrow.addEventListener("change", fold);

// What a page need not wait for.
for (const part of document.querySelectorAll("[data-part]")) {
  fetchPart(part.dataset.part).then((nodes) => part.replaceChildren(nodes)).then(fold).catch(() => part.remove());
}

// A part that is under way asks for itself again until it is done.
async function refresh(part) {
  const page = await fetchPart(location.href).catch(() => null);
  const fresh = page?.querySelector(`#${part.id}`);
  if (fresh) part.replaceWith(fresh);
  const next = fresh ?? part;
  if (next.hasAttribute("data-refresh")) setTimeout(refresh, 2000, next);
}
for (const part of document.querySelectorAll("[data-refresh]")) setTimeout(refresh, 2000, part);
