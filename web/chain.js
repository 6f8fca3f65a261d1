// The chain of trust on the page. It is built once; afterwards only what changed is touched, so that what a
// person has opened stays open and what they have focused stays focused.

import { el, mark, setAttribute, setText } from "./dom.js";
import { createFacts } from "./facts.js";
import { exactTime, time } from "./format.js";
import { LINKS, judgeAll } from "./links.js";

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
      if (before !== link.state) changed(LINKS[i].title, link.state);
    });
    const good = judged.filter(({ state }) => state === "ok").length;
    setText(progress, good === judged.length ? `All ${good} links hold` : `${good} of ${judged.length} links hold`);
  };
}

function createLink({ id, title }) {
  const badge = el("span", { class: "badge" }, mark("waiting"));
  const clock = el("time", { class: "link-time" });
  const word = el("span", { class: "link-word" }, "waiting");
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
    setText(word, link.state);
    setText(sentence, link.sentence);
    setText(clock, link.at === null ? "" : time(link.at));
    if (link.at !== null) {
      setAttribute(clock, "datetime", link.at);
      setAttribute(clock, "title", exactTime(link.at));
    }
    item.classList.toggle("bare", link.facts.length === 0);
    drawFacts(link.facts.length === 0 ? [["Facts", "none before this has happened"]] : link.facts);
    drawSections(link.sections);
  };
  return { item, draw };
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
