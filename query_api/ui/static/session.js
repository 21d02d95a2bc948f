// The page of one session: errors one after the other, the dialog that ends it, and what happens while it runs.

import { say } from "./html.js";
import { live } from "./live.js";

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

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-terminate]");
  if (!form) return;
  // Its buttons only: a form that is disabled whole would send nothing.
  for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
});

live();
