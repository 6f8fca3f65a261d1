// The gaps of a view: a strip over the whole range, each gap a button that tells why, and the same as a list.

import { mergedGaps } from "./curves.js";
import { el, setText } from "./dom.js";
import { day, time, timeShort } from "./format.js";
import { duration } from "./units.js";

const MOST_LISTED = 100;
const DAY = 86_400_000;
const COLLECTORS = { system: "The machine", container: "Pods", network: "The network", security: "Security", custom: "Custom metrics" };
const REASONS = {
  not_running: () => "The node did not run",
  missed: () => "The node ran and did not measure",
  failed: (who) => `${who} could not be measured`,
  stalled: (who) => `${who}: measuring took too long`,
  truncated: (who) => `${who}: more than a sample holds, and some was left out`,
  unreadable: () => "What was measured cannot be read any more",
  suspended: () => "The node was suspended",
};

/** A gap's reason and, where there is one, the detail. */
export function reasonOf({ reason, collector, detail }) {
  const who = COLLECTORS[collector] ?? "The node";
  const said = Object.hasOwn(REASONS, reason) ? REASONS[reason](who) : `Nothing was measured (${reason})`;
  return detail === "" || detail === null || detail === undefined ? `${said}.` : `${said}: ${detail}`;
}

/** When, how long, and why. */
export function inWords(gap, span) {
  const write = span > DAY ? (at) => `${day(at)}, ${timeShort(at)}` : time;
  return `${write(gap.start)} – ${write(gap.end)} (${duration((gap.end - gap.start) / 1000)}): ${reasonOf(gap)}`;
}

/** Builds strip and list; the result draws gaps within a range. `onPoint` is called with a time or null. */
export function createGaps({ strip, note, list, count, box }, onPoint) {
  let drawn = "";
  return (all, start, end) => {
    const gaps = mergedGaps(all, start, end);
    const key = JSON.stringify([gaps, start, end]);
    if (key === drawn) return;
    drawn = key;
    const focused = strip.contains(document.activeElement) ? document.activeElement.dataset.from : null;
    const share = (at) => (at - start) / (end - start);
    const listed = gaps.slice(-MOST_LISTED);
    strip.replaceChildren(...listed.map((gap) => {
      const words = inWords(gap, end - start);
      const point = (at) => {
        setText(note, at === null ? "" : words);
        onPoint(at);
      };
      const middle = (gap.start + gap.end) / 2;
      const button = el("button", { type: "button", class: "gap-mark", title: words, "aria-label": `Gap: ${words}`, "data-testid": "gap-mark", "data-reason": gap.reason, "data-from": gap.start, pointerenter: () => point(middle), pointerleave: () => point(null), focus: () => point(middle), blur: () => point(null) });
      button.style.left = `${(share(gap.start) * 100).toFixed(3)}%`;
      button.style.width = `${((share(gap.end) - share(gap.start)) * 100).toFixed(3)}%`;
      return button;
    }));
    [...strip.children].find((node) => node.dataset.from === focused)?.focus();
    const left = gaps.length - listed.length;
    list.replaceChildren(
      ...listed.toReversed().map((gap) => el("li", { "data-testid": "gap-item", "data-reason": gap.reason }, inWords(gap, end - start))),
      ...(left > 0 ? [el("li", {}, `and ${left} before`)] : []),
    );
    setText(count, gaps.length === 0 ? "No gap in this time" : gaps.length === 1 ? "1 gap in this time" : `${gaps.length} gaps in this time`);
    box.dataset.gaps = gaps.length;
  };
}
