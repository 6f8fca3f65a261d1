// What there is to look at: series by part, pod and family, and what of them goes into one plot. Nothing here touches
// the document.

export const PARTS = [
  { part: "system", title: "System" },
  { part: "network", title: "Network" },
  { part: "container", title: "Pods" },
  { part: "security", title: "Security" },
  { part: "custom", title: "Custom" },
];

const WORDS = { cpu: "CPU", tee: "TEE", io: "I/O", rx: "received", tx: "sent", receive: "received", transmit: "sent", api: "API", id: "ID" };
/** Two directions of one thing share a plot; the name of the direction is the line's. */
const DIRECTIONS = {
  receive: "Received", received: "Received", rx: "Received", in: "In", read: "Read", reads: "Read",
  transmit: "Sent", transmitted: "Sent", sent: "Sent", tx: "Sent", out: "Out", write: "Written", written: "Written", writes: "Written",
};
const MOST_PAIRED = 3;
/** What a person looks for first comes first. */
const FIRST = [
  "pod_cpu", "pod_memory", "pod_network", "cpu_usage", "cpu_efficiency", "memory_usage", "load_average", "disk_usage", "network_receive_bytes",
  "network_transmit_bytes", "disk_read_bytes", "disk_written_bytes", "peer_latency", "response_time", "connections", "node_attested", "tee_integrity",
  "enclave_trust", "compliance_score", "threat_level", "security_events", "processes", "threads", "file_descriptors", "pods", "containers",
];
/** Said once is enough: a time or a version does not make a curve. */
const NO_CURVE = /_(info|timestamp_seconds)$/;

/** The parts that have series, each with its pods and families: `{part, title, pods, families}`. */
export function catalogue(series) {
  return PARTS.map(({ part, title }) => {
    const own = series.filter((one) => one.part === part);
    return { part, title, pods: podsOf(own), families: familiesOf(own) };
  }).filter(({ families }) => families.length > 0);
}

function podsOf(series) {
  const pods = new Map();
  for (const { labels, last } of series) {
    if (labels.pod === undefined) continue;
    const { namespace = null, pod } = labels;
    const key = JSON.stringify([namespace, pod]);
    const known = pods.get(key);
    pods.set(key, { namespace, pod, last: Math.max(last, known?.last ?? 0) });
  }
  return [...pods.values()].sort((one, other) => compare(one.namespace ?? "", other.namespace ?? "") || compare(one.pod, other.pod));
}

function familiesOf(series) {
  const families = new Map();
  for (const one of series) {
    const { family, unit, kind, places, help, part, labels } = one;
    const known = families.get(family) ?? { family, unit, kind, places, help, part, count: 0, perPod: false, labels: [] };
    known.count += 1;
    known.perPod ||= labels.pod !== undefined;
    known.labels.push(Object.values(labels).join(" "));
    families.set(family, known);
  }
  return [...families.values()].sort((one, other) => weight(one.family) - weight(other.family) || compare(one.family, other.family));
}

function weight(family) {
  const at = FIRST.findIndex((one) => family.includes(one));
  return at === -1 ? FIRST.length : at;
}

function compare(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** `nautilus_cpu_usage_ratio` as a person says it: “CPU usage”. */
export function titleOf({ family, unit }) {
  const bare = family.replace(/^nautilus_/, "").replace(new RegExp(`_${unit}$`), unit === "" ? "$&" : "");
  return inWords(bare);
}

function inWords(name) {
  const words = name.split("_").filter((word) => word !== "").map((word) => WORDS[word] ?? word);
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * The plots of a view: `{id, title, unit, kind, help, part, lines: [{family, name}], labels}`. `labels` are those that every
 * series must have.
 */
export function plotsOf(view, parts) {
  const all = parts.flatMap(({ families }) => families);
  if (view.kind === "family") return all.filter(({ family }) => family === view.family).map((family) => plotOf([family], {}));
  if (view.kind === "pod") {
    const labels = view.namespace === null ? { pod: view.pod } : { namespace: view.namespace, pod: view.pod };
    return paired(all.filter(({ family, perPod }) => perPod && !NO_CURVE.test(family)), Infinity).map((families) => plotOf(families, labels));
  }
  const part = parts.find((one) => one.part === view.part);
  const drawn = (part?.families ?? []).filter(({ family }) => !NO_CURVE.test(family));
  return paired(drawn).map((families) => plotOf(families, {}));
}

/** Families that differ in nothing but a direction, together, unless each has many series of its own. */
function paired(families, most = MOST_PAIRED) {
  const groups = new Map();
  for (const family of families) {
    const name = family.count > most ? family.family : stem(family.family);
    const key = JSON.stringify([name, family.unit, family.kind]);
    groups.set(key, [...(groups.get(key) ?? []), family]);
  }
  return [...groups.values()];
}

function stem(family) {
  return family.split("_").map((word) => (Object.hasOwn(DIRECTIONS, word) ? "*" : word)).join("_");
}

function plotOf(families, labels) {
  const [first] = families;
  const alone = families.length === 1;
  const bare = alone ? first : { ...first, family: first.family.split("_").filter((word) => !Object.hasOwn(DIRECTIONS, word)).join("_") };
  const lines = families.map((one) => ({ family: one.family, name: alone ? null : directionOf(one.family) }));
  return { id: families.map(({ family }) => family).join("+"), title: titleOf(bare), unit: first.unit, kind: first.kind, family: first.family, help: families.map(({ help }) => help).join(" "), part: first.part, lines, labels };
}

function directionOf(family) {
  const word = family.split("_").find((one) => Object.hasOwn(DIRECTIONS, one));
  return DIRECTIONS[word];
}

/** The selector that names a family's series with these labels. */
export function selectorOf(family, labels) {
  const escaped = (text) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? family : `${family}{${pairs.join(",")}}`;
}

/** What tells a series from the others of its plot: its direction, and labels that the plot does not ask for. */
export function lineName(direction, labels, asked) {
  const own = Object.entries(labels).filter(([name]) => !Object.hasOwn(asked, name));
  const pod = labels.pod !== undefined && !Object.hasOwn(asked, "pod") ? [[labels.namespace, labels.pod].filter((one) => one !== undefined).join("/")] : [];
  const rest = own.filter(([name]) => name !== "pod" && !(name === "namespace" && labels.pod !== undefined));
  const words = [direction, ...pod, ...rest.map(([name, value]) => (rest.length === 1 ? value : `${name} ${value}`))];
  return words.filter((word) => word !== null && word !== "").join(" · ");
}

/** Whether a text for which a person searches is in any of these. */
export function matches(wanted, ...texts) {
  const words = wanted.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const all = texts.join(" ").toLowerCase();
  return words.every((word) => all.includes(word));
}
