// How measured values are written: by the unit that the family's name ends in.

import { when } from "./format.js";

const NONE = "–";
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const DURATIONS = [[1e-9, "ns"], [1e-6, "µs"], [1e-3, "ms"], [1, "s"], [60, "min"], [3600, "h"], [86400, "d"]];
/** Tops of an axis of time of which the half is a round number too, in seconds. */
const ROUND_TIMES = [1, 2, 4, 10, 20, 30, 60, 120, 240, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800];

/**
 * How a family is shown: `{axis, write(value), tick(value), top(highest)}`; `axis` names the unit, `top` is where the
 * axis ends. Counters are shown as rates, so that `value` is then per second.
 */
export function unitOf({ unit, kind, family }) {
  const isRate = kind === "counter";
  if (unit === "ratio") return shown("%", (value) => `${digits(value * 100)} %`, (value) => Math.max(nice(value * 100) / 100, 0.1));
  if (unit === "bytes_per_second") return shown("bytes per second", (value) => `${decimal(value)}B/s`, nice, 1000);
  if (family.endsWith("_timestamp_seconds")) return shown("time", (value) => when(value * 1000), (highest) => highest);
  if (unit === "bytes") return isRate ? shown("bytes per second", (value) => `${decimal(value)}B/s`, nice, 1000) : shown("bytes", binary, niceBinary, 1024);
  if (unit === "seconds" && isRate) {
    // Processor time a second is how many processors were busy.
    return family.includes("cpu") ? shown("cores", (value) => `${digits(value)} cores`, nice, 0.1) : shown("seconds per second", (value) => `${duration(value)}/s`, nice, 0.001);
  }
  if (unit === "seconds") return shown("time", duration, niceTime, 0.0001);
  if (isRate) return shown(`${unit === "" ? "events" : unit} per second`, (value) => `${decimal(value)}/s`, nice, 1);
  return shown(unit === "" ? "" : unit, (value) => decimal(value).trim(), nice, 1);
}

function shown(axis, write, top, least = 0) {
  const signed = (value) => (value < 0 ? `−${write(-value)}` : write(value));
  return {
    axis,
    write: (value) => (value === null || value === undefined ? NONE : signed(value)),
    /** Shorter, for the side of a plot. */
    tick: (value) => (value === 0 ? "0" : signed(value).replace(/\.0+(?=\D|$)/, "").replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/ cores|\/s$/, "")),
    top: (highest) => top(Math.max(highest, least, Number.MIN_VALUE)),
  };
}

export function binary(value) {
  const at = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), BINARY.length - 1);
  return `${at === 0 ? Math.round(value) : digits(value / 1024 ** at)} ${BINARY[at]}`;
}

export function duration(seconds) {
  if (seconds === 0) return "0 s";
  // A minute and a half reads better in seconds, a day and a half in hours.
  const fitting = DURATIONS.filter(([size]) => (size < 60 ? seconds >= size * 0.9995 : seconds >= size * 2));
  const [size, name] = fitting.at(-1) ?? DURATIONS[0];
  return `${digits(seconds / size)} ${name}`;
}

function decimal(value) {
  const step = DECIMAL.find(([size]) => value >= size * 0.9995);
  return step === undefined ? `${digits(value)} ` : `${digits(value / step[0])} ${step[1]}`;
}

/** Three digits that count; whole numbers stay whole. */
function digits(value) {
  if (Number.isInteger(value) && value < 1000) return String(value);
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value >= 0.0095 ? value.toFixed(2) : value.toPrecision(1);
}

/** The next of 1, 2, 4, 5, 6, 8, 10 … at or above a value, so that half of it is a round number too. */
export function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((one) => one * size).find((one) => one >= value * 0.9999) ?? value;
}

export function niceBinary(value) {
  const size = 1024 ** Math.max(0, Math.floor(Math.log2(value) / 10));
  return [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map((one) => one * size).find((one) => one >= value * 0.9999) ?? value;
}

function niceTime(seconds) {
  if (seconds <= 1) return nice(seconds);
  return ROUND_TIMES.find((one) => one >= seconds * 0.9999) ?? nice(seconds / 86400) * 86400;
}
