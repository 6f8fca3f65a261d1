// The node page: the node's events come in, the page is drawn from what they sum up to.

import { createChain } from "./chain.js";
import { connect } from "./connection.js";
import { byId, setText } from "./dom.js";
import { createMetrics } from "./metrics.js";
import { apply, count, emptyModel, warn } from "./model.js";
import { createOverview } from "./overview.js";
import { createPlots } from "./plots.js";
import { createProofs } from "./proofs.js";

let model = emptyModel();
/** A history that is still coming in. Until it is whole, what was there before stays in sight. */
let coming = null;
let connection = "connecting";
let lostAt = null;
let frame = 0;

const announce = createAnnouncer(byId("announcer"));
const drawers = [
  createChain(byId("chain"), byId("chain-progress"), (title, state) => announce(`${title}: ${state}`)),
  createPlots(byId("plots"), byId("plots-note")),
  createProofs({
    table: byId("proofs"),
    rows: byId("proof-rows"),
    empty: byId("proofs-empty"),
    note: byId("proofs-note"),
    more: byId("proofs-more"),
    dialog: byId("proof-dialog"),
  }),
  createMetrics(),
];
const drawOverview = createOverview();

connect("/api/events", {
  open() {
    coming = emptyModel();
  },
  event(event, json) {
    take(coming ?? model, event, json);
    if (coming === null) changed();
  },
  live(totals) {
    if (coming !== null) model = coming;
    coming = null;
    count(model, totals);
    enter("live");
  },
  lost() {
    coming = null;
    if (connection === "live") lostAt = new Date().toISOString();
    lostAt ??= new Date().toISOString();
    enter(model.stopped === null ? "reconnecting" : "stopped");
    return model.stopped !== null;
  },
  unreadable() {
    warn(coming ?? model, "The node sent an event that this page cannot read; reload the page.");
    changed();
  },
});
changed();

function take(into, event, json) {
  try {
    apply(into, event, json);
  } catch {
    warn(into, `The node sent an event of kind “${event.kind}” that this page cannot read; reload the page.`);
  }
  if (into === model && model.stopped !== null) enter("stopped");
}

function enter(next) {
  const stopped = next === "live" && model.stopped !== null;
  const state = stopped ? "stopped" : next;
  if (connection !== state) announce(`Connection: ${state}`);
  connection = state;
  changed();
}

/** Draws before the next frame, once however much has changed. */
function changed() {
  if (frame !== 0) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    drawOverview(model, connection, lostAt);
    for (const draw of drawers) draw(model);
  });
}

/** Says things to screen readers, together when they come together. */
function createAnnouncer(region) {
  let waiting = [];
  return (text) => {
    waiting.push(text);
    if (waiting.length > 1) return;
    setTimeout(() => {
      setText(region, waiting.join(". "));
      waiting = [];
    }, 500);
  };
}
