// Figures as people read them, as in the reports: three significant digits, and the unit that fits.

function threeDigits(value) {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))));
  return rounded.toFixed(Math.min(decimals, 2));
}

function scaled(value, steps) {
  for (const [unit, factor] of steps) {
    const text = threeDigits(value / factor);
    if (Math.abs(Number(text)) < 1000 || unit === steps[steps.length - 1][0]) return text + unit;
  }
  return String(value);
}

const none = (value) => value === null || value === undefined;

export const duration = (seconds) =>
  none(seconds) ? "–" : seconds === 0 ? "0 s"
    : scaled(seconds, [[" ns", 1e-9], [" µs", 1e-6], [" ms", 1e-3], [" s", 1]]);

export const count = (value) =>
  none(value) ? "–" : Number.isInteger(value) && Math.abs(value) < 10000 ? String(value)
    : scaled(value, [["", 1], ["k", 1e3], ["M", 1e6], ["G", 1e9]]);

export const rate = (perSecond) => (none(perSecond) ? "–" : `${count(perSecond)}/s`);

export const bytes = (value) =>
  none(value) ? "–" : value < 1000 ? `${value} B`
    : scaled(value, [[" kB", 1e3], [" MB", 1e6], [" GB", 1e9], [" TB", 1e12]]);

export const share = (value) => (none(value) ? "–" : `${threeDigits(100 * value)} %`);

// Without a unit: small ones with as many digits as they need.
export const plain = (value) =>
  none(value) ? "–" : typeof value !== "number" ? String(value)
    : value !== 0 && Math.abs(value) < 0.1 ? String(Number(value.toPrecision(3))) : threeDigits(value);

export function since(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const clock = (at) => new Date(1000 * at).toLocaleTimeString();

export const byUnit = (value, unit) =>
  unit === "s" ? duration(value) : unit === "share" ? share(value) : unit === "bytes" ? bytes(value)
    : unit === "1/s" ? rate(value) : `${plain(value)} ${unit}`;
