// The last minutes of each figure, of which no more is kept however long the page is open.

export const MINUTES = 5;
const MOST = 600;

export class Series {
  constructor(past = {}) {
    this.at = past.at || [];
    this.values = {};
    for (const [name, told] of Object.entries(past)) if (name !== "at") this.values[name] = told;
  }

  add(at, figures, names) {
    if (this.at.length && at <= this.at[this.at.length - 1]) return;
    this.at.push(at);
    for (const name of names) {
      const row = (this.values[name] ||= new Array(this.at.length - 1).fill(null));
      const value = figures[name];
      row.push(value === undefined ? null : value);
    }
    const begin = at - 60 * MINUTES;
    let old = this.at.findIndex((time) => time >= begin);
    old = Math.max(old, this.at.length - MOST, 0);
    if (!old) return;
    this.at.splice(0, old);
    for (const row of Object.values(this.values)) row.splice(0, old);
  }
}
