// The server's metrics, read every few seconds while the page is visible.

import { ask } from "./api.js";
import { byId, make, number } from "./dom.js";

const EVERY = 4000;
const LIST = "/recommend";

/** Show the metrics regularly; they stay hidden if the key may not read them. */
export async function watchMetrics() {
  if (document.visibilityState === "visible") {
    try {
      show(parse(await ask("GET", "/metrics", undefined, { quiet: true })));
    } catch (error) {
      byId("metrics").hidden = true;
      if (error.status === 401 || error.status === 403) return;
    }
  }
  setTimeout(watchMetrics, EVERY);
}

/** Parse Prometheus' text format into `[{name, labels, value}]`. */
export function parse(text) {
  return text.split("\n").flatMap((line) => {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) return [];
    const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((pair) => [pair[1], pair[2]]);
    return [{ name: match[1], labels: Object.fromEntries(labels), value: Number(match[3].replace("+Inf", "Infinity")) }];
  });
}

/** Return a quantile in seconds from cumulative buckets `[[bound, count]]`, linear within a bucket as in Prometheus. */
export function quantile(share, buckets) {
  const rank = share * buckets.at(-1)[1];
  const place = buckets.findIndex(([, count]) => count >= rank);
  const [low, before] = place === 0 ? [0, 0] : buckets[place - 1];
  const [high, count] = buckets[place];
  return Number.isFinite(high) ? low + ((high - low) * (rank - before)) / Math.max(count - before, 1) : low;
}

function show(samples) {
  const of = (name) => samples.filter((sample) => sample.name === name);
  const sum = (selected) => selected.reduce((total, { value }) => total + value, 0);
  const requests = of("polyrec_requests_total");
  const buckets = of("polyrec_request_seconds_bucket")
    .filter((sample) => sample.labels.path === LIST)
    .map((sample) => [sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le), sample.value]);
  const isTimed = buckets.length > 0 && buckets.at(-1)[1] > 0;
  const rounded = (value) => (value < 10 ? number(value) : String(Math.round(value)));
  const time = (share) => (isTimed ? `${rounded(1000 * quantile(share, buckets))} ms` : "–");
  const figures = {
    requests: String(sum(requests)),
    refused: String(sum(requests.filter((sample) => Number(sample.labels.status) >= 400))),
    "list p50": time(0.5),
    "list p95": time(0.95),
    fallbacks: String(sum(of("polyrec_fallbacks_total"))),
  };
  const node = byId("metrics");
  node.hidden = false;
  const pair = ([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text));
  node.replaceChildren(...Object.entries(figures).map(pair));
}
