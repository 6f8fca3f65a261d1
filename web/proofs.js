// The table of proofs, and the sheet with all of one proof.

import { copyButton, el, mark, setText } from "./dom.js";
import { factList } from "./facts.js";
import { grouped, indented, milliseconds, time } from "./format.js";
import { allPassed } from "./links.js";

/** More on request: who looks wants the newest. */
const ROWS_AT_FIRST = 8;

/** Builds the table; the result draws a model. `parts` are the table's elements by name. */
export function createProofs({ table, rows, empty, note, more, dialog }) {
  const drawn = new Map();
  let all = false;
  let model = null;
  const sheet = createSheet(dialog);

  const draw = () => {
    if (model === null) return;
    const newestFirst = [...model.proofs.entries()].reverse();
    const shown = all ? newestFirst : newestFirst.slice(0, ROWS_AT_FIRST);
    const wanted = shown.map(([id, entry]) => {
      const row = drawn.get(id) ?? createRow(entry, () => sheet(entryOf(id) ?? entry));
      drawn.set(id, row);
      row.draw(entry);
      return row.node;
    });
    const ids = new Set(shown.map(([id]) => id));
    for (const id of [...drawn.keys()].filter((one) => !ids.has(one))) drawn.delete(id);
    place(rows, wanted);
    table.hidden = newestFirst.length === 0;
    empty.hidden = newestFirst.length > 0;
    more.hidden = newestFirst.length <= ROWS_AT_FIRST;
    setText(more, all ? `Show the newest ${ROWS_AT_FIRST}` : `Show all ${newestFirst.length}`);
    setText(empty, emptyText(model));
    setText(note, noteText(model, newestFirst));
  };
  const entryOf = (id) => model.proofs.get(id);
  more.addEventListener("click", () => {
    all = !all;
    draw();
  });
  return (next) => {
    model = next;
    draw();
  };
}

/** Makes `wanted` the children, moving as little as possible, so that focus stays where it is. */
function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

function emptyText({ run, stopped }) {
  if (stopped !== null) return "The node stopped before a window ended.";
  if (run.firstSample === null) return "Waiting for the first signed sample; a window of samples makes a proof.";
  return "Waiting for the first window to end; its samples make the first proof.";
}

function noteText({ totals }, entries) {
  if (entries.length === 0) return "None yet";
  const bad = entries.filter(([, entry]) => !allPassed(entry)).length;
  const made = `${grouped(totals.proofs)} made`;
  return bad === 0 ? `${made}, all hold` : `${made}, ${bad} of the last ${entries.length} do not hold`;
}

function createRow({ proof, checks }, open) {
  const { sequence, time_range: range, covered, slots } = proof;
  const settled = el("span", { "data-testid": "proof-settled" });
  const reward = el("span", { "data-testid": "proof-reward" });
  const full = covered === slots;
  const button = el("button", { type: "button", class: "button small", "data-testid": "proof-open", "aria-haspopup": "dialog", "aria-label": `Details of window ${sequence}` }, "Details");
  const passed = checks.filter((check) => check.passed === true).length;
  const node = el(
    "tr",
    { role: "row", "data-testid": "proof-row", "data-sequence": sequence, "data-passed": passed, "data-checks": checks.length },
    cell("Window", el("span", { class: "window" }, el("b", {}, `#${grouped(sequence)}`), " ", el("span", { class: "window-time" }, `${time(range?.start)} – ${time(range?.end)}`))),
    cell("Samples", el("span", { class: full ? "samples" : "samples short", title: full ? "every slot of the window has a sample" : "some slots of the window have no sample" }, `${grouped(covered)} of ${grouped(slots)}`)),
    cell("Checks", el("span", { class: "checks" }, ticks(checks), el("span", { class: passed === checks.length ? "check-count" : "check-count bad" }, `${passed}/${checks.length}`))),
    cell("Settled at", settled, "number"),
    cell("Reward", reward, "number"),
    cell("", button, "action"),
  );
  node.addEventListener("click", (event) => {
    // Who selects text in a row does not mean to open it.
    if (event.target.closest("button") === button || getSelection()?.isCollapsed !== false) open();
  });
  const draw = (entry) => {
    setText(settled, settledText(entry));
    setText(reward, entry.reward === null ? "–" : grouped(entry.reward.amount));
    settled.className = entry.settled === null ? "pending" : "";
    reward.className = entry.reward === null ? "pending" : "rewarded";
  };
  return { node, draw };
}

function settledText(entry) {
  if (entry.settled !== null) return `height ${grouped(entry.settled.height)}`;
  return allPassed(entry) ? "waiting" : "not settled";
}

// The roles say again what the elements are: a narrow page lays the table out as blocks, which takes the
// elements' own roles away.
function cell(label, content, kind = "") {
  return el("td", { role: "cell", "data-label": label, class: kind }, content);
}

function ticks(checks) {
  return el(
    "ul",
    { class: "ticks", role: "list", "data-testid": "checks" },
    checks.map(({ check, passed }) => {
      const good = passed === true;
      const words = `${check}: ${good ? "passed" : "failed"}`;
      return el("li", { class: good ? "good" : "bad", title: words, "data-testid": "check", "data-passed": good }, mark(good ? "ok" : "failed"), el("span", { class: "unseen" }, words));
    }),
  );
}

function createSheet(dialog) {
  // A click on the backdrop arrives at the dialog itself.
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return (entry) => {
    const { proof, checks, json } = entry;
    const close = el("button", { type: "button", class: "button", "data-testid": "proof-close", click: () => dialog.close() }, "Close");
    const whole = indented(json);
    dialog.replaceChildren(
      el("div", { class: "sheet-head" }, el("h2", { id: "proof-dialog-title" }, `Proof of window ${grouped(proof.sequence)}`), close),
      el("div", { class: "sheet-body" },
        el("ul", { class: "findings checks-list" }, checks.map(({ check, passed }) => {
          const good = passed === true;
          return el("li", { class: good ? "good" : "bad" }, mark(good ? "ok" : "failed"), el("span", { class: "unseen" }, good ? "Passed: " : "Failed: "), el("span", { class: "finding-rule" }, check));
        })),
        factList(factsOf(entry)),
        el("div", { class: "json-head" },
          el("h3", {}, "The whole proof"),
          el("div", { class: "json-actions" }, copyButton("the proof as JSON", () => json, "Copy JSON"), downloadButton(proof, json))),
        el("pre", { class: "json", tabindex: 0, "data-testid": "proof-json", "aria-label": "The proof as JSON" }, whole)),
    );
    dialog.showModal();
    dialog.querySelector(".sheet-body").scrollTop = 0;
    close.focus();
  };
}

function factsOf(entry) {
  const { proof, settled, reward } = entry;
  const { summary = {} } = proof;
  const mean = (value) => (value === undefined ? null : `${(value / 100).toFixed(2)} %`);
  return [
    ["Proof id", proof.proof_id, "hash"],
    ["Node", proof.node_id, "hash"],
    ["Wallet", proof.wallet, "hash"],
    ["Assurance", proof.assurance],
    ["From", proof.time_range?.start, "time"],
    ["To", proof.time_range?.end, "time"],
    ["Samples", `${grouped(proof.covered)} of ${grouped(proof.slots)} slots, one every ${milliseconds(proof.interval_millis)}`],
    ["CPU, mean", mean(summary.cpu_usage_mean_bp)],
    ["CPU, highest", mean(summary.cpu_usage_max_bp)],
    ["Memory, highest", mean(summary.memory_usage_max_bp)],
    ["Disk, highest", mean(summary.disk_usage_max_bp)],
    ["Metrics hash", proof.metrics_hash, "hash"],
    ["Attestation hash", proof.attestation_hash, "hash"],
    ["Merkle root", proof.merkle_root, "hash"],
    ["TEE signature", proof.tee_signature, "hash"],
    ["Wallet signature", proof.seal_signature, "hash"],
    ["Expires", proof.expires_at, "time"],
    ["Settled", settledText(entry)],
    ["Ledger entry", settled?.entry, "hash"],
    ["Reward", reward === null ? null : `${grouped(reward.amount)} units`],
  ];
}

function downloadButton({ sequence, proof_id: id }, json) {
  const save = () => {
    const url = URL.createObjectURL(new Blob([json, "\n"], { type: "application/json" }));
    const name = `nautilus-proof-${sequence}-${String(id).replace(/[^0-9a-f]/g, "").slice(0, 8)}.json`;
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return el("button", { type: "button", class: "copy", "data-testid": "proof-download", click: save }, "Download");
}
