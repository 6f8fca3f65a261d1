// What is known of the node: its events, summed up. Nothing here touches the document.

/** As many as the node itself replays, so that a page shows the same however long it has been open. */
const MAX_SAMPLES = 900;
const MAX_PROOFS = 200;
const MAX_WARNINGS = 200;

const COUNTERS = ["network_rx_bytes", "network_tx_bytes", "disk_read_bytes", "disk_written_bytes", "context_switches", "interrupts"];

export function emptyModel() {
  return {
    detect: null,
    boot: null,
    enclave: null,
    /** Events of this enclave's run by its states: `created`, `initialized` … */
    states: {},
    /** What this enclave's run has reached; a new run begins anew. */
    run: emptyRun(),
    /** `{time, sequence, boot, at, metrics, rates, joined}`, oldest first; `metrics` is null where the machine was not measured. */
    samples: [],
    /** By proof id, oldest first: `{proof, checks, at, json, settled, reward}`. */
    proofs: new Map(),
    lastSettled: null,
    lastReward: null,
    warnings: [],
    stopped: null,
    totals: { samples: 0, proofs: 0, settled: 0 },
    simulated: false,
  };
}

function emptyRun() {
  return { firstSample: null, lastSample: null, lastBatch: null, firstProof: null, lastProof: null, settled: null, reward: null };
}

/** Takes in one event; `json` is its text as it came. Kinds from the future are passed over. */
export function apply(model, event, json) {
  if (Object.hasOwn(KINDS, event.kind)) KINDS[event.kind](model, event, json);
  // One sign of simulation outweighs everything that says otherwise.
  const said = [event.assurance, event.tee_type, event.chosen, event.proof?.assurance, event.proof?.tee_type];
  if (said.includes("simulated")) model.simulated = true;
}

/** Takes over how much there has been in all, as the history does not go back to the beginning. */
export function count(model, totals) {
  if (totals !== null) model.totals = { ...model.totals, ...totals };
}

/** A warning of the page itself. */
export function warn(model, detail) {
  model.warnings.push({ at: new Date().toISOString(), detail });
  keepNewest(model.warnings, MAX_WARNINGS);
}

/** The weakest assurance that the node has shown, or null. */
export function assurance(model) {
  return model.simulated ? "simulated" : (model.boot?.assurance ?? null);
}

/** The time between samples in milliseconds, or null while there are too few. */
export function interval(model) {
  const recent = model.samples.slice(-31);
  const steps = recent.slice(1).map((sample, i) => sample.time - recent[i].time).sort((a, b) => a - b);
  return steps.length === 0 ? null : steps[Math.floor(steps.length / 2)];
}

const KINDS = {
  detect(model, event) {
    model.detect = event;
  },
  enclave(model, event) {
    // The page tells of the enclave that signs the samples.
    if (event.name !== "node") return;
    if (event.status === "created") {
      model.states = {};
      model.boot = null;
      model.run = emptyRun();
    }
    model.enclave = { ...event };
    model.states[event.status] = event;
  },
  boot(model, event) {
    model.boot = event;
  },
  sample(model, event) {
    const { sequence, boot, measurement } = event;
    const previous = model.samples.at(-1);
    const { at, metrics } = measurement;
    const taken = { time: Date.parse(at), sequence, boot, at, metrics };
    taken.joined = previous !== undefined && previous.boot === taken.boot && taken.sequence === previous.sequence + 1;
    taken.rates = taken.joined && metrics !== null && previous.metrics !== null ? rates(previous, taken) : null;
    model.samples.push(taken);
    keepNewest(model.samples, MAX_SAMPLES);
    model.totals.samples += 1;
    model.run.firstSample ??= event;
    model.run.lastSample = event;
  },
  batch(model, event) {
    model.run.lastBatch = event;
  },
  proof(model, event, json) {
    const id = event.proof.proof_id;
    model.proofs.set(id, { proof: event.proof, checks: event.checks ?? [], at: event.at, json, settled: null, reward: null });
    if (model.proofs.size > MAX_PROOFS) model.proofs.delete(model.proofs.keys().next().value);
    model.totals.proofs += 1;
    model.run.firstProof ??= model.proofs.get(id);
    model.run.lastProof = model.proofs.get(id);
  },
  settled(model, event) {
    const proof = model.proofs.get(event.proof_id);
    if (proof !== undefined) proof.settled = event;
    model.lastSettled = event;
    model.totals.settled += 1;
    model.run.settled = event;
  },
  reward(model, event) {
    const proof = model.proofs.get(event.proof_id);
    if (proof !== undefined) proof.reward = event;
    model.lastReward = event;
    model.run.reward = event;
  },
  warning(model, event) {
    model.warnings.push(event);
    keepNewest(model.warnings, MAX_WARNINGS);
  },
  stopped(model, event) {
    model.stopped = event;
  },
};

/** Counters since boot as rates a second. A counter that went back began anew: there is no rate. */
function rates(before, after) {
  // What was not measured is a gap in its sample.
  if (before.metrics === null || after.metrics === null) return null;
  const seconds = (after.time - before.time) / 1000;
  if (!(seconds > 0)) return null;
  return Object.fromEntries(
    COUNTERS.map((name) => {
      const grown = Number(after.metrics[name]) - Number(before.metrics[name]);
      return [name, grown >= 0 ? grown / seconds : null];
    }),
  );
}

function keepNewest(list, most) {
  if (list.length > most) list.splice(0, list.length - most);
}
