// Quantities as people read them. An absent value is an en dash, never zero.

export const ABSENT = "\u2013";

/** Thousands apart by a narrow space, so that long counts can be read. */
export function count(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return ABSENT;
  const whole = Math.round(n);
  const digits = String(Math.abs(whole)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return whole < 0 ? `\u2212${digits}` : digits;
}

/** A number with so many decimals and a real minus sign; what rounds to zero has no sign. */
export function fixed(value: number | null | undefined, decimals: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

/** Power with its unit: `845 kW` below a megawatt, `1.85 MW` to a hundred, `1 234 MW` above. */
export function power(kw: number | null | undefined): string {
  if (kw === null || kw === undefined || !Number.isFinite(kw)) return ABSENT;
  const size = Math.abs(kw);
  if (size < 999.5) return `${fixed(kw, 0)} kW`;
  if (size < 99_950) return `${fixed(kw / 1000, size < 9_995 ? 2 : 1)} MW`;
  return `${count(kw / 1000)} MW`;
}

/** Power in megawatts in at most four characters, for a tile. */
export function tilePower(kw: number | null | undefined): string {
  if (kw === null || kw === undefined || !Number.isFinite(kw)) return ABSENT;
  return fixed(kw / 1000, Math.abs(kw) < 9_995 ? 2 : 1);
}

/** Bytes in decimal units: `640 B`, `41 kB`, `1.2 GB`. */
export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return ABSENT;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = Math.max(0, n);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 9.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** A measured value: decimals by size, so that it neither jumps in width nor claims digits it has not. */
export function measured(value: number | null | undefined, unit = ""): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  const size = Math.abs(value);
  const decimals = Number.isInteger(value) && size < 1e6 && unit === "" ? 0 : size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return unit ? `${fixed(value, decimals)} ${unit}` : fixed(value, decimals);
}

/** Part of a whole in per cent; absent when there is no whole. */
export function share(part: number | null, whole: number | null): string {
  if (part === null || whole === null || whole <= 0) return ABSENT;
  return `${fixed((100 * part) / whole, 0)} %`;
}

/** `1 turbine`, `150 turbines`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A latency: `640 ms`, `1.9 s`, `12 s`. */
export function latency(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return ABSENT;
  if (ms < 999.5) return `${fixed(ms, 0)} ms`;
  return `${fixed(ms / 1000, ms < 9_950 ? 1 : 0)} s`;
}
