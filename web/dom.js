// Building the page. Text goes in as text nodes only, so that nothing the node reports can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text. An attribute that is null is left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, String(value));
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Sets text, and leaves the document alone when it is the same: selections and focus stay. */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  const wanted = String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

/** A tick, a cross or a dash, which says nothing to a screen reader: the words stand beside it. */
export function mark(state) {
  const shapes = { ok: "M3.5 8.5l3 3 6-7", failed: "M4.5 4.5l7 7m0-7l-7 7", waiting: "M8 8h.01", unchecked: "M4.5 8h7" };
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", focusable: "false" },
    svg("path", { d: shapes[state] ?? shapes.waiting, fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

/** A button that copies what `text()` gives and says that it did. */
export function copyButton(what, text, label = "Copy") {
  const caption = el("span", {}, label);
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${what}` }, caption);
  let timer = 0;
  button.addEventListener("click", async () => {
    const done = await copy(text());
    setText(caption, done ? "Copied" : "Failed");
    clearTimeout(timer);
    timer = setTimeout(() => setText(caption, label), 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// Browsers hide the clipboard from pages over plain HTTP on another machine; the old way still works there.
function copyBySelection(text) {
  const area = el("textarea", { class: "unseen", readonly: "", "aria-hidden": "true" });
  area.value = text;
  // A modal dialog makes all outside of it inert, which selecting needs to be inside of.
  const home = document.querySelector("dialog[open]") ?? document.body;
  const focused = document.activeElement;
  home.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
