// What an agent's artifact says of how it was made, measured and proved.

import { element, table, terms } from "/dashboard/element.js";
import { bytes, count, duration, plain, rate, share } from "/dashboard/units.js";
import { refusal } from "/dashboard/stream.js";

export class ReportPanel {
  constructor(name, access) {
    Object.assign(this, { name, access, digest: null, shown: null });
    this.body = element("div", {}, element("p", { class: "muted" }, "Reading…"));
    this.details = element("details", {}, element("summary", {}, "Report of the artifact"), this.body);
    this.details.addEventListener("toggle", () => this.read());
  }

  // Another build answers now: what was read is of the one before.
  follow(digest) {
    this.digest = digest;
    if (this.details.open) this.read();
  }

  async read() {
    if (!this.details.open || this.shown === this.digest) return;
    const digest = (this.shown = this.digest);
    const headers = this.access.token ? { authorization: `Bearer ${this.access.token}` } : {};
    try {
      const answer = await fetch(`/dashboard/reports/${encodeURIComponent(this.name)}`, { headers, cache: "no-store" });
      const parts = answer.ok ? shown(await answer.json()) : [element("p", { class: "warning" }, await refusal(answer))];
      if (digest === this.digest) this.body.replaceChildren(...parts);
    } catch (error) {
      this.shown = null;
      this.body.replaceChildren(element("p", { class: "warning" }, `The report could not be read: ${error.message}`));
    }
  }
}

const size = (specs) => specs.map((one) => `${one.name} ${one.dtype} [${(one.shape || []).join(", ")}]`).join("; ");
const micro = (value) => (value === undefined ? null : duration(value / 1e6));

function shown(report) {
  if (report.missing) return [element("p", {}, `There is no report: ${report.missing}.`)];
  const { figures, speedup, machine } = report;
  const parts = [terms([
    ["engine", `${report.engine}, ${report.precision}, ${report.threads} thread(s)`],
    ["weights", `${report.weights} (${report.source})`], ["inputs", size(report.inputs)], ["outputs", size(report.outputs)],
    ["needs", report.cpu_features.join(", ")], ["built by", report.built_by], ["known defect", report.known_defect],
    ["digest", report.digest]])];
  parts.push(element("h3", {}, "Measured when it was built"));
  parts.push(Object.keys(figures).length || Object.keys(speedup).length ? terms([
    ["speed-up", speedup.value === undefined ? null
      : `${plain(speedup.value)}× the original (${plain(speedup.low)}–${plain(speedup.high)} with ${share(speedup.confidence)} confidence, ${count(speedup.pairs)} pairs)`],
    ["a call, p50", micro(figures.p50_us)], ["p99", micro(figures.p99_us)], ["p99.9", micro(figures.p999_us)],
    ["calls", figures.qps === undefined ? null : rate(figures.qps)], ["samples", figures.samples === undefined ? null : count(figures.samples)],
    ["loading", figures.load_ms === undefined ? null : duration(figures.load_ms / 1e3)],
    ["size", figures.artifact_bytes === undefined ? null : bytes(figures.artifact_bytes)],
    ["machine", Object.values(machine).join(", ")]]) : element("p", {}, "The artifact holds no measurement."));
  return [...parts, ...verified(report)];
}

function verified({ verification, verified_outputs: outputs }) {
  const heading = element("h3", {}, "Verified");
  if (verification.passed === undefined) return [heading, element("p", {}, "The artifact holds no verification.")];
  const rows = outputs.map((one) => [one.name, one.norm, plain(one.error), plain(one.limit), one.case]);
  return [heading, terms([
    ["verdict", verification.passed ? "the same agent within its limits" : "not the same agent"],
    ["decisions that agree", verification.agreement === undefined ? null : `${share(verification.agreement)} of ${count(verification.agreement_samples)}`],
    ["cases", count(verification.cases)], ["reference", verification.reference_precision]]),
  rows.length ? table([["Output", "name"], ["Norm", ""], ["Error", "number"], ["Limit", "number"], ["Where it came closest", ""]], rows)
    : element("p", { class: "muted" }, "No output was compared by a norm.")];
}
