// What is always in sight: the assurance, the connection, the figures, the node's names and the warnings.

import { byId, el, setAttribute, setText } from "./dom.js";
import { createFacts } from "./facts.js";
import { grouped, time } from "./format.js";
import { assurance } from "./model.js";

const ASSURANCE = {
  simulated: "Simulated TEE: proves nothing about hardware",
  "measured-boot": "Measured boot: a TPM vouches for what was started, not for what runs now.",
  "hardware-enclave": "Hardware enclave: the signing key is inside trusted hardware; the system that it measures is not.",
  "hardware-vm": "Hardware VM: the whole node runs inside trusted hardware.",
};
const CONNECTION = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", stopped: "Stopped" };

/** The result draws a model, and the state of the connection with the time when it was lost. */
export function createOverview() {
  const drawIdentity = createFacts(byId("identity"));
  const drawWarnings = createWarnings();
  return (model, connection, lostAt) => {
    drawAssurance(assurance(model));
    drawConnection(model, connection, lostAt);
    drawFigures(model);
    drawIdentity(identity(model));
    drawWarnings(model.warnings);
  };
}

function drawAssurance(level) {
  const banner = byId("assurance-banner");
  const known = level ?? "unknown";
  setAttribute(banner, "data-assurance", known);
  setAttribute(byId("assurance"), "data-assurance", known);
  setText(byId("assurance-text"), level ?? "not yet known");
  setText(
    byId("assurance-banner-text"),
    level === null
      ? "Assurance is not yet known: waiting for boot evidence."
      : (ASSURANCE[level] ?? `Assurance “${level}”, which this page does not know: rely on nothing.`),
  );
  setText(document.head.querySelector("title"), level === null ? "Nautilus node" : `Nautilus node (${level})`);
}

function drawConnection({ stopped, samples }, connection, lostAt) {
  setAttribute(byId("connection"), "data-state", connection);
  setText(byId("connection-text"), CONNECTION[connection]);
  const notice = byId("notice");
  const text = noticeText(stopped, samples, connection, lostAt);
  notice.hidden = text === null;
  setText(notice, text ?? "");
}

function noticeText(stopped, samples, connection, lostAt) {
  if (connection === "stopped") {
    const tally = stopped.settled === undefined ? "" : ` In this run ${grouped(stopped.settled)} proofs were settled, for ${grouped(stopped.reward)} units.`;
    return `The node stopped at ${time(stopped.at)}: ${stopped.reason}.${tally} What is shown is how it was.`;
  }
  if (connection !== "reconnecting") return null;
  const until = samples.length === 0 ? "" : ` What is shown is how it was at ${time(samples.at(-1).at)}.`;
  return `The connection to the node was lost at ${time(lostAt)}, and is being tried again.${until}`;
}

function drawFigures({ lastReward, lastSettled, totals, samples, run }) {
  setText(byId("reward-accrued"), grouped(lastReward?.accrued ?? 0));
  setText(
    byId("reward-sub"),
    lastReward === null ? "Waiting for the first settled proof." : `${grouped(lastReward.amount)} for the newest proof`,
  );
  setText(byId("settled-count"), grouped(totals.settled));
  setText(
    byId("settled-sub"),
    lastSettled !== null ? `ledger height ${grouped(lastSettled.height)}` : run.firstProof === null ? "Waiting for the first proof." : "Waiting for the ledger.",
  );
  setText(byId("sample-count"), grouped(totals.samples));
  setText(byId("sample-sub"), samples.length === 0 ? "Waiting for the first sample." : `newest at ${time(samples.at(-1).at)}`);
}

function identity({ boot, samples, proofs }) {
  const newest = [...proofs.values()].at(-1)?.proof;
  const node = boot?.node_id ?? newest?.node_id;
  const wallet = boot?.wallet ?? newest?.wallet;
  if (node === undefined && samples.length === 0) return [["Node", "waiting for boot evidence"]];
  return [["Node", node, "hash"], ["Wallet", wallet, "hash"]];
}

function createWarnings() {
  let drawn = null;
  return (warnings) => {
    const newest = warnings.at(-1) ?? null;
    const list = byId("warnings");
    list.hidden = newest === null;
    byId("warnings-empty").hidden = newest !== null;
    setText(byId("warnings-note"), newest === null ? "None" : `${grouped(warnings.length)} shown`);
    if (newest === drawn) return;
    drawn = newest;
    list.replaceChildren(
      ...warnings.toReversed().map(({ at, detail }) =>
        el("li", { "data-testid": "warning" }, el("time", { datetime: at, title: at }, time(at)), el("span", {}, detail))),
    );
  };
}
