// The node's history, asked for over HTTP: a few questions at a time, and every failure in words.

/** The node answers four at once, of all who ask. */
const AT_ONCE = 2;
const TRIES = 4;
const TIMEOUT_MS = 30_000;
/** Raw points come in pieces of this length: one answer holds 2,000 of a series. */
const PIECE_MS = 30 * 60_000;

const WORDS = {
  starting: "There is no history yet: the node opens its store once its enclave runs.",
  busy: "The node is busy answering others.",
};

/** Why there is no answer; `kind` is the node's own word for it, or `unreachable`. */
export class HistoryError extends Error {
  constructor(kind, detail) {
    super(WORDS[kind] ?? `${detail.charAt(0).toUpperCase()}${detail.slice(1)}${/[.!?]$/.test(detail) ? "" : "."}`);
    this.kind = kind;
  }
}

export function createHistory(base = "/api/metrics") {
  const waiting = [];
  let running = 0;
  /** By how much the node's clock is ahead of the browser's, in milliseconds. */
  let ahead = 0;

  const next = () => {
    if (running >= AT_ONCE || waiting.length === 0) return;
    running += 1;
    const { path, signal, resolve, reject } = waiting.shift();
    ask(path, signal).then(resolve, reject).finally(() => {
      running -= 1;
      next();
    });
  };
  const ask = async (path, signal) => {
    for (let left = TRIES; ; left -= 1) {
      const { status, retry, body, date } = await fetched(`${base}${path}`, signal);
      if (Number.isFinite(date)) ahead = date - Date.now();
      if (status === 200) return body;
      const { kind = "failed", detail = `the node answered ${status}` } = body?.error ?? {};
      if (kind !== "busy" || left <= 1) throw new HistoryError(kind, detail);
      await pause(retry * 1000, signal);
    }
  };
  const queued = (path, signal) =>
    new Promise((resolve, reject) => {
      waiting.push({ path, signal, resolve, reject });
      next();
    });

  return {
    /** The node's time. */
    now: () => Date.now() + ahead,
    series: async (signal) => (await queued("/series", signal)).series,
    /** The answer to one question, of as many pieces as it takes. */
    async query(selector, from, to, resolution, signal) {
      const pieces = [];
      const length = resolution === "raw" ? PIECE_MS : to - from;
      for (let start = from; start < to; start += length) {
        const query = new URLSearchParams({ series: selector, from: String(start), to: String(Math.min(start + length, to)), resolution });
        pieces.push(queued(`/query?${query}`, signal));
      }
      return joined(await Promise.all(pieces));
    },
  };
}

/** Answers to parts of a range as the answer to the whole. */
export function joined(answers) {
  const series = new Map();
  for (const one of answers.flatMap((answer) => answer.series)) {
    const known = series.get(one.name);
    if (known === undefined) series.set(one.name, { ...one });
    else known.points = [...known.points, ...one.points];
  }
  return {
    resolution: answers[0]?.resolution ?? "raw",
    series: [...series.values()],
    gaps: answers.flatMap(({ gaps }) => gaps),
    faults: answers.flatMap(({ faults }) => faults),
    truncated: answers.some(({ truncated }) => truncated),
  };
}

async function fetched(url, signal) {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]), cache: "no-store" });
    const body = await response.json();
    const retry = Number(response.headers.get("retry-after") ?? 1);
    return { status: response.status, body, retry: Number.isFinite(retry) ? retry : 1, date: Date.parse(response.headers.get("date") ?? "") };
  } catch (error) {
    if (signal.aborted) throw error;
    throw new HistoryError("unreachable", error.name === "SyntaxError" ? "the node's answer broke off" : "the node does not answer");
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
