// The one place where text becomes HTML: parts of pages that this server rendered and escaped.

const policy = globalThis.trustedTypes?.createPolicy("fragments", { createHTML: (text) => text });

/** Fetch a part of a page; signed out meanwhile, go and sign in, then come back here. */
export async function fetchPart(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { "X-Fragment": "1", ...options.headers } });
  if (response.status === 401) {
    location.assign(signInPath());
    return new Promise(() => {});
  }
  if (!response.ok) throw new Error(`${response.status} ${path}`);
  return parse(await response.text());
}

/** Where one signs in and then comes back here. */
export function signInPath() {
  return `/signin?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`;
}

/** Return the nodes in HTML that came from `fetchPart`'s own server. */
export function parse(text) {
  const template = document.createElement("template");
  template.innerHTML = policy ? policy.createHTML(text) : text;
  return template.content;
}

/** Make an element: attributes by name, then children; text is never parsed. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Say something to everybody, screen readers included; it fades by itself. */
export function say(text) {
  const box = document.getElementById("say");
  box.textContent = text;
  box.classList.add("on");
  clearTimeout(box.timer);
  box.timer = setTimeout(() => box.classList.remove("on"), 2500);
}
