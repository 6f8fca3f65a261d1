// The stream of the node's events: on every connection the node replays its history, then says `live`.

/** A stopped node may be started again on the same port, though not soon: look for it, and quietly. */
const LOOK_AGAIN_MS = 10_000;
const RETRY_MS = 3_000;

/**
 * Connects and stays connected.
 *
 * `handlers`: `open()` before a history, `event(object, json)` for each event, `live(totals)` when the history
 * is over, `lost()` when the stream broke, `unreadable(text)` for an event that is not JSON.
 * `lost` returns whether the node has stopped, so that nobody is there to answer.
 */
export function connect(url, handlers) {
  const source = new EventSource(url);
  const again = (wait) => {
    source.close();
    setTimeout(() => connect(url, handlers), wait);
  };
  source.addEventListener("open", () => handlers.open());
  source.addEventListener("message", ({ data }) => {
    const event = parsed(data);
    if (event === null || typeof event !== "object") handlers.unreadable(data);
    else handlers.event(event, data);
  });
  source.addEventListener("live", ({ data }) => handlers.live(parsed(data)?.totals ?? null));
  source.addEventListener("error", () => {
    const stopped = handlers.lost();
    if (stopped) again(LOOK_AGAIN_MS);
    // The browser comes again by itself unless it was refused.
    else if (source.readyState === EventSource.CLOSED) again(RETRY_MS);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text, exact);
  } catch {
    return null;
  }
}

// Amounts and counters have 64 bits, JavaScript's numbers 53. Browsers without `context` show them rounded.
function exact(_key, value, context) {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}
