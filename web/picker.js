// What to look at: a part of the node, one pod, or one family of series.

import { el, setAttribute, setText } from "./dom.js";
import { matches, titleOf } from "./series.js";

const MOST_FOUND = 200;

/**
 * Builds the picker into `root`; `choose` is called with a view: `{kind: "part", part}`, `{kind: "pod", namespace,
 * pod}` or `{kind: "family", family}`. The result draws the parts and the view that is chosen.
 */
export function createPicker(root, choose) {
  const search = el("input", { type: "search", class: "search", id: "metrics-search", "data-testid": "metrics-search", placeholder: "Search", autocomplete: "off", spellcheck: "false", "aria-label": "Search for a pod or a metric" });
  const groups = el("div", { class: "groups", "data-testid": "metrics-groups" });
  const none = el("p", { class: "empty", hidden: "" });
  const fold = el("button", { type: "button", class: "button fold", "aria-expanded": "false", "aria-controls": "metrics-choices", "data-testid": "metrics-fold" });
  const choices = el("nav", { class: "choices", id: "metrics-choices", "aria-label": "What to show" }, search, groups, none);
  root.append(fold, choices);
  let parts = [];
  let view = null;
  let drawn = "";
  /** Groups that a person opened or closed. */
  const opened = new Map();

  const open = (isOpen) => {
    setAttribute(root, "data-open", isOpen);
    setAttribute(fold, "aria-expanded", isOpen);
  };
  open(false);
  fold.addEventListener("click", () => open(root.dataset.open !== "true"));
  search.addEventListener("input", () => draw());
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") groups.querySelector(".choice")?.click();
    else if (event.key === "Escape" && search.value !== "") {
      search.value = "";
      draw();
    } else return;
    event.preventDefault();
  });
  choices.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const stops = [search, ...groups.querySelectorAll("summary, .choice")].filter((node) => node.checkVisibility());
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });

  const draw = () => {
    const wanted = search.value.trim();
    const found = parts.map((part) => choicesOf(part, wanted)).filter(({ list }) => list.length > 0);
    const key = JSON.stringify([found.map(({ part, list }) => [part.part, list.map(({ label }) => label)]), wanted]);
    if (key !== drawn) {
      drawn = key;
      rebuild(found, wanted);
    }
    for (const button of groups.querySelectorAll(".choice")) {
      if (button.dataset.view === JSON.stringify(view)) setAttribute(button, "aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    none.hidden = found.length > 0 || wanted === "";
    setText(none, `Nothing is called “${wanted}”.`);
    setText(fold, `Showing: ${nameOf(view, parts)}`);
  };
  const rebuild = (found, wanted) => {
    // What had the focus is there again afterwards, if it still is.
    const focused = groups.contains(document.activeElement) ? (document.activeElement.dataset.view ?? null) : null;
    groups.replaceChildren(...found.map(({ part, list }) => {
      const isOpen = wanted !== "" || (opened.get(part.part) ?? holds(part, view));
      const summary = el("summary", {}, el("span", {}, part.title), el("span", { class: "group-count" }, String(list.filter(({ whole }) => !whole).length)));
      const details = el("details", { class: "group", "data-testid": `metrics-group-${part.part}`, ...(isOpen ? { open: "" } : {}) }, summary, el("ul", {}, list.map((choice) => el("li", {}, button(choice)))));
      summary.addEventListener("click", () => opened.set(part.part, !details.open));
      return details;
    }));
    if (focused !== null) [...groups.querySelectorAll(".choice")].find((node) => node.dataset.view === focused)?.focus();
  };
  const button = ({ label, hint, view: chosen, whole }) =>
    el("button", { type: "button", class: whole ? "choice whole" : "choice", title: hint, "data-testid": "metrics-choice", "data-view": JSON.stringify(chosen), click: () => {
      search.value = "";
      open(false);
      // What is folded away cannot keep the focus.
      if (fold.checkVisibility()) fold.focus();
      choose(chosen);
    } }, label);

  return (nextParts, nextView) => {
    parts = nextParts;
    view = nextView;
    draw();
  };
}

function choicesOf(part, wanted) {
  const all = { label: `All of ${part.title.toLowerCase()}`, hint: null, view: { kind: "part", part: part.part }, whole: true };
  const pods = part.pods.map(({ namespace, pod }) => ({ label: podName(namespace, pod), hint: null, view: { kind: "pod", namespace, pod }, search: "" }));
  const families = part.families.map((family) => ({ label: titleOf(family), hint: `${family.family}: ${family.help}`, view: { kind: "family", family: family.family }, search: [family.family, ...family.labels].join(" ") }));
  const found = [...pods, ...families].filter(({ label, search }) => matches(wanted, label, search, part.title));
  const list = found.slice(0, MOST_FOUND);
  return { part, list: wanted === "" ? [all, ...list] : list };
}

function holds(part, view) {
  if (view?.kind === "part") return part.part === view.part;
  if (view?.kind === "pod") return part.pods.some(({ namespace, pod }) => namespace === view.namespace && pod === view.pod);
  return part.families.some(({ family }) => family === view?.family);
}

function podName(namespace, pod) {
  return namespace === null ? pod : `${namespace}/${pod}`;
}

/** What a view shows, for people. */
export function nameOf(view, parts) {
  if (view?.kind === "pod") return podName(view.namespace, view.pod);
  if (view?.kind === "family") {
    const family = parts.flatMap(({ families }) => families).find((one) => one.family === view.family);
    return family === undefined ? view.family : titleOf(family);
  }
  return parts.find(({ part }) => part === view?.part)?.title ?? "nothing yet";
}
