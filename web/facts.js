// Lists of facts: a name, a value, and for what is long the whole of it on hover and to copy.

import { copyButton, el, setAttribute, setText } from "./dom.js";
import { exactTime, short, when } from "./format.js";

/** A list of facts that do not change. */
export function factList(facts) {
  const root = el("dl", { class: "facts" });
  createFacts(root)(facts);
  return root;
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
    if (kind === "hash" || kind === "time") setAttribute(value, "title", kind === "time" ? exactTime(whole) : whole);
    if (kind === "time") setAttribute(value, "datetime", whole);
  };
  return { row, draw };
}
