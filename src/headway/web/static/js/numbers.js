// Numbers as charts and tables say them, and rows as CSV. Pure: no document here.

export function short(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** Milliseconds as they are said: 850 ms, 12.4 s, 3 min 05 s, 2 h 10 min. */
export function span(ms) {
  if (ms == null || !Number.isFinite(ms)) return "–";
  const sign = ms < 0 ? "−" : "";
  const size = Math.abs(ms);
  if (size < 1000) return `${sign}${Math.round(size)} ms`;
  const seconds = size / 1000;
  if (seconds < 60) return `${sign}${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  if (seconds < 86400) return `${sign}${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} min`;
  return `${sign}${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** A cell of CSV. A leading = + - @ would run as a formula in a spreadsheet; a number may keep its sign. */
export function quoted(text, separator = ",") {
  const safe = /^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text.replaceAll(",", ""))) ? `'${text}` : text;
  if (separator === "\t") return safe.replaceAll("\t", " ");
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const csv = (rows) => rows.map((row) => row.map((cell) => quoted(cell == null ? "" : String(cell))).join(",")).join("\n") + "\n";

const grouped = (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ",");

/** A number as [whole part, fraction with its dot], so that a column can stand on its decimal point: as web/show.py writes it. */
export function parts(value, digits = 4) {
  if (value == null) return ["–", ""];
  if (typeof value !== "number") return [{ NaN: "NaN", Infinity: "∞", "-Infinity": "−∞" }[value] ?? String(value), ""];
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return [sign + grouped(String(size)), ""];
  if (size >= 1e9 || size < 10 ** -digits) {
    const [mantissa, exponent] = size.toExponential(2).split("e");
    const [whole, fraction] = mantissa.split(".");
    return [sign + whole, `.${fraction}e${String(Number(exponent)).replace("-", "−")}`];
  }
  const [whole, fraction] = size.toFixed(digits).split(".");
  return [sign + grouped(whole), fraction ? `.${fraction}` : ""];
}
