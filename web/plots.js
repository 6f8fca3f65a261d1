// Plots of the samples, in SVG: lines in the unit of the pixel, so that text is as sharp as on the rest of the
// page. All plots share one time axis and one pointer.

import { el, setAttribute, setText, svg } from "./dom.js";
import { perSecond, percent, plain, rate, time, timeShort } from "./format.js";
import { interval } from "./model.js";

const HEIGHT = 148;
const EDGE = { left: 52, right: 10, top: 8, bottom: 22 };
const SHORTEST_SPAN = 30_000;
/** Samples further apart than this many intervals have others missing between them. */
const GAP = 1.8;
const TIME_STEPS = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].map((seconds) => seconds * 1000);

const basisPoints = (name) => ({ metrics }) => (metrics === null ? null : metrics[name] / 100);
const load = (index) => ({ metrics }) => (metrics === null ? null : metrics.load_average_centi[index] / 100);
const counter = (name) => ({ rates }) => rates?.[name] ?? null;

const PLOTS = [
  { id: "cpu", title: "CPU in use", axis: "%", write: percent, atLeast: 10, atMost: 100, series: [["All cores", basisPoints("cpu_usage_bp")]] },
  { id: "memory", title: "Memory and disk in use", axis: "%", write: percent, atLeast: 100, atMost: 100, series: [["Memory", basisPoints("memory_usage_bp")], ["Disk", basisPoints("disk_usage_bp")]] },
  { id: "load", title: "Load average", axis: "processes", write: plain, atLeast: 1, series: [["1 min", load(0)], ["5 min", load(1)], ["15 min", load(2)]] },
  { id: "network", title: "Network", axis: "bytes per second", write: rate, atLeast: 1000, series: [["Received", counter("network_rx_bytes")], ["Sent", counter("network_tx_bytes")]] },
  { id: "disk", title: "Disk", axis: "bytes per second", write: rate, atLeast: 1000, series: [["Read", counter("disk_read_bytes")], ["Written", counter("disk_written_bytes")]] },
  { id: "kernel", title: "Kernel", axis: "events per second", write: perSecond, atLeast: 100, series: [["Context switches", counter("context_switches")], ["Interrupts", counter("interrupts")]] },
];

/** Builds the plots into `root`; the result draws a model. */
export function createPlots(root, note) {
  const plots = PLOTS.map((plot) => createPlot(plot));
  root.append(...plots.map(({ figure }) => figure));
  let model = null;
  let pointed = null;

  const draw = () => {
    if (model === null) return;
    const frame = frameOf(model);
    for (const plot of plots) plot.draw(model.samples, frame, pointed);
    setText(note, noteOf(model.samples, pointed));
  };
  const point = (index) => {
    pointed = index === null ? null : (model?.samples[index] ?? null);
    draw();
  };
  for (const { chart, indexAt } of plots) {
    chart.addEventListener("pointermove", (event) => point(indexAt(event.clientX)));
    chart.addEventListener("pointerleave", () => point(null));
  }
  new ResizeObserver(draw).observe(root);
  return (next) => {
    model = next;
    if (pointed !== null && !model.samples.includes(pointed)) pointed = null;
    draw();
  };
}

function noteOf(samples, pointed) {
  if (pointed !== null) return `At ${time(pointed.at)}`;
  return samples.length === 0 ? "Waiting for samples" : `Now, ${time(samples.at(-1).at)}`;
}

/** The time axis and all that lies on it: what the plots have in common. */
function frameOf({ samples, proofs, ...model }) {
  if (samples.length === 0) return null;
  const end = samples.at(-1).time;
  const start = Math.min(samples[0].time, end - SHORTEST_SPAN);
  const apart = (interval({ samples, ...model }) ?? Infinity) * GAP;
  const follows = samples.map((sample, i) => i > 0 && sample.joined && sample.time - samples[i - 1].time <= apart);
  const boundaries = new Set();
  for (const { proof } of proofs.values()) {
    for (const side of [proof.time_range?.start, proof.time_range?.end]) {
      const at = Date.parse(side);
      if (at >= start && at <= end) boundaries.add(at);
    }
  }
  return { start, end, follows, boundaries: [...boundaries].sort((a, b) => a - b) };
}

function createPlot({ id, title, axis, write, atLeast, atMost, series }) {
  const values = series.map(([name], i) => {
    const value = el("span", { class: "legend-value", "data-testid": `plot-${id}-value` }, "–");
    const swatch = series.length > 1 ? el("span", { class: `swatch series-${i}`, "aria-hidden": "true" }) : null;
    const label = series.length > 1 ? el("span", { class: "legend-name" }, name) : null;
    return { value, legend: el("span", { class: "legend" }, swatch, label, value) };
  });
  const grid = svg("g", { class: "grid" });
  const boundaries = svg("path", { class: "boundaries", "data-testid": `plot-${id}-boundaries` });
  const lines = series.map((_, i) => svg("path", { class: `line series-${i}`, "data-testid": `plot-${id}-line`, "data-points": 0 }));
  const dots = series.map((_, i) => svg("path", { class: `dot series-${i}` }));
  const pointer = svg("path", { class: "pointer" });
  const chart = svg("svg", { class: "chart", role: "img", "data-testid": `plot-${id}`, height: HEIGHT }, grid, boundaries, lines.toReversed(), dots, pointer);
  const empty = el("p", { class: "plot-empty" }, "Waiting for two samples");
  const figure = el(
    "figure",
    { class: "plot" },
    el("figcaption", {}, el("span", { class: "plot-title" }, title, el("span", { class: "plot-unit" }, ` ${axis}`)), el("span", { class: "legends" }, values.map(({ legend }) => legend))),
    el("div", { class: "plot-area" }, chart, empty),
  );
  let placed = [];

  const draw = (samples, frame, pointed) => {
    const width = chart.clientWidth;
    if (width === 0) return;
    setAttribute(chart, "viewBox", `0 0 ${width} ${HEIGHT}`);
    empty.hidden = samples.length > 1;
    if (frame === null) {
      for (const node of [...lines, ...dots, boundaries, pointer]) node.setAttribute("d", "");
      for (const line of lines) setAttribute(line, "data-points", 0);
      for (const { value } of values) setText(value, "–");
      grid.replaceChildren();
      setAttribute(chart, "aria-label", `${title}: waiting for samples`);
      return;
    }
    const inner = { left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: HEIGHT - EDGE.bottom };
    const x = (at) => inner.left + ((at - frame.start) / (frame.end - frame.start)) * (inner.right - inner.left);
    const columns = series.map(([, read]) => samples.map(read));
    const top = Math.min(nice(Math.max(atLeast, ...columns.flat().filter((value) => value !== null))), atMost ?? Infinity);
    const y = (value) => inner.bottom - (Math.min(value, top) / top) * (inner.bottom - inner.top);

    placed = samples.map((sample) => x(sample.time));
    drawGrid(grid, frame, inner, x, y, top, write);
    boundaries.setAttribute("d", boundaryPath(frame.boundaries.map(x), inner));
    columns.forEach((column, i) => {
      const { line, alone, count } = trace(placed, column, frame.follows, y);
      lines[i].setAttribute("d", line);
      setAttribute(lines[i], "data-points", count);
      dots[i].setAttribute("d", alone);
      const shown = pointed === null ? column.length - 1 : samples.indexOf(pointed);
      setText(values[i].value, write(column[shown] ?? null));
    });
    pointer.setAttribute("d", pointed === null ? "" : `M${x(pointed.time).toFixed(1)} ${inner.top}V${inner.bottom}`);
    setAttribute(chart, "aria-label", inWords(title, series, columns, write));
  };
  const indexAt = (clientX) => {
    const at = clientX - chart.getBoundingClientRect().left;
    let best = null;
    placed.forEach((place, i) => {
      if (best === null || Math.abs(place - at) < Math.abs(placed[best] - at)) best = i;
    });
    return best;
  };
  return { figure, chart, draw, indexAt };
}

/** The path through the values; a value without neighbours becomes a dot, as a line would not show it. */
function trace(places, column, follows, y) {
  let line = "";
  let alone = "";
  let count = 0;
  column.forEach((value, i) => {
    if (value === null) return;
    count += 1;
    const before = follows[i] && column[i - 1] !== null;
    const after = follows[i + 1] === true && column[i + 1] !== null;
    const at = `${places[i].toFixed(1)} ${y(value).toFixed(1)}`;
    if (before || after) line += `${before ? "L" : "M"}${at}`;
    else alone += `M${at}h0`;
  });
  return { line, alone, count };
}

/** Full lines while they are far enough apart to be told from each other, then short ones on the axis. */
function boundaryPath(places, { top, bottom }) {
  const nearest = Math.min(...places.slice(1).map((place, i) => place - places[i]));
  const from = nearest >= 10 ? top : bottom - 5;
  return places.map((place) => `M${place.toFixed(1)} ${from}V${bottom}`).join("");
}

function drawGrid(grid, { start, end }, inner, x, y, top, write) {
  const nodes = [0, top / 2, top].flatMap((value) => [
    svg("path", { class: value === 0 ? "base" : "rule", d: `M${inner.left} ${Math.round(y(value)) + 0.5}H${inner.right}` }),
    svg("text", { x: inner.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, axisLabel(value, write)),
  ]);
  const most = Math.max(2, Math.floor((inner.right - inner.left) / 84));
  const step = TIME_STEPS.find((one) => (end - start) / one <= most) ?? (end - start) / 2;
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
    const place = x(at);
    if (place < inner.left + 14 || place > inner.right - 18) continue;
    nodes.push(
      svg("path", { class: "tick", d: `M${place.toFixed(1)} ${inner.bottom}v4` }),
      svg("text", { x: place.toFixed(1), y: inner.bottom + 16, "text-anchor": "middle" }, step < 60_000 ? time(at) : timeShort(at)),
    );
  }
  grid.replaceChildren(...nodes);
}

function axisLabel(value, write) {
  return value === 0 ? "0" : write(value).replace(/\.0+(?=\D|$)/, "").replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace("/s", "");
}

/** The next of 1, 2, 4, 5, 10 … at or above a value, so that half of it is a round number too. */
function nice(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((one) => one * size).find((one) => one >= value * 0.9999) ?? value;
}

function inWords(title, series, columns, write) {
  const parts = series.map(([name], i) => {
    const known = columns[i].filter((value) => value !== null);
    if (known.length === 0) return `${name}: not known yet`;
    return `${name}: now ${write(columns[i].at(-1))}, lowest ${write(Math.min(...known))}, highest ${write(Math.max(...known))}`;
  });
  return `${title}. ${parts.join(". ")}.`;
}
