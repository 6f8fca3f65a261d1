// How values are written for people.

const NONE = "–";
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const clockShort = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayAndMinute = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayShort = new Intl.DateTimeFormat("en-GB", { month: "short", day: "numeric" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "2-digit",
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short",
});

/** Local time of day of an RFC 3339 text or of milliseconds. */
export function time(at) {
  return written(clock, at);
}

export function timeShort(at) {
  return written(clockShort, at);
}

/** Local day, without the year. */
export function day(at) {
  return written(dayShort, at);
}

/** Local date and time with the zone, and the text as the node gave it. */
export function exactTime(at) {
  return `${written(dayAndClock, at)} (${at})`;
}

/** The time of day for today, and the date before it for any other day. */
export function when(at) {
  const date = new Date(at ?? NaN);
  return date.toDateString() === new Date().toDateString() ? time(at) : written(dayAndMinute, at);
}

function written(format, at) {
  const date = new Date(at ?? NaN);
  return Number.isNaN(date.getTime()) ? NONE : format.format(date);
}

/** The two ends of a long name in hex; what is short stays whole. */
export function short(text) {
  const whole = String(text);
  const start = whole.startsWith("0x") ? 10 : 8;
  return whole.length <= start + 10 ? whole : `${whole.slice(0, start)}…${whole.slice(-6)}`;
}

/** An integer with thousands separators; integers beyond 2^53 come as BigInt and stay exact. */
export function grouped(number) {
  return number === null || number === undefined ? NONE : number.toLocaleString("en-US");
}

export function percent(value) {
  return value === null ? NONE : `${digits(value)} %`;
}

export function rate(value) {
  return value === null ? NONE : `${scaled(value)}B/s`;
}

export function perSecond(value) {
  return value === null ? NONE : `${scaled(value)}/s`;
}

export function plain(value) {
  return value === null ? NONE : value.toFixed(2);
}

export function milliseconds(value) {
  if (value < 1000) return `${value} ms`;
  const seconds = value / 1000;
  if (seconds < 120) return `${+seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${+(seconds / 60).toFixed(1)} min` : `${+(seconds / 3600).toFixed(1)} h`;
}

function scaled(value) {
  const steps = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, prefix] of steps) {
    if (value >= size * 0.9995) return `${digits(value / size)} ${prefix}`;
  }
  return `${digits(value)} `;
}

function digits(value) {
  if (value >= 100 || value === 0) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/**
 * JSON text with line breaks and indents, every other character as it was: parsing and writing again would
 * round integers beyond 2^53, and what is shown must be what was signed.
 */
export function indented(json) {
  let out = "";
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i += 1) {
    const character = json[i];
    if (quoted) {
      out += character;
      if (character === "\\") out += json[(i += 1)] ?? "";
      else if (character === '"') quoted = false;
      continue;
    }
    if (/\s/.test(character)) continue;
    if (character === '"') quoted = true;
    const next = json[i + 1];
    if ((character === "{" && next === "}") || (character === "[" && next === "]")) {
      out += character + next;
      i += 1;
    } else if (character === "{" || character === "[") out += character + line((depth += 1));
    else if (character === "}" || character === "]") out += line((depth -= 1)) + character;
    else if (character === ",") out += character + line(depth);
    else if (character === ":") out += ": ";
    else out += character;
  }
  return out;
}

function line(depth) {
  return `\n${"  ".repeat(Math.max(depth, 0))}`;
}
