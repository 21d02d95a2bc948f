// The page of one session: the dialog that ends it, and what happens while it runs.

import { live } from "./live.js";

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-terminate]");
  if (!form) return;
  // Its buttons only: a form that is disabled whole would send nothing.
  for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
});

live();
