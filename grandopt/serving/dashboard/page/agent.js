// One agent: its figures of now, the last minutes, and what its artifact says.

import { Chart } from "/dashboard/charts.js";
import { element, fill, setText, table, terms } from "/dashboard/element.js";
import { anchor } from "/dashboard/overview.js";
import { ReportPanel } from "/dashboard/report.js";
import { Series } from "/dashboard/series.js";
import { bytes, count, duration, plain, rate, share } from "/dashboard/units.js";

const DRAWN = ["rate", "p50", "p99", "p99.9", "depth", "busy", "hit_rate"];
const TILES = [["rate", "Computed", rate], ["hits_rate", "From the cache", rate], ["p50", "p50", duration], ["p99", "p99", duration], ["p99.9", "p99.9", duration],
  ["depth", "Rows waiting", count], ["requests_per_batch", "Requests a batch", plain], ["busy", "Workers busy", share],
  ["hit_rate", "Cache hits", share]];
const OF_CACHE = new Set(["hits_rate", "hit_rate"]);
const OF_BATCHES = new Set(["depth", "requests_per_batch", "busy"]);

const RELEASED = { direct: "at once, alone", idle: "nothing else waited", full: "full", deadline: "a deadline came near",
  retry: "again, alone, after a failed batch" };
const REJECTED = { rows: "too many rows waited", bytes: "too many bytes waited", displaced: "made way for a higher class",
  deadline: "could not be answered in time" };

export class AgentPanel {
  constructor(name, past, access) {
    this.name = name;
    this.series = new Series(past);
    this.about = element("p", { class: "muted" });
    this.tiles = element("div", { class: "tiles" });
    this.charts = [
      new Chart("Latency", [["p50", "p50"], ["p99", "p99"], ["p99.9", "p99.9"]], duration, { logarithmic: true }),
      new Chart("Throughput", [["rate", "computed"]], rate),
      new Chart("Queue", [["depth", "rows waiting"]], count)];
    this.cacheChart = new Chart("Cache", [["hit_rate", "hits"]], share, { least: 1 });
    this.details = element("div", {});
    this.report = new ReportPanel(name, access);
    this.figures = element("div", { class: "panels" }, ...this.charts.map((chart) => chart.figure));
    this.section = element("section", { class: "agent", id: anchor(name), "aria-label": `Agent ${name}` },
      element("h2", {}, name), this.about, this.tiles, this.figures,
      element("details", {}, element("summary", {}, "Counts, batches, cache, inputs"), this.details), this.report.details);
  }

  forget(past) {
    this.series = new Series(past);
  }

  show(agent, state) {
    this.series.add(state.at, agent.figures, DRAWN);
    setText(this.about, about(agent));
    this.report.follow(agent.digest);
    fill(this.tiles, [agent.figures, agent.missing, Boolean(agent.batches), Boolean(agent.cache)], () => tiles(agent));
    if (agent.cache && !this.cacheChart.figure.isConnected) this.figures.append(this.cacheChart.figure);
    const charts = agent.cache ? [...this.charts, this.cacheChart] : this.charts;
    for (const chart of charts) chart.draw(this.series, state.at);
    fill(this.details, [agent.totals, agent.batches, agent.cache, agent.sessions, agent.drift, agent.margins], () => details(agent));
  }
}

function about(agent) {
  const workers = agent.batches ? `, ${agent.batches.concurrency} ${agent.batches.workers} worker(s), batches of at most ${agent.batches.limit}` : ", not batched";
  const replaced = agent.replaced ? `, replaced ${agent.replaced} time(s)` : "";
  const original = agent.original ? ` The original answers: ${agent.original}.` : "";
  return `${agent.engine}, build ${agent.digest}${workers}${replaced}.${original}`;
}

function tiles(agent) {
  return TILES.flatMap(([name, title, format]) => {
    if ((OF_CACHE.has(name) && !agent.cache) || (OF_BATCHES.has(name) && !agent.batches)) return [];
    const value = agent.figures[name];
    const reason = value === undefined ? agent.missing[name] || "no figure yet" : null;
    return [element("div", { class: "tile" }, element("span", { class: "muted" }, title),
      element("strong", {}, value === undefined ? "–" : format(value)),
      reason ? element("span", { class: "muted" }, reason) : null)];
  });
}

function details(agent) {
  return [...counts(agent), ...batches(agent), ...cache(agent), ...sessions(agent), ...drift(agent), ...margins(agent)];
}

function counts({ totals }) {
  const rejected = Object.entries(totals.rejected).map(([reason, number]) => [`Refused: ${REJECTED[reason] || reason}`, count(number)]);
  return [element("h3", {}, "Requests since the start"), table([["Outcome", "name"], ["Requests", "number"]], [
    ["Answered", count(totals.answered)], ["Failed in the agent", count(totals.failed)], ["Given up by the caller", count(totals.cancelled)],
    ["Deadline passed", count(totals.missed)], ...rejected])];
}

function batches({ batches: told }) {
  if (!told || !told.count) return [];
  const of = (number) => share(number / told.count);
  const released = Object.entries(told.released).map(([reason, number]) => [RELEASED[reason] || reason, count(number), of(number)]);
  const sizes = Object.entries(told.rows).map(([rows, number]) => [`up to ${rows} rows`, count(number), of(number)]);
  const columns = (title) => [[title, "name"], ["Batches", "number"], ["Share", "number"]];
  return [element("h3", {}, "Batches"), table(columns("Released because"), released), table(columns("Size"), sizes)];
}

function cache({ cache: levels }) {
  if (!levels) return [];
  return [element("h3", {}, "Cache"), table(
    [["Level", "name"], ["Hits", "number"], ["Misses", "number"], ["Entries", "number"], ["Memory", "number"]],
    levels.map((one) => [one.level, count(one.hits), count(one.misses), count(one.entries), bytes(one.bytes)]))];
}

function sessions({ sessions: told }) {
  if (!told) return [];
  return [element("h3", {}, "Sessions"), terms([["open", count(told.open)], ["answered calls", count(told.answered)],
    ["ended because idle", count(told.expired)], ["refused", count(told.refused)], ["memory", bytes(told.state_bytes)]])];
}

function drift({ drift: told }) {
  if (!told) return [];
  const verdict = told.drifted === null ? `Nothing can be said: ${told.reason}.`
    : told.drifted ? `${told.drifted_features} element(s) have drifted.` : "The inputs are as usual.";
  const rows = told.features.map((one) => [`${one.input}[${one.element}]`, plain(one.shift), plain(one.spread), plain(one.psi), one.drifted ? "drifted" : ""]);
  return [element("h3", {}, "Inputs"),
    element("p", {}, `${verdict} ${count(told.seen)} rows were looked at, ${count(told.nonfinite)} had NaN or infinity.`),
    rows.length ? table([["Element", "name"], ["Shift, std", "number"], ["Spread, times", "number"], ["PSI", "number"], ["", ""]], rows) : null,
  ].filter(Boolean);
}

function margins({ margins: told }) {
  if (!told.length) return [];
  const rows = told.map((one) => [one.output, share(one.share), share(one.usual), one.grew === null ? one.reason : one.grew ? "more than usual" : "as usual"]);
  return [element("h3", {}, "Close decisions"), table([["Output", "name"], ["Now", "number"], ["Usual", "number"], ["", ""]], rows)];
}
