// Alerts, recommendations, and candidates that run beside agents.

import { element, fill, table, twice } from "/dashboard/element.js";
import { byUnit, clock, count, duration, plain, share } from "/dashboard/units.js";

export function showAlerts(container, alerts) {
  container.hidden = !alerts.length;
  fill(container, alerts, () => [element("h2", {}, "Alerts"), element("ul", {}, ...alerts.map((one) =>
    element("li", { class: one.severity }, element("strong", {}, `${one.name} (${one.severity}, ${one.state})`),
      ` ${one.agent || "the process"}: ${one.measure} is ${byUnit(one.value, one.unit)}, the limit is ${one.direction} ${byUnit(one.threshold, one.unit)}; since ${clock(one.since)}`)))]);
}

export function showAdvice(container, { advice, silent }) {
  fill(container, [advice, silent], () => {
    const told = advice.map((one) => {
      const change = one.now === null || one.to === null ? "" : `: ${plain(one.now)} → ${plain(one.to)}`;
      const evidence = Object.entries(one.evidence).map(([name, value]) => `${name} ${plain(value)}`).join(", ");
      return element("li", {}, element("p", {}, element("strong", {}, `${one.agent || "the process"}, ${one.setting}${change}`)),
        element("p", {}, one.text), element("p", { class: "muted" }, one.expected),
        evidence ? element("p", { class: "muted" }, `Measured: ${evidence}`) : null);
    });
    const quiet = silent.map((one) => element("li", {}, `${one.agent}: ${one.text}`));
    return [
      told.length ? element("ul", { class: "advice" }, ...told) : element("p", {}, "There is nothing to recommend by the last look."),
      quiet.length ? element("details", {}, element("summary", {}, "About what nothing can be said, and why"), element("ul", {}, ...quiet)) : null,
    ].filter(Boolean);
  });
}

// Figures change at every look, buttons do not: they must not lose their focus. `promote` is given the comparison
// and the button that was pressed.
export function showShadows(container, shadows, promote) {
  container.hidden = !shadows.length;
  if (!container.firstChild) {
    container.append(element("h2", {}, "Shadow comparisons"), element("div", {}), element("p", { class: "buttons" }));
  }
  const [, figures, buttons] = container.children;
  fill(figures, shadows, () => [table(COMPARED, shadows.map(compared))]);
  const active = shadows.filter((one) => one.active).map(({ agent, digest }) => ({ agent, digest }));
  fill(buttons, active, () => active.map((one) => button(one, promote)));
}

const COMPARED = [["Agent", "name"], ["Candidate", ""], ["Compared", "number"], ["Would act differently", "number"],
  ["99 % interval", "number"], ["Time a row, live", "number"], ["Candidate's", "number"], ["Failed", "number"], ["Last error", ""]];

function compared(one) {
  return [one.agent, `${one.engine} ${one.digest}${one.active ? "" : " (ended)"}`, `${count(one.compared)} of ${count(one.seen)}`,
    one.rate === null ? "none compared yet" : share(one.rate), one.compared ? `${share(one.low)}–${share(one.high)}` : null,
    duration(one.live_row_s), duration(one.candidate_row_s), count(one.failed), one.error];
}

function button(shadow, promote) {
  const made = element("button", { type: "button" }, `Promote ${shadow.digest} for ${shadow.agent}`);
  made.addEventListener("click", () => twice(made, () => promote(shadow, made)));
  return made;
}
