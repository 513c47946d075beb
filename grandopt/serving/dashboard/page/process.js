// Memory and processor time of the server's process.

import { Chart } from "/dashboard/charts.js";
import { element, fill, terms } from "/dashboard/element.js";
import { Series } from "/dashboard/series.js";
import { bytes, plain, share } from "/dashboard/units.js";

const DRAWN = ["resident", "cores"];

export class ProcessPanel {
  constructor(container) {
    this.series = new Series();
    this.charts = [new Chart("Memory", [["resident", "resident"]], bytes), new Chart("Processor", [["cores", "cores used"]], plain, { least: 0.1 })];
    this.about = element("div", {});
    container.append(element("div", { class: "panels" }, ...this.charts.map((chart) => chart.figure)), this.about);
  }

  forget(past) {
    this.series = new Series(past);
  }

  show({ process, at }) {
    this.series.add(at, process.figures, DRAWN);
    for (const chart of this.charts) chart.draw(this.series, at);
    const { figures } = process;
    fill(this.about, process, () => [terms([
      ["resident memory", figures.resident === undefined ? null : `${bytes(figures.resident)} of ${bytes(process.memory_limit)}`],
      ["cores", figures.cores === undefined ? null : `${plain(figures.cores)} of ${plain(process.granted)}`],
      ...(process.gpus || []).map((gpu) => [`GPU ${gpu.index} ${gpu.name}`,
        `${share(gpu.busy)} busy, ${bytes(gpu.memory_used)} of ${bytes(gpu.memory_total)}`])])]);
  }
}
