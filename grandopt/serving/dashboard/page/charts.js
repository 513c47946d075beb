// Lines over the last minutes as SVG, with a text for who does not see them.

import { MINUTES } from "/dashboard/series.js";
import { element, setText } from "/dashboard/element.js";
import { since } from "/dashboard/units.js";

const SPACE = { width: 360, height: 150, left: 52, right: 8, top: 8, bottom: 20 };
const NAMESPACE = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, text) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function niceStep(span) {
  const power = 10 ** Math.floor(Math.log10(span));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= span);
}

// Where values lie: from 0 on, or on powers of ten.
function scale(values, logarithmic, least) {
  const told = values.filter((value) => value !== null && (!logarithmic || value > 0));
  if (!told.length) return null;
  const largest = Math.max(...told);
  if (logarithmic) {
    const low = Math.floor(Math.log10(Math.min(...told)) + 1e-9);
    const high = Math.max(low + 1, Math.ceil(Math.log10(largest) - 1e-9));
    const every = Math.ceil((high - low) / 4);
    const ticks = [];
    for (let power = low; power <= high; power += every) ticks.push(10 ** power);
    return { ticks, place: (value) => (Math.log10(value) - low) / (high - low) };
  }
  const wanted = Math.max(largest, least);
  const step = niceStep(wanted / 3);
  const top = step * Math.ceil(wanted / step - 1e-9);
  const ticks = [];
  for (let tick = 0; tick <= top * 1.0001; tick += step) ticks.push(tick);
  return { ticks, place: (value) => value / top };
}

export class Chart {
  // lines: [measure, name]; format gives a value with its unit; the axis goes up to `least`, or beyond.
  constructor(title, lines, format, { logarithmic = false, least = 3 } = {}) {
    Object.assign(this, { title, lines, format, logarithmic, least });
    this.svg = drawn("svg", { class: "chart", viewBox: `0 0 ${SPACE.width} ${SPACE.height}`, role: "img" });
    this.legend = lines.map(([, name], place) =>
      element("span", { class: `legend line-${place}` }, element("span", { class: "value" }, name)));
    this.figure = element("figure", {}, element("figcaption", {}, title), this.svg,
      element("p", { class: "muted legends" }, ...this.legend));
  }

  draw(series, now) {
    const rows = this.lines.map(([measure]) => series.values[measure] || []);
    const last = rows.map((row) => (row.length ? row[row.length - 1] : null));
    this.lines.forEach(([, name], place) =>
      setText(this.legend[place].firstChild, `${name} ${this.format(last[place])}`));
    const where = scale(rows.flat(), this.logarithmic, this.least);
    const span = Math.min(60 * MINUTES, Math.max(60, now - (series.at[0] || now)));
    const parts = where ? [...this.axes(where, span), ...rows.map((row, place) => this.line(series.at, row, place, where, { now, span }))]
      : [drawn("text", { x: SPACE.width / 2, y: SPACE.height / 2, class: "axis middle" }, "nothing to draw yet")];
    this.svg.replaceChildren(...parts);
    const told = this.lines.map(([, name], place) => `${name} ${this.format(last[place])}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title} over the last ${since(span)}; now ${told}`);
  }

  axes({ ticks, place }, span) {
    const parts = ticks.flatMap((tick) => {
      const y = this.y(place(tick));
      return [drawn("line", { x1: SPACE.left, x2: SPACE.width - SPACE.right, y1: y, y2: y, class: "grid" }),
        drawn("text", { x: SPACE.left - 5, y: y + 3.5, class: "axis end" }, this.format(tick))];
    });
    const bottom = SPACE.height - 5;
    return [...parts, drawn("text", { x: SPACE.left, y: bottom, class: "axis" }, `${since(span)} ago`),
      drawn("text", { x: SPACE.width - SPACE.right, y: bottom, class: "axis end" }, "now")];
  }

  y(part) {
    return SPACE.height - SPACE.bottom - part * (SPACE.height - SPACE.top - SPACE.bottom);
  }

  // A value that could not be told, or a pause of more than ten seconds, leaves a gap.
  line(at, row, number, { place }, { now, span }) {
    const width = SPACE.width - SPACE.left - SPACE.right;
    let path = "";
    let before = null;
    row.forEach((value, index) => {
      if (value === null || (this.logarithmic && value <= 0)) { before = null; return; }
      const x = SPACE.left + width * Math.max(0, 1 - (now - at[index]) / span);
      const goesOn = before !== null && at[index] - before < 10;
      path += `${goesOn ? "L" : "M"}${x.toFixed(1)} ${this.y(place(value)).toFixed(1)}${goesOn ? "" : "h.01"}`;
      before = at[index];
    });
    return drawn("path", { d: path || "M0 0", class: `line line-${number}` });
  }
}
