// From points as they are stored to curves as they are drawn. Nothing here touches the document.
//
// A point of a curve is `{at, value, low, high}`: milliseconds, what is drawn as the line, and for rollups of gauges
// the lowest and the highest. `value` is null where nothing can be said: a line ends there.

/** Milliseconds that one point sums up, by resolution. */
export const STEPS = { raw: 0, "5m": 300_000, "1h": 3_600_000 };
/** Raw points further apart than this many distances, the usual one or the one before, have others missing between. */
const APART = 2.5;

/**
 * The curve of a series until now. `gaps` are those that concern it; none is bridged: where one lies between two
 * points, the second begins a new run, and no rate is made of the two.
 */
export function curveOf({ kind, points }, resolution, gaps, now = Infinity) {
  const step = STEPS[resolution] ?? 0;
  const placed = step === 0 ? points.map(([at, value]) => ({ at, value })) : points.map((point) => rolledUp(point, step));
  const usual = step === 0 ? usualDistance(placed) : step;
  const cuts = gaps.filter(({ reason }) => reason !== "truncated");
  const joined = step === 0 ? joins(placed, usual * APART, cuts, APART) : joins(placed, step, cuts);
  const curve = kind !== "counter" ? placed : step === 0 ? rates(placed, joined) : rolledUpRates(placed, joined, step, cuts, now);
  return { points: curve, usual, runs: runsOf(curve, joined) };
}

/** A rollup stands in the middle of the time that it sums up. */
function rolledUp([from, low, value, high], step) {
  return { at: from + step / 2, value, low, high };
}

/**
 * For each point whether it continues the one before it: not over a gap, and not if that is longer ago than `longest`
 * and than `slower` times the distance before it.
 */
export function joins(points, longest, gaps, slower = 0) {
  const ordered = gaps.toSorted((one, other) => one.start - other.start);
  let next = 0;
  let reached = -Infinity;
  let distance = 0;
  return points.map(({ at }, i) => {
    if (i === 0) return false;
    const before = points[i - 1].at;
    // A node that was told to measure less often goes on at its new pace.
    const apart = Math.max(longest, distance * slower);
    distance = at - before;
    while (next < ordered.length && ordered[next].start < at) {
      reached = Math.max(reached, ordered[next].end);
      next += 1;
    }
    return distance <= apart && reached <= before;
  });
}

/**
 * A counter as rates a second, each over the time since the point before it. A counter that fell began anew, by how
 * much it grew until then nobody knows: there is no rate, and never a negative one.
 */
export function rates(points, joined) {
  return points.map(({ at, value }, i) => {
    const before = points[i - 1];
    const known = before !== undefined && joined[i] && value >= before.value;
    return { at, value: known ? ((value - before.value) * 1000) / (at - before.at) : null };
  });
}

/**
 * The same of rollups: a counter's highest is its last, so that it grew by the difference of two of them from the end
 * of what was measured in one to the end of what was measured in the other.
 */
function rolledUpRates(points, joined, step, gaps, now) {
  const ends = points.map(({ at }) => measuredUntil(at + step / 2, gaps, now));
  return points.map(({ at, low, high }, i) => {
    const before = points[i - 1];
    const known = before !== undefined && joined[i] && low >= before.high;
    const time = ends[i] - ends[i - 1];
    // Of too little a part of an hour no rate of the hour can be told.
    return { at, value: known && time >= step / 2 ? ((high - before.high) * 1000) / time : null };
  });
}

function measuredUntil(end, gaps, now) {
  return gaps.reduce((until, gap) => (gap.start < until && gap.end >= until ? gap.start : until), Math.min(end, now));
}

/** Stretches of points with values of which each continues the one before it. */
export function runsOf(points, joined) {
  const runs = [];
  let run = null;
  points.forEach((point, i) => {
    if (point.value === null) run = null;
    else if (run !== null && joined[i]) run.push(point);
    else runs.push((run = [point]));
  });
  return runs;
}

/** The median distance between neighbours; endless while there are too few. */
function usualDistance(points) {
  const distances = points.slice(1).map(({ at }, i) => at - points[i].at).sort((one, other) => one - other);
  return distances[Math.floor(distances.length / 2)] ?? Infinity;
}

/** The gaps that concern a part of the node: its own, and those of all. */
export function gapsOf(gaps, part) {
  return gaps.filter(({ collector }) => collector === null || collector === part);
}

/** Gaps within a range, each once: those of a reason that touch or overlap become one. */
export function mergedGaps(gaps, start, end) {
  const merged = new Map();
  const inRange = gaps.filter((gap) => gap.end > start && gap.start < end);
  for (const gap of inRange.toSorted((one, other) => one.start - other.start)) {
    const key = JSON.stringify([gap.reason, gap.collector, gap.detail]);
    const same = merged.get(key) ?? [];
    merged.set(key, same);
    const last = same.at(-1);
    if (last !== undefined && gap.start <= last.end) last.end = Math.max(last.end, Math.min(gap.end, end));
    else same.push({ ...gap, start: Math.max(gap.start, start), end: Math.min(gap.end, end) });
  }
  return [...merged.values()].flat().sort((one, other) => one.start - other.start || one.end - other.end);
}

/** The lowest, highest and newest value of a curve, or null where it has none. */
export function facts({ points }) {
  const known = points.filter(({ value }) => value !== null);
  if (known.length === 0) return null;
  const low = known.reduce((least, point) => Math.min(least, point.low ?? point.value), Infinity);
  const high = known.reduce((most, point) => Math.max(most, point.high ?? point.value), -Infinity);
  return { low, high, last: known.at(-1) };
}

/** The point nearest to a time, or null; `points` are in ascending order. */
export function nearest(points, at) {
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].at < at) low = middle + 1;
    else high = middle;
  }
  const after = points[low];
  const before = points[low - 1];
  if (after === undefined) return null;
  return before !== undefined && at - before.at <= Math.abs(after.at - at) ? before : after;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TICKS = [10_000, 30_000, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 7 * DAY, 10 * DAY];

/** Round times of the day, or days, at most `most` of them: `{step, times}`. */
export function timeTicks(start, end, most) {
  const step = TICKS.find((one) => (end - start) / one <= most) ?? TICKS.at(-1);
  const times = [];
  const first = new Date(start);
  first.setHours(0, 0, 0, 0);
  // Clocks that are put forward or back make days of 23 and 25 hours: each day is counted from its own midnight.
  for (let day = first; day.getTime() <= end; day.setDate(day.getDate() + Math.max(1, Math.round(step / DAY)))) {
    const midnight = day.getTime();
    const next = new Date(midnight);
    next.setDate(next.getDate() + 1);
    const until = step >= DAY ? midnight + 1 : next.getTime();
    for (let at = midnight; at < until && at <= end; at += step) if (at >= start) times.push(at);
  }
  return { step, times };
}
