// All agents at a glance.

import { element, fill, table } from "/dashboard/element.js";
import { count, duration, rate, share } from "/dashboard/units.js";

const COLUMNS = [["Agent", "name"], ["Engine", ""], ["Rate", "number"], ["p50", "number"], ["p99", "number"],
  ["p99.9", "number"], ["Waiting", "number"], ["Cache hits", "number"], ["Failed", "number"], ["Inputs", ""]];

export const anchor = (name) => `agent-${encodeURIComponent(name)}`;

export function inputs(drift) {
  if (!drift) return null;
  if (drift.drifted === null) return "too few rows";
  return drift.drifted ? "drifted" : "as usual";
}

export function failures(totals) {
  const rejected = Object.values(totals.rejected).reduce((sum, more) => sum + more, 0);
  return totals.failed + totals.missed + rejected;
}

export function showOverview(container, { agents, server }) {
  const rows = agents.map((agent) => {
    const figures = agent.figures;
    const told = (name, format) => (figures[name] === undefined ? null : format(figures[name]));
    return [agent.name, agent.engine, figures.rate === undefined ? null : rate(figures.rate + (figures.hits_rate || 0)), told("p50", duration), told("p99", duration),
      told("p99.9", duration), agent.batches ? count(agent.batches.depth) : null, told("hit_rate", share),
      count(failures(agent.totals)), inputs(agent.drift)];
  });
  fill(container, rows, () => {
    if (!rows.length) return [element("p", {}, "No agent is served.")];
    const linked = rows.map(([name, ...rest]) => [element("a", { href: `#${anchor(name)}` }, name), ...rest]);
    const window = agents.find((agent) => agent.window_s > 0);
    const over = window ? `Rates and percentiles are of the last ${Math.round(window.window_s)} s, percentiles of what was computed; failed counts all requests since the start that got no answer.`
      : "Failed counts all requests since the start that got no answer.";
    return [table(COLUMNS, linked), element("p", { class: "muted" }, over)];
  });
}
