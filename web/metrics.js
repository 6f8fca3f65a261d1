// The history of what was measured: a view is picked, a range is chosen, and both are asked for again while they are
// in sight.

import { curveOf, facts, gapsOf } from "./curves.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { exactTime, time } from "./format.js";
import { createGaps, inWords } from "./gaps.js";
import { createHistory } from "./history.js";
import { MOST_LINES, createHistoryPlot } from "./history-plot.js";
import { createPicker, nameOf } from "./picker.js";
import { catalogue, lineName, plotsOf, selectorOf } from "./series.js";
import { unitOf } from "./units.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Each range, how fine it is asked for, and after how long it is asked for again. */
const RANGES = {
  live: { length: 15 * MINUTE, resolution: "raw", again: 5_000 },
  "1h": { length: HOUR, resolution: "raw", again: 30_000 },
  "24h": { length: DAY, resolution: "5m", again: MINUTE },
  "7d": { length: 7 * DAY, resolution: "1h", again: 5 * MINUTE },
  "30d": { length: 30 * DAY, resolution: "1h", again: 5 * MINUTE },
};
/** After a failure the same is asked for again, sooner than the range says. */
const AGAIN_AFTER_FAILURE = 5_000;
/** A node that measures nothing is asked all the same, to say why. */
const WITHOUT_SAMPLE = 5_000;
const HEIGHT = 148;
const HEIGHT_ALONE = 300;
/** More on request: what is looked for first is first. */
const PLOTS_AT_FIRST = 12;
const SUMMED = { raw: "every sample", "5m": "5 minutes a point", "1h": "1 hour a point" };

/** `5m` before `15m`. */
const inOrder = new Intl.Collator("en", { numeric: true });

/** Takes over the section; the result draws a model, which tells when there is something to ask for. */
export function createMetrics() {
  const section = byId("metrics");
  const plotsRoot = byId("history-plots");
  const history = createHistory();
  let range = "live";
  let view = { kind: "part", part: "system" };
  let parts = [];
  /** By plot: what is drawn. */
  let plots = [];
  let asking = null;
  let timer = 0;
  let started = false;
  let seen = false;
  let pointed = null;
  let lastRange = { begin: 0, end: 0 };
  let all = false;
  /** Series of a family that a person chose to see or not to see, by name. */
  let chosen = new Map();

  const drawPicker = createPicker(byId("metrics-picker"), (next) => {
    view = next;
    all = false;
    chosen = new Map();
    drawPicker(parts, view);
    ask(true);
    byId("metrics-view").scrollIntoView({ block: "nearest" });
  });
  const point = (at) => {
    pointed = at;
    for (const { drawer } of plots) drawer.point(at);
    drawNote();
  };
  const drawGaps = createGaps({ strip: byId("gap-strip"), note: byId("gap-note"), list: byId("gap-list"), count: byId("gap-count"), box: byId("gap-box") }, point);
  for (const input of byId("metrics-range").querySelectorAll("input")) {
    input.addEventListener("change", () => {
      range = input.value;
      ask(true);
    });
  }
  const more = byId("plots-more");
  more.addEventListener("click", () => {
    all = !all;
    ask(true);
  });
  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    if (seen && started && asking === null && timer === 0) ask(false);
  }, { rootMargin: "400px" }).observe(section);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && started && asking === null && timer === 0) ask(false);
  });
  new ResizeObserver(() => plots.forEach(({ drawer }) => drawer.redraw())).observe(plotsRoot);

  const start = () => {
    if (started) return;
    started = true;
    ask(true);
  };

  /** Asks for what is to be shown, at once; `anew` if it is something else than what is shown. */
  async function ask(anew) {
    asking?.abort();
    clearTimeout(timer);
    timer = 0;
    if (!started) return;
    const control = new AbortController();
    asking = control;
    if (anew) setAttribute(section, "data-state", "loading");
    let again = RANGES[range].again;
    try {
      parts = catalogue(await history.series(control.signal));
      if (parts.length > 0 && view.kind === "part" && !parts.some(({ part }) => part === view.part)) view = { kind: "part", part: parts[0].part };
      drawPicker(parts, view);
      await showPlots(control.signal, anew);
      if (control.signal.aborted) return;
      say(parts.length === 0 ? "There is no history yet: the first values come with the first samples that are stored." : null);
      if (parts.length === 0) again = AGAIN_AFTER_FAILURE;
      setAttribute(section, "data-state", parts.length === 0 ? "empty" : "drawn");
    } catch (error) {
      if (control.signal.aborted) return;
      const stale = plots.some(({ answered }) => answered) ? " What is shown is from before." : "";
      say(`${error.message}${error.kind === undefined ? "" : " It is being asked again."}${stale}`, error.kind ?? "failed");
      setAttribute(section, "data-state", "failed");
      again = AGAIN_AFTER_FAILURE;
      if (error.kind === undefined) throw error;
    } finally {
      if (asking === control) {
        asking = null;
        timer = setTimeout(() => {
          timer = 0;
          if (seen && document.visibilityState === "visible") ask(false);
        }, again);
      }
    }
  }

  async function showPlots(signal, anew) {
    const { length, resolution } = RANGES[range];
    const end = Math.ceil(history.now());
    const begin = end - length;
    const every = plotsOf(view, parts);
    const wanted = all ? every : every.slice(0, PLOTS_AT_FIRST);
    more.hidden = every.length <= PLOTS_AT_FIRST;
    setText(more, all ? `Show the first ${PLOTS_AT_FIRST}` : `Show all ${every.length}`);
    const same = !anew && wanted.map(({ id }) => id).join() === plots.map(({ plot }) => plot.id).join();
    if (!same) {
      const height = wanted.length === 1 ? HEIGHT_ALONE : HEIGHT;
      plots = wanted.map((plot) => ({ plot, drawer: createHistoryPlot(height, point), answers: [], answered: false }));
      plotsRoot.replaceChildren(...plots.map(({ drawer }) => drawer.figure));
      setAttribute(plotsRoot, "data-alone", wanted.length === 1);
      for (const one of plots) drawOne(one, begin, end);
    }
    setText(byId("metrics-view"), nameOf(view, parts));
    drawExports(begin, end);
    await Promise.all(plots.map(async (one) => {
      one.answers = await Promise.all(one.plot.lines.map(({ family }) => history.query(selectorOf(family, one.plot.labels), begin, end, resolution, signal)));
      one.answered = true;
      if (!signal.aborted) drawOne(one, begin, end);
    }));
    if (!signal.aborted) drawAll(begin, end);
  }

  function drawOne(one, begin, end) {
    const { plot, drawer, answers, answered } = one;
    one.curves = answers.flatMap((answer, i) => curvesOf(answer, plot, plot.lines[i].name, end)).sort((a, b) => inOrder.compare(a.name, b.name));
    one.gaps = gapsOf(answers[0]?.gaps ?? [], plot.part);
    const ranked = one.curves.toSorted((a, b) => (facts(b)?.last.value ?? -Infinity) - (facts(a)?.last.value ?? -Infinity));
    const byDefault = new Set(ranked.slice(0, MOST_LINES).map(({ key }) => key));
    const drawn = one.curves.filter(({ key }) => chosen.get(key) ?? byDefault.has(key)).slice(0, MOST_LINES);
    drawn.forEach((curve, i) => (curve.hue = i));
    one.drawn = drawn;
    drawer.draw({ plot, curves: drawn, left: one.curves.length - drawn.length, alone: plots.length === 1, gaps: one.gaps, start: begin, end, loading: !answered });
  }

  function drawAll(begin, end) {
    const answers = plots.flatMap((one) => one.answers);
    const part = view.kind === "part" ? view.part : view.kind === "pod" ? "container" : plots[0]?.plot.part;
    drawGaps(gapsOf(answers.flatMap(({ gaps }) => gaps), part), begin, end);
    byId("gap-box").hidden = plots.length === 0;
    const faults = [...new Set(answers.flatMap((answer) => answer.faults.map(({ detail }) => detail)))];
    const cut = answers.some(({ truncated }) => truncated) ? ["There is more than one answer may hold: choose less, or a shorter time."] : [];
    const told = [...faults.slice(0, 5).map((fault) => `A part of the history cannot be read: ${fault}.`), ...cut];
    const list = byId("metrics-faults");
    list.hidden = told.length === 0;
    list.replaceChildren(...told.map((text) => el("li", {}, text)));
    drawTable();
    drawNote(end);
  }

  /** The series of a family that is looked at alone. */
  function drawTable() {
    const table = byId("series-table");
    const [one] = plots;
    table.hidden = plots.length !== 1 || one.curves.length < 2;
    if (table.hidden) return;
    const unit = unitOf(one.plot);
    const shown = new Set(one.drawn.map(({ key }) => key));
    const rows = one.curves.map((curve) => ({ curve, facts: facts(curve) })).toSorted((a, b) => (b.facts?.last.value ?? -Infinity) - (a.facts?.last.value ?? -Infinity));
    const focused = table.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    byId("series-rows").replaceChildren(...rows.map(({ curve, facts: found }) => {
      const { key, name, hue } = curve;
      const isShown = shown.has(key);
      const toggle = () => {
        // From here on a person chooses: what is drawn now is what stays.
        if (chosen.size === 0) for (const each of one.curves) chosen.set(each.key, shown.has(each.key));
        chosen.set(key, !isShown);
        drawOne(one, lastRange.begin, lastRange.end);
        drawTable();
      };
      const full = !isShown && shown.size >= MOST_LINES;
      const button = el("button", { type: "button", class: "series-toggle", "aria-pressed": isShown, "data-key": key, "data-testid": "series-toggle", disabled: full ? "" : null, title: full ? `At most ${MOST_LINES} are drawn: take one away first` : null, click: toggle }, el("span", { class: isShown ? `swatch series-${hue}` : "swatch", "aria-hidden": "true" }), name);
      const cell = (value) => el("td", { role: "cell", class: "number" }, value === undefined ? "–" : unit.write(value));
      return el("tr", { role: "row", "data-testid": "series-row" }, el("td", { role: "cell" }, button), cell(found?.last.value), cell(found?.low), cell(found?.high));
    }));
    if (focused !== null) [...table.querySelectorAll("button")].find((node) => node.dataset.key === focused)?.focus();
  }

  function drawNote(end = lastRange.end) {
    lastRange = { begin: end - RANGES[range].length, end };
    const note = byId("metrics-note");
    if (pointed === null) {
      const { resolution } = RANGES[range];
      setText(note, plots.length === 0 ? "Nothing yet" : `${range === "live" ? "Until" : "As of"} ${time(end)}, ${SUMMED[resolution]}`);
      return;
    }
    const gap = plots.flatMap((one) => one.gaps ?? []).find((one) => one.start <= pointed && pointed < one.end);
    const at = range === "live" || range === "1h" ? time(pointed) : exactTime(pointed).replace(/ \(.*$/, "");
    setText(note, gap === undefined ? `At ${at}` : `At ${at}: gap`);
    setText(byId("gap-note"), gap === undefined ? "" : inWords(gap, RANGES[range].length));
  }

  function drawExports(begin, end) {
    const selector = view.kind === "family" ? view.family : view.kind === "pod" ? selectorOf("nautilus_*", plots[0]?.plot.labels ?? {}) : null;
    byId("metrics-export").hidden = selector === null;
    for (const format of ["csv", "jsonl"]) {
      const query = new URLSearchParams({ series: selector ?? "", from: String(begin), to: String(end), format });
      setAttribute(byId(`export-${format}`), "href", `/api/metrics/export?${query}`);
    }
  }

  const message = byId("metrics-message");
  function say(text, kind = "empty") {
    message.hidden = text === null;
    setAttribute(message, "data-kind", kind);
    setText(message, text ?? "");
  }

  return ({ samples, stopped }) => {
    if (started || stopped !== null) return;
    if (samples.length > 0) start();
    else if (timer === 0) timer = setTimeout(start, WITHOUT_SAMPLE);
  };
}

function curvesOf({ series, resolution, gaps }, { part, labels: asked }, direction, now) {
  const own = gapsOf(gaps, part);
  return series
    .filter(({ points }) => points.length > 0)
    .map((one) => ({ key: one.name, name: lineName(direction, one.labels, asked), hue: 0, ...curveOf(one, resolution, own, now) }));
}
