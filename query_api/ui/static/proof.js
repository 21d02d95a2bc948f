// Recompute a session's leaves and roots from its bundle, here, with WebCrypto. Formats: docs/ledger.md.

import { el, icon } from "./html.js";

const box = document.getElementById("proof");
const steps = document.getElementById("steps");
const utf8 = new TextEncoder();

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const decode64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const equal = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

function join(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function integer(value, bytes) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value));
  return new Uint8Array(view.buffer, 8 - bytes, bytes);
}

/** The RFC 6962 leaf hash of an entry of `logId`. */
export async function leafHash(logId, entry) {
  const name = utf8.encode(logId);
  const key = entry.key === null ? null : decode64(entry.key);
  const value = entry.value === null ? null : decode64(entry.value);
  return sha256(
    join(
      Uint8Array.of(0),
      utf8.encode("PSL1"),
      integer(name.length, 4),
      name,
      integer(entry.leaf_index, 8),
      integer(entry.offset, 8),
      integer(entry.broker_time_us, 8),
      ...(key === null ? [Uint8Array.of(0)] : [Uint8Array.of(1), integer(key.length, 4), key]),
      ...(value === null ? [Uint8Array.of(0)] : [Uint8Array.of(1), await sha256(value)]),
    ),
  );
}

/** The root of a tree of `log.size` leaves from its entries and one multiproof. Throws when they do not fit. */
export async function rootOf(log) {
  const hashes = await Promise.all(log.entries.map((entry) => leafHash(log.log_id, entry)));
  const indexes = log.entries.map((entry) => entry.leaf_index);
  if (indexes.some((index, at) => index >= log.size || (at && index <= indexes[at - 1]))) throw new Error("entries are out of order");
  const proof = log.proof.map(decode64);
  let used = 0;
  // Entries [from, to) are those in the leaves [begin, begin + count).
  const root = async (begin, count, from, to) => {
    if (from === to) {
      if (used === proof.length) throw new Error("the proof is too short");
      return proof[used++];
    }
    if (count === 1) return hashes[from];
    let half = 1;
    while (half * 2 < count) half *= 2;
    let middle = from;
    while (middle < to && indexes[middle] < begin + half) middle += 1;
    const left = await root(begin, half, from, middle);
    return sha256(join(Uint8Array.of(1), left, await root(begin + half, count - half, middle, to)));
  };
  const found = await root(0, log.size, 0, hashes.length);
  if (used !== proof.length) throw new Error("the proof is too long");
  return found;
}

/** Reads Avro's longs, strings and bytes of fixed length, one after the other. */
class Reader {
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;
  }

  long() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new Error("a record ends too early");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number((value >> 1n) ^ -(value & 1n));
    }
  }

  take(count) {
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  text() {
    return new TextDecoder().decode(this.take(this.long()));
  }
}

/** The heads by log that an entry of the control log states, null when it is no epoch (ledger_control.avsc). */
export function headsOf(value) {
  const reader = new Reader(value, 5);
  reader.text();
  reader.long();
  reader.text();
  if (reader.long() !== 0) return null;
  const heads = new Map();
  for (let count = reader.long(); count; count = reader.long()) {
    if (count < 0) {
      count = -count;
      reader.long();
    }
    for (; count; count -= 1) {
      const logId = reader.text();
      reader.text();
      const size = reader.long();
      reader.long();
      heads.set(logId, { size, root: reader.take(32) });
    }
  }
  return heads;
}

/** Tell whether a signed note carries the signature of a verifier key, `name+id+base64(1 ‖ key)`. */
export async function isSignedBy(note, verifier) {
  const [name, id, encoded] = verifier.split(/\+(.*?)\+(.*)/s);
  const key = decode64(encoded);
  if (key.length !== 33 || key[0] !== 1) throw new Error("this is no Ed25519 verifier key");
  if (hex((await sha256(join(utf8.encode(`${name}\n`), key))).subarray(0, 4)) !== id) throw new Error("the key does not fit its id");
  const split = note.lastIndexOf("\n\n");
  const text = utf8.encode(note.slice(0, split + 1));
  const imported = await crypto.subtle.importKey("raw", key.subarray(1), { name: "Ed25519" }, false, ["verify"]);
  for (const line of note.slice(split + 2).split("\n")) {
    if (!line.startsWith(`— ${name} `)) continue;
    const signature = decode64(line.slice(`— ${name} `.length));
    if (hex(signature.subarray(0, 4)) !== id) continue;
    if (await crypto.subtle.verify("Ed25519", imported, signature.subarray(4), text)) return true;
  }
  return false;
}

function step(tone, text, detail = "") {
  const mark = { ok: "check", no: "close", ask: "warn" }[tone];
  steps.append(el("li", { class: tone }, icon(mark), el("div", {}, el("strong", {}, text), detail ? el("div", { class: "muted small" }, detail) : "")));
  if (tone === "no") throw new Error(text);
}

async function verify() {
  steps.replaceChildren();
  const response = await fetch(`/v1/sessions/${box.dataset.session}/seal`);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    step("no", "There is no bundle yet", problem.detail ?? `${response.status}`);
  }
  const bundle = await response.json();
  const entries = bundle.logs.flatMap((log) => log.entries);
  step("ok", `The bundle has ${entries.length} records`, "their exact bytes, as they stood in Kafka");

  const own = utf8.encode(box.dataset.session);
  const foreign = entries.filter((entry) => entry.key === null || !equal(decode64(entry.key), own));
  step(foreign.length ? "no" : "ok", foreign.length ? "A record is of another session" : "Every record is of this session");

  const [origin, size, root] = bundle.checkpoint.split("\n");
  const controlRoot = await rootOf(bundle.control);
  if (bundle.control.log_id !== `${origin.split("/").at(-1)}:0`) step("no", "The control log is another ledger’s");
  const isRoot = bundle.control.size === Number(size) && equal(controlRoot, decode64(root));
  step(isRoot ? "ok" : "no", isRoot ? "The control log’s root is the checkpoint’s" : "The control log’s root is not the checkpoint’s", `${origin}, ${size} entries, root ${hex(controlRoot)}`);

  const epochs = bundle.control.entries.map((entry) => headsOf(decode64(entry.value))).filter(Boolean);
  const heads = epochs.at(-1);
  if (!heads) step("no", "The bundle has no epoch");
  for (const log of bundle.logs) {
    const head = heads.get(log.log_id);
    const found = await rootOf(log);
    const isHead = head !== undefined && head.size === log.size && equal(found, head.root);
    step(isHead ? "ok" : "no", isHead ? `${log.entries.length} leaves give the root that the epoch states` : "The leaves give another root than the epoch states", `log ${log.log_id}, ${log.size} leaves, root ${hex(found)}`);
  }

  const verifier = document.getElementById("verifier").value.trim();
  if (!verifier) step("ask", "The signature was not judged", "give the verifier key above");
  else {
    const signed = await isSignedBy(bundle.checkpoint, verifier);
    step(signed ? "ok" : "no", signed ? "The checkpoint is signed by this key" : "The checkpoint is not signed by this key");
  }
  step("ok", verifier ? "Sound" : "Sound, as far as this checkpoint is", "no record was changed, moved or swapped since it was signed");
}

document.getElementById("recompute")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    await verify();
  } catch (error) {
    if (!steps.querySelector(".no")) steps.append(el("li", { class: "no" }, icon("close"), el("div", {}, el("strong", {}, "The bundle cannot be read"), el("div", { class: "muted small" }, error.message))));
  } finally {
    button.disabled = false;
  }
});
