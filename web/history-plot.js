// One plot of the history, in SVG: lines that end at gaps, bands of lowest and highest, and the gaps themselves.

import { facts, mergedGaps, nearest, timeTicks } from "./curves.js";
import { el, setAttribute, setText, svg } from "./dom.js";
import { day, time, timeShort } from "./format.js";
import { inWords as gapInWords } from "./gaps.js";
import { unitOf } from "./units.js";

const EDGE = { left: 56, right: 10, top: 8, bottom: 22 };
const DAY = 86_400_000;
/** As many lines as can be told from each other. */
export const MOST_LINES = 6;

/**
 * Builds a plot. `draw` takes `{plot, curves, left, alone, gaps, start, end, loading}`: curves of
 * `{name, points, runs, usual, hue}`, how many are left out, and whether it is the only plot; `point` a time or null. `onPoint` is called with the time pointed at.
 */
export function createHistoryPlot(height, onPoint) {
  const title = el("span", { class: "plot-title" });
  const axis = el("span", { class: "plot-unit" });
  const legends = el("span", { class: "legends" });
  const more = el("span", { class: "plot-more" });
  const grid = svg("g", { class: "grid" });
  const gaps = svg("g", { class: "gaps" });
  const bands = svg("g", { class: "bands" });
  const lines = svg("g", { class: "lines" });
  const pointer = svg("path", { class: "pointer" });
  const chart = svg("svg", { class: "chart", role: "img", tabindex: 0, height }, grid, gaps, bands, lines, pointer);
  const empty = el("p", { class: "plot-empty" });
  const area = el("div", { class: "plot-area" }, chart, empty);
  area.style.height = chart.style.height = `${height}px`;
  const figure = el("figure", { class: "plot", "data-testid": "history-plot" }, el("figcaption", {}, el("span", { class: "plot-name" }, title, axis), legends, more), area);
  let shown = null;
  let values = [];
  let at = null;

  const draw = (next) => {
    shown = next;
    const { plot, curves, start, end } = next;
    const unit = unitOf(plot);
    setText(title, plot.title);
    setText(axis, unit.axis === "" ? "" : ` ${unit.axis}`);
    setAttribute(figure, "data-plot", plot.id);
    setAttribute(figure, "data-state", next.loading ? "loading" : "drawn");
    setAttribute(title, "title", plot.help);
    const known = curves.map((curve) => ({ curve, facts: facts(curve) }));
    const drawn = known.filter((one) => one.facts !== null);
    const message = drawn.length > 0 ? null : next.loading ? "Loading" : "Nothing was measured in this time";
    empty.hidden = message === null;
    setText(empty, message ?? "");
    setAttribute(chart, "aria-label", inWords(plot, unit, known, message));
    values = legendsOf(legends, curves);
    setText(more, next.left > 0 ? `and ${next.left} more${next.alone ? ", in the table below" : `: choose “${plot.title}” to see them`}` : "");
    more.hidden = next.left === 0;

    const width = chart.clientWidth;
    if (width === 0) return;
    setAttribute(chart, "viewBox", `0 0 ${width} ${height}`);
    const inner = { left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: height - EDGE.bottom };
    const x = (when) => inner.left + ((when - start) / (end - start)) * (inner.right - inner.left);
    const highest = Math.max(0, ...drawn.map((one) => one.facts.high));
    const lowest = Math.min(0, ...drawn.map((one) => one.facts.low));
    const top = unit.top(highest);
    const bottom = lowest < 0 ? -unit.top(-lowest) : 0;
    const y = (value) => inner.bottom - ((value - bottom) / (top - bottom)) * (inner.bottom - inner.top);
    drawGrid(grid, { start, end, inner, x, y, top, bottom, unit, bare: message !== null });
    drawGaps(gaps, next.gaps, { start, end, inner, x });
    const traces = curves.flatMap((curve) => curve.runs.map((run) => ({ hue: curve.hue, ...trace(run, x, y) })));
    bands.replaceChildren(...traces.filter(({ band }) => band !== "").map(({ band, hue }) => svg("path", { class: `band series-${hue}`, d: band })));
    lines.replaceChildren(
      ...traces.map(({ line, alone, hue, from, to, count }) =>
        svg("path", { class: alone ? `dot series-${hue}` : `line series-${hue}`, d: line, "data-testid": "history-line", "data-from": from, "data-to": to, "data-points": count })),
    );
    point(at);
  };

  const point = (when) => {
    at = when;
    if (shown === null) return;
    const { plot, curves, start, end } = shown;
    const unit = unitOf(plot);
    curves.forEach((curve, i) => setText(values[i], unit.write(valueAt(curve, when))));
    const within = when !== null && when >= start && when <= end;
    const width = chart.clientWidth;
    const place = EDGE.left + ((when - start) / (end - start)) * (width - EDGE.left - EDGE.right);
    setAttribute(pointer, "d", within && width > 0 ? `M${place.toFixed(1)} ${EDGE.top}V${height - EDGE.bottom}` : "");
  };

  const timeAt = (clientX) => {
    const box = chart.getBoundingClientRect();
    const share = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    return shown.start + Math.min(Math.max(share, 0), 1) * (shown.end - shown.start);
  };
  chart.addEventListener("pointermove", (event) => onPoint(timeAt(event.clientX)));
  chart.addEventListener("pointerleave", () => onPoint(null));
  chart.addEventListener("blur", () => onPoint(null));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, Escape: 0 }[event.key];
    if (step === undefined || shown === null) return;
    event.preventDefault();
    onPoint(step === 0 ? null : stepped(shown.curves, at ?? shown.end, step));
  });
  return { figure, draw, point, redraw: () => shown !== null && draw(shown) };
}

/** The time of the next point in a direction, of all curves. */
function stepped(curves, at, step) {
  const times = curves.flatMap(({ points }) => points.map((point) => point.at));
  if (times.length === 0) return null;
  const first = times.reduce((least, one) => Math.min(least, one));
  const last = times.reduce((most, one) => Math.max(most, one));
  if (step === -Infinity) return first;
  if (step === Infinity) return last;
  return step < 0
    ? times.reduce((best, one) => (one < at && one > best ? one : best), first)
    : times.reduce((best, one) => (one > at && one < best ? one : best), last);
}

/** What a curve is at a time, the newest for null; null where nothing was measured near it. */
function valueAt(curve, at) {
  if (at === null) return facts(curve)?.last.value ?? null;
  const point = nearest(curve.points, at);
  return point === null || Math.abs(point.at - at) > curve.usual ? null : point.value;
}

function legendsOf(root, curves) {
  const named = curves.length > 1 || curves.some(({ name }) => name !== "");
  const made = curves.map(({ name, hue }) => {
    const value = el("span", { class: "legend-value", "data-testid": "history-value" }, "–");
    const swatch = curves.length > 1 ? el("span", { class: `swatch series-${hue}`, "aria-hidden": "true" }) : null;
    const label = named && name !== "" ? el("span", { class: "legend-name", title: name }, name) : null;
    return { value, legend: el("span", { class: "legend" }, swatch, label, value) };
  });
  root.replaceChildren(...made.map(({ legend }) => legend));
  return made.map(({ value }) => value);
}

/** A run as a path; a point without neighbours is a dot, and for a rollup the height of its band. */
function trace(run, x, y) {
  const place = ({ at }) => x(at).toFixed(1);
  const height = (value) => y(value).toFixed(1);
  const facts = { from: run[0].at, to: run.at(-1).at, count: run.length };
  const banded = run[0].low !== undefined;
  if (run.length === 1) {
    const [point] = run;
    const span = banded ? `M${(x(point.at) - 1).toFixed(1)} ${height(point.high)}h2V${height(point.low)}h-2z` : "";
    return { line: `M${place(point)} ${height(point.value)}h0`, band: span, alone: true, ...facts };
  }
  const line = run.map((point, i) => `${i === 0 ? "M" : "L"}${place(point)} ${height(point.value)}`).join("");
  const above = run.map((point, i) => `${i === 0 ? "M" : "L"}${place(point)} ${height(point.high)}`);
  const below = run.toReversed().map((point) => `L${place(point)} ${height(point.low)}`);
  return { line, band: banded ? `${above.join("")}${below.join("")}z` : "", alone: false, ...facts };
}

function drawGaps(root, gaps, { start, end, inner, x }) {
  const rects = mergedGaps(gaps, start, end).map((gap) => {
    const { start: from, end: to, reason } = gap;
    // What is too short to be seen is drawn as wide as a hair.
    const width = Math.max(x(to) - x(from), 1.5);
    return svg(
      "rect",
      { class: "gap", x: x(from).toFixed(1), y: inner.top, width: width.toFixed(1), height: inner.bottom - inner.top, "data-testid": "history-gap", "data-reason": reason, "data-from": from, "data-to": to },
      svg("title", {}, gapInWords(gap, end - start)),
    );
  });
  root.replaceChildren(...rects);
}

function drawGrid(root, { start, end, inner, x, y, top, bottom, unit, bare }) {
  const levels = bare ? [0] : bottom < 0 ? [bottom, 0, top] : [0, top / 2, top];
  const nodes = levels.flatMap((value) => [
    svg("path", { class: value === 0 ? "base" : "rule", d: `M${inner.left} ${Math.round(y(value)) + 0.5}H${inner.right}` }),
    svg("text", { x: inner.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, bare ? "" : unit.tick(value)),
  ]);
  const { step, times } = timeTicks(start, end, Math.max(2, Math.floor((inner.right - inner.left) / 78)));
  for (const at of times) {
    const place = x(at);
    if (place < inner.left + 16 || place > inner.right - 18) continue;
    nodes.push(
      svg("path", { class: "tick", d: `M${place.toFixed(1)} ${inner.bottom}v4` }),
      svg("text", { x: place.toFixed(1), y: inner.bottom + 16, "text-anchor": "middle" }, tickText(at, step, end - start)),
    );
  }
  root.replaceChildren(...nodes);
}

function tickText(at, step, span) {
  if (step >= DAY || (span > DAY / 2 && new Date(at).getHours() === 0 && new Date(at).getMinutes() === 0)) return day(at);
  return step < 60_000 ? time(at) : timeShort(at);
}

function inWords({ title, help }, unit, known, message) {
  if (message !== null) return `${title}. ${help} ${message}.`;
  const parts = known.map(({ curve, facts: found }) => {
    const name = curve.name === "" ? "" : `${curve.name}: `;
    return found === null ? `${name}nothing was measured` : `${name}newest ${unit.write(found.last.value)}, lowest ${unit.write(found.low)}, highest ${unit.write(found.high)}`;
  });
  return `${title}. ${help} ${parts.join(". ")}.`;
}
