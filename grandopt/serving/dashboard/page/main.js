// The page: what the server tells goes to the parts that show it.

import { AgentPanel } from "/dashboard/agent.js";
import { showAlerts, showAdvice, showShadows } from "/dashboard/advice.js";
import { setText } from "/dashboard/element.js";
import { ModelsPanel } from "/dashboard/models.js";
import { showOverview } from "/dashboard/overview.js";
import { ProcessPanel } from "/dashboard/process.js";
import { followAlways } from "/dashboard/stream.js";
import { clock, since } from "/dashboard/units.js";

const byId = (id) => document.getElementById(id);
const access = { token: "" }; // in this page's memory only
const panels = new Map();
const processPanel = new ProcessPanel(byId("process"));
const models = new ModelsPanel(byId("models"), access);
let past = { agents: {}, process: {} };
let shownAt = null;

function showServer({ server, at }) {
  const parts = server.parts.length ? `with ${server.parts.join(", ")}` : "without further parts";
  const one = server.workers > 1 ? `; this page shows process ${server.pid}, one of ${server.workers} workers, and /metrics all of them` : "";
  setText(byId("server"), `${server.version}, profile ${server.profile}, ${parts}; up for ${since(server.seconds)}${one}`);
  const ready = server.ready ? "Ready" : "Not ready: some agents are not served, or the server stops";
  setText(byId("connection"), server.monitored ? `${ready}. Figures of ${clock(at)}.`
    : `${ready}. Monitoring is off in this profile: there are counts, and no rates or percentiles.`);
  byId("connection").className = server.ready ? "" : "warning";
  document.title = `${server.ready ? "" : "not ready – "}grandopt`;
}

function showAgents(state) {
  const served = new Set(state.agents.map((agent) => agent.name));
  for (const [name, panel] of panels) if (!served.has(name)) { panel.section.remove(); panels.delete(name); }
  for (const agent of state.agents) {
    let panel = panels.get(agent.name);
    if (!panel) {
      panel = new AgentPanel(agent.name, past.agents[agent.name], access);
      panels.set(agent.name, panel);
      byId("agents").append(panel.section);
    }
    panel.show(agent, state);
  }
}

function tell(event, data) {
  if (event === "past") {
    past = data;
    for (const panel of panels.values()) panel.forget(past.agents[panel.name]);
    processPanel.forget(past.process);
    return;
  }
  if (event !== "state") return;
  shownAt = data.at;
  byId("access").hidden = true;
  showServer(data);
  showAlerts(byId("alerts"), data.alerts);
  showOverview(byId("overview"), data);
  showAgents(data);
  showAdvice(byId("advice"), data);
  showShadows(byId("shadows"), data.shadows, (shadow, button) => models.promote(shadow, button));
  processPanel.show(data);
  models.show(data.models);
}

function lost(reason) {
  const kept = shownAt === null ? "" : ` The figures are those of ${clock(shownAt)}.`;
  byId("connection").className = "warning";
  if (reason !== null) {
    setText(byId("connection"), `Not connected: ${reason}.${kept} Trying again.`);
    return null;
  }
  setText(byId("connection"), `The server shows its figures with a token only.${kept}`);
  const form = byId("access");
  form.hidden = false;
  return new Promise((go) => {
    form.addEventListener("submit", (submitted) => {
      submitted.preventDefault();
      access.token = form.querySelector("input").value;
      go();
    }, { once: true });
  });
}

followAlways(() => access.token, tell, lost);
