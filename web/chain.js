// The chain of trust on the page. It is built once; afterwards only what changed is touched, so that what a
// person has opened stays open and what they have focused stays focused.

import { copyButton, el, mark, setAttribute, setText } from "./dom.js";
import { short, time, when } from "./format.js";
import { LINKS, judgeAll, wholeValue } from "./links.js";

const WORDS = { ok: "ok", waiting: "waiting", failed: "failed" };

/** Builds the chain into `root`; the result draws a model, and calls `changed(title, state)` on a new state. */
export function createChain(root, progress, changed) {
  const links = LINKS.map((link) => createLink(link));
  root.append(...links.map(({ item }) => item));
  return (model) => {
    const judged = judgeAll(model);
    const next = judged.findIndex(({ state }) => state !== "ok");
    judged.forEach((link, i) => {
      const before = links[i].item.dataset.state;
      links[i].draw(link, i === next && model.stopped === null);
      if (before !== link.state) changed(LINKS[i].title, WORDS[link.state]);
    });
    const good = judged.filter(({ state }) => state === "ok").length;
    setText(progress, good === judged.length ? `All ${good} links hold` : `${good} of ${judged.length} links hold`);
  };
}

function createLink({ id, title }) {
  const badge = el("span", { class: "badge" }, mark("waiting"));
  const clock = el("time", { class: "link-time" });
  const word = el("span", { class: "link-word" }, WORDS.waiting);
  const sentence = el("span", { class: "link-sentence" });
  const facts = el("dl", { class: "facts" });
  const sections = el("div", {});
  const item = el(
    "li",
    { class: "link", "data-testid": `link-${id}`, "data-state": "waiting" },
    badge,
    el("details", { "data-testid": `link-${id}-details` },
      el("summary", { "data-testid": `link-${id}-summary` },
        el("span", { class: "link-head" }, el("span", { class: "link-title", role: "heading", "aria-level": "3" }, title), word, clock),
        sentence),
      el("div", { class: "link-body" }, facts, sections)),
  );
  const drawFacts = createFacts(facts);
  const drawSections = createSections(sections);
  const draw = (link, isNext) => {
    if (item.dataset.state !== link.state) {
      item.dataset.state = link.state;
      badge.replaceChildren(mark(link.state));
    }
    item.classList.toggle("next", isNext && link.state === "waiting");
    setText(word, WORDS[link.state]);
    setText(sentence, link.sentence);
    setText(clock, link.at === null ? "" : time(link.at));
    if (link.at !== null) {
      setAttribute(clock, "datetime", link.at);
      setAttribute(clock, "title", wholeValue(link.at, "time"));
    }
    item.classList.toggle("bare", link.facts.length === 0);
    drawFacts(link.facts.length === 0 ? [["Facts", "none before this has happened"]] : link.facts);
    drawSections(link.sections);
  };
  return { item, draw };
}

/** Draws facts `[label, value, kind]` into a list; absent values are left out. */
export function createFacts(root) {
  let drawn = [];
  let labels = "";
  return (facts) => {
    const present = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
    const wanted = JSON.stringify(present.map(([label, , kind]) => [label, kind]));
    if (wanted !== labels) {
      labels = wanted;
      drawn = present.map(([label, , kind]) => createFact(label, kind));
      root.replaceChildren(...drawn.map(({ row }) => row));
    }
    present.forEach(([, value, kind], i) => drawn[i].draw(value, kind));
  };
}

function createFact(label, kind) {
  const value = el(kind === "hash" ? "code" : kind === "time" ? "time" : "span", { class: "value" });
  let whole = "";
  const copy = kind === "hash" ? copyButton(label, () => whole) : null;
  const row = el("div", { class: "fact" }, el("dt", {}, label), el("dd", {}, value, copy));
  const draw = (given) => {
    whole = String(given);
    setText(value, kind === "hash" ? short(whole) : kind === "time" ? when(whole) : whole);
    if (kind === "hash" || kind === "time") setAttribute(value, "title", wholeValue(given, kind));
    if (kind === "time") setAttribute(value, "datetime", whole);
  };
  return { row, draw };
}

function createSections(root) {
  let keys = [];
  return (sections) => {
    const same = sections.length === keys.length && sections.every(({ key }, i) => key === keys[i]);
    if (same) return;
    keys = sections.map(({ key }) => key);
    root.replaceChildren(
      ...sections.map(({ title, build }) => el("section", { class: "link-section" }, el("h4", {}, title), build())),
    );
  };
}
