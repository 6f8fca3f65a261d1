// The eight links of the chain of trust: what each says of the node in each state.
//
// A link is `{state, at, sentence, facts, sections}`: `state` is ok, waiting or failed; facts are
// `[label, value, kind]` with kind text, hash or time; a section is `{key, title, build()}` and is built anew
// when its key changes.

import { el, mark } from "./dom.js";
import { factList } from "./facts.js";
import { grouped, milliseconds } from "./format.js";

/** Names of the TEEs for people. */
const TEES = {
  sgx: "Intel SGX",
  tdx: "Intel TDX",
  sev: "AMD SEV-SNP",
  trustzone: "Arm TrustZone",
  keystone: "Keystone",
  tpm: "TPM 2.0",
  nitro: "AWS Nitro",
  simulated: "Simulated TEE",
};

const NOT_REACHED = "Not reached: a link above has failed.";

export const LINKS = [
  { id: "tee", title: "TEE detected", judge: teeDetected },
  { id: "enclave", title: "Enclave created", judge: enclaveCreated },
  { id: "evidence", title: "Boot evidence verified", judge: evidenceVerified },
  { id: "policy", title: "Policy appraised", judge: policyAppraised },
  { id: "samples", title: "Samples signed", judge: samplesSigned },
  { id: "proofs", title: "Proofs verified", judge: proofsVerified },
  { id: "settled", title: "Settled", judge: settled },
  { id: "rewarded", title: "Rewarded", judge: rewarded },
];

/** All links judged. What waits below a failed link is said not to be reached. */
export function judgeAll(model) {
  let broken = false;
  return LINKS.map(({ judge }) => {
    const link = { facts: [], sections: [], at: null, ...judge(model) };
    if (broken && link.state === "waiting") link.sentence = NOT_REACHED;
    broken ||= link.state === "failed";
    return link;
  });
}

export function teeName(kind) {
  return TEES[kind] ?? String(kind);
}

function waiting(sentence) {
  return { state: "waiting", sentence };
}

function teeDetected({ detect }) {
  if (detect === null) return waiting("Waiting for the node to look for trusted hardware.");
  const simulated = detect.chosen === "simulated";
  const tees = Array.isArray(detect.tees) ? detect.tees : [];
  return {
    state: "ok",
    at: detect.at,
    sentence: simulated
      ? "No trusted hardware is used: a simulation stands in for it."
      : `${teeName(detect.chosen)} was found and is used.`,
    facts: [["Chosen", teeName(detect.chosen)], ["Why", detect.reason]],
    sections: [{ key: detect, title: "What was looked for", build: () => el("ul", { class: "tees" }, tees.map(teeReport)) }],
  };
}

function teeReport({ kind, status, checks = [], missing = [] }) {
  const found = checks.filter(({ outcome }) => outcome === "found").length;
  return el(
    "li",
    {},
    el("details", { class: "minor" },
      el("summary", {}, el("span", { class: "minor-name" }, teeName(kind)), el("span", { class: `tag tag-${tag(status)}` }, status)),
      el("p", { class: "minor-text" }, `${found} of ${checks.length} signs found.`),
      el("ul", { class: "minor-list" },
        checks.map(({ what, source, outcome, detail }) => el("li", {}, el("b", {}, `${what}: ${outcome}`), ` ${detail} (${source})`)),
        missing.map(({ what, how_to_get_it }) => el("li", {}, el("b", {}, `Missing: ${what}.`), ` ${how_to_get_it}`)))),
  );
}

function tag(status) {
  return { usable: "ok", present: "warn" }[status] ?? "quiet";
}

function enclaveCreated({ enclave, states, stopped, detect }) {
  if (enclave === null) return waiting(detect === null ? "Waiting for a TEE to create the enclave in." : "Waiting for the enclave to start.");
  const ended = ["terminated", "error"].includes(enclave.status) && stopped === null;
  const times = ["created", "initialized", "attested", "running", "suspended", "terminated", "error"].filter((status) => states[status] !== undefined);
  return {
    state: ended ? "failed" : "ok",
    at: (ended ? enclave : (states.created ?? enclave)).at,
    sentence: ended
      ? "The enclave has ended, and nothing is signed without it."
      : "A small separate program holds the signing key and gives it to nobody.",
    facts: [
      ["Name", enclave.name],
      ["Runs in", teeName(enclave.tee_type)],
      ["State", enclave.status],
      ["Program", enclave.image],
      ["Program SHA-256", enclave.image_hash, "hash"],
      ["Process", enclave.pid],
      ["Boot id", enclave.boot_id, "hash"],
      ["Signing key", enclave.tee_key, "hash"],
      ...times.map((status) => [capital(status), states[status].at, "time"]),
    ],
  };
}

function evidenceVerified({ boot, enclave }) {
  if (boot === null) return waiting(enclave === null ? "Waiting for the enclave’s evidence." : "Waiting for the verifier to check what the enclave has signed at boot.");
  const claims = boot.appraisal?.claims;
  if (claims === undefined || claims === null) {
    return {
      state: "failed",
      at: boot.at,
      sentence: "The boot evidence is not genuine: its signatures or contents did not hold.",
      facts: [["Evidence id", boot.evidence_id, "hash"], ["Evidence file", boot.evidence_file]],
    };
  }
  const tcb = claims.tcb ?? {};
  const simulated = claims.assurance === "simulated";
  return {
    state: "ok",
    at: boot.at,
    sentence: simulated
      ? "The evidence is well signed, by a test vendor that anyone can be."
      : `${teeName(claims.tee)} signed what was started, and its maker’s certificates hold.`,
    facts: [
      ["TEE", teeName(claims.tee)],
      ["Assurance", claims.assurance],
      ["Evidence id", boot.evidence_id, "hash"],
      ["Evidence file", boot.evidence_file],
      ...binding(claims.binding),
      ["Debug mode", claims.debug ? "on: its memory can be read from outside" : "off"],
      ["TCB", tcb.status],
      ["TCB date", tcb.date],
      ["TCB evaluation", tcb.evaluation],
      ["Advisories", list(tcb.advisories)],
      ["Device", claims.device?.id, "hash"],
      ["Named by", claims.device?.scheme],
      ["Report data", claims.report_data, "hash"],
      ["Purpose", claims.user_data?.purpose],
      ["Event log", claims.user_data?.event_log?.digest, "hash"],
      ...Object.entries(claims.measurements ?? {}).map(([name, value]) => [name, value, "hash"]),
      ["Endorsed until", claims.endorsed_until, "time"],
    ],
    sections: [
      attributes(boot, claims.attributes ?? {}),
      listed(boot, "TCB shortfalls", tcb.shortfalls, (one) => `${one.component}: has ${one.have}, needs ${one.needs} for ${one.level} since ${one.since}`),
      listed(boot, "Not signed by the hardware", claims.unsigned, (one) => `${one.what}: ${one.detail}`),
    ].filter((section) => section !== null),
  };
}

/** All that the TEE says of itself besides: much, and seldom wanted. */
function attributes(key, named) {
  const facts = Object.entries(named).map(([name, value]) => [name, value, /^(0x)?[0-9a-f]{24,}$/i.test(value) ? "hash" : "text"]);
  if (facts.length === 0) return null;
  const build = () => el("details", { class: "minor" }, el("summary", {}, el("span", { class: "minor-name" }, `${facts.length} signed values`)), factList(facts));
  return { key, title: "What the TEE says of itself", build };
}

/** What the evidence answers: words, and mostly a challenge in hex at their end. */
function binding(text) {
  const [, words, hex] = /^(.*?)\s*([0-9a-f]{32,})$/.exec(text ?? "") ?? [null, text, null];
  return [["Answers", words], ["Challenge", hex, "hash"]];
}

function policyAppraised({ boot }) {
  if (boot === null) return waiting("Waiting for the evidence, to judge it by the policy.");
  const appraisal = boot.appraisal ?? {};
  const findings = Array.isArray(appraisal.findings) ? appraisal.findings : [];
  const failed = findings.filter(({ passed }) => passed !== true);
  const unchecked = findings.filter(({ passed, checked }) => passed === true && checked === false).length;
  const accepted = boot.verdict === "accepted" && failed.length === 0;
  return {
    state: accepted ? "ok" : "failed",
    at: appraisal.appraised_at ?? boot.at,
    sentence: accepted
      ? `The policy “${appraisal.policy}” accepts this node: ${unchecked === 0 ? "all" : `${findings.length - unchecked} of`} ${findings.length} rules passed${unchecked === 0 ? "" : `, ${unchecked} not checked on purpose`}.`
      : `The policy rejects this node: ${failed.length} of ${findings.length} rules failed${failed.length > 0 ? `, first “${failed[0].rule}”` : ""}.`,
    facts: [
      ["Verdict", boot.verdict],
      ["Policy", appraisal.policy],
      ["Policy id", appraisal.policy_id, "hash"],
      ["Holds until", appraisal.expires_at, "time"],
      ["Node", boot.node_id, "hash"],
      ["Wallet", boot.wallet, "hash"],
    ],
    sections: [{ key: boot, title: `Findings (${findings.length})`, build: () => el("ul", { class: "findings", "data-testid": "findings" }, findings.map(finding)) }],
  };
}

function finding({ rule, passed, checked, detail }) {
  const good = passed === true;
  const unchecked = good && checked === false;
  return el(
    "li",
    { "data-testid": "finding", "data-passed": good, "data-checked": !unchecked, class: unchecked ? "unchecked" : good ? "good" : "bad" },
    mark(unchecked ? "unchecked" : good ? "ok" : "failed"),
    el("span", { class: "unseen" }, unchecked ? "Not checked: " : good ? "Passed: " : "Failed: "),
    el("span", { class: "finding-rule" }, rule),
    el("span", { class: "finding-detail" }, unchecked ? `not checked: ${detail}` : detail),
  );
}

function samplesSigned(model) {
  const { firstSample, lastSample, lastBatch } = model.run;
  if (firstSample === null) return waiting("Waiting for the first measurement, which the enclave signs.");
  if (lastBatch === null) return waiting("The enclave chains each measurement at once. Waiting for its first signature over them.");
  const every = model.samples.length > 2 ? step(model) : null;
  return {
    state: "ok",
    at: lastSample.at,
    sentence: "Each measurement names the one before it, and the enclave signs the newest of them with all before, so that none can be dropped unseen.",
    facts: [
      ["In this run", grouped(model.totals.samples)],
      ["Every", every],
      ["Newest", lastSample.measurement.at, "time"],
      ["Number", grouped(lastSample.sequence)],
      ["Signed up to", grouped(lastBatch.first + lastBatch.count - 1)],
      ["Signature", lastBatch.signature, "hash"],
      ["Names before it", lastSample.previous, "hash"],
    ],
  };
}

function step({ samples }) {
  const last = samples.slice(-30);
  const mean = (last.at(-1).time - last[0].time) / (last.length - 1);
  return milliseconds(mean > 950 ? Math.round(mean / 1000) * 1000 : Math.round(mean));
}

function proofsVerified(model) {
  const { firstProof, lastProof } = model.run;
  if (firstProof === null) {
    return waiting(model.run.firstSample === null ? "Waiting for samples to prove." : "Waiting for the first window to end, to prove its samples.");
  }
  const bad = [...model.proofs.values()].filter((entry) => entry.proof.boot_id === lastProof.proof.boot_id && !allPassed(entry));
  const failed = lastProof.checks.filter(({ passed }) => passed !== true).map(({ check }) => check);
  return {
    state: allPassed(lastProof) ? "ok" : "failed",
    at: lastProof.at,
    sentence: allPassed(lastProof)
      ? "Each window of samples becomes one proof, and each proof is checked as a stranger would check it."
      : `The newest proof does not hold: ${failed.join(", ") || "it was not checked"}.`,
    facts: [
      ["In this run", grouped(model.totals.proofs)],
      ["Of those shown, failed", grouped(bad.length)],
      ["Newest window", grouped(lastProof.proof.sequence)],
      ["Newest proof", lastProof.proof.proof_id, "hash"],
      ["Merkle root", lastProof.proof.merkle_root, "hash"],
      ["Holds until", lastProof.proof.expires_at, "time"],
      ["Verification key", lastProof.proof.verification_key, "hash"],
    ],
  };
}

/** Whether a proof was checked, and every check passed. */
export function allPassed({ checks }) {
  return checks.length > 0 && checks.every(({ passed }) => passed === true);
}

function settled(model) {
  const last = model.run.settled;
  if (last === null) return waiting("Waiting for the ledger to take the first proof.");
  return {
    state: "ok",
    at: last.at,
    sentence: "The ledger has checked the proof by its own rules and keeps it; none counts twice.",
    facts: [
      ["In this run", grouped(model.totals.settled)],
      ["Height", grouped(last.height)],
      ["Newest entry", last.entry, "hash"],
      ["Newest proof", last.proof_id, "hash"],
    ],
  };
}

function rewarded(model) {
  const last = model.run.reward;
  if (last === null) return waiting("Waiting for the first settled proof to be rewarded.");
  return {
    state: "ok",
    at: last.at,
    sentence: `${grouped(last.accrued)} units have been credited to the node’s wallet.`,
    facts: [
      ["Credited in all", `${grouped(last.accrued)} units`],
      ["For the newest proof", `${grouped(last.amount)} units`],
      ["Wallet", last.wallet, "hash"],
      ["Newest proof", last.proof_id, "hash"],
    ],
  };
}

function listed(key, title, items, sentence) {
  if (!Array.isArray(items) || items.length === 0) return null;
  return { key, title, build: () => el("ul", { class: "minor-list" }, items.map((item) => el("li", {}, sentence(item)))) };
}

function list(items) {
  return Array.isArray(items) && items.length > 0 ? items.join(", ") : "none";
}

function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
