// The same words as ui/formats.py, for values that arrive while a page is open.

const DASH = "–";

export function integer(value) {
  return value === null ? DASH : Number(value).toLocaleString("en-US");
}

export function money(usd) {
  if (usd === null) return DASH;
  const value = Number(usd);
  if (value < 0) return `−${money(-value)}`;
  if (value === 0) return "$0.00";
  if (value < 0.0001) return "<$0.0001";
  const digits = value < 1 ? 4 : 2;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** Every digit, for hovers. */
export function exactMoney(usd) {
  return `$${usd.includes(".") ? usd.replace(/\.?0+$/, "") : usd}`;
}

export function duration(ms) {
  if (ms === null) return DASH;
  if (ms > 0 && ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function ago(time, now = Date.now()) {
  const seconds = Math.floor((now - Date.parse(time)) / 1000);
  if (seconds < 10) return "just now";
  for (const [unit, name] of [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]) {
    const count = Math.floor(seconds / unit);
    if (count) return `${count} ${name}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

const zone = document.documentElement.dataset.zone || "UTC";
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function timeOfDay(time) {
  return clock.format(new Date(time));
}
