// Times and ages as people read them. Pure: `now` is always passed in, and times are milliseconds since 1970 in UTC.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** RFC 3339 to milliseconds; null when absent or unreadable. Microseconds stay as a fraction. */
export function toMs(time: string | null | undefined): number | null {
  if (!time) return null;
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?(Z|z|[+-]\d\d:\d\d)$/.exec(time);
  if (!match) return null;
  const zone = match[4] === "z" ? "Z" : match[4];
  const whole = Date.parse(`${match[1]}T${match[2]}${zone}`);
  if (Number.isNaN(whole)) return null;
  return whole + (match[3] ? Math.round(Number(match[3]) * 1e6) / 1e3 : 0);
}

/** Milliseconds to RFC 3339 in UTC, to the millisecond. */
export function toRfc3339(ms: number): string {
  return new Date(ms).toISOString();
}

/** A span as a short text of at most two units: `0.4 s`, `12 s`, `3 min`, `3 h 05 min`, `2 d 4 h`. */
export function span(ms: number): string {
  const t = Math.max(0, ms);
  if (t < 950) return `${(t / SECOND).toFixed(1)} s`;
  const seconds = Math.round(t / SECOND);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(t / MINUTE);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(t / HOUR);
  if (hours < 48) {
    const rest = Math.floor((t % HOUR) / MINUTE);
    return rest === 0 ? `${hours} h` : `${hours} h ${String(rest).padStart(2, "0")} min`;
  }
  const days = Math.floor(t / DAY);
  const rest = Math.floor((t % DAY) / HOUR);
  return days >= 10 || rest === 0 ? `${days} d` : `${days} d ${rest} h`;
}

/** A span in at most four characters, for a tile: `12s`, `3m`, `3h`, `12d`. */
export function shortSpan(ms: number): string {
  const t = Math.max(0, ms);
  if (t < 2 * MINUTE) return `${Math.round(t / SECOND)}s`;
  if (t < 2 * HOUR) return `${Math.floor(t / MINUTE)}m`;
  if (t < 2 * DAY) return `${Math.floor(t / HOUR)}h`;
  return `${Math.min(999, Math.floor(t / DAY))}d`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function partsIn(ms: number, zone: string): Record<string, string> {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, format);
  }
  const out: Record<string, string> = {};
  for (const part of format.formatToParts(ms)) out[part.type] = part.value;
  return out;
}

/** Is this a zone that the browser knows? */
export function knownZone(zone: string | null | undefined): boolean {
  if (!zone) return false;
  try {
    partsIn(0, zone);
    return true;
  } catch {
    return false;
  }
}

/** The wall clock's `2026-11-21 10:00:00` in a zone; with `millis`, three decimals more. */
export function inZone(ms: number, zone: string, millis = false): string {
  const p = partsIn(ms, zone);
  const date = `${p["year"]}-${p["month"]}-${p["day"]} ${p["hour"]}:${p["minute"]}:${p["second"]}`;
  return millis ? `${date}.${String(Math.floor(((ms % 1000) + 1000) % 1000)).padStart(3, "0")}` : date;
}

/** How far a zone is ahead of UTC at that moment, minutes. */
export function offsetMinutes(ms: number, zone: string): number {
  const p = partsIn(ms, zone);
  const local = Date.UTC(
    Number(p["year"]),
    Number(p["month"]) - 1,
    Number(p["day"]),
    Number(p["hour"]),
    Number(p["minute"]),
    Number(p["second"]),
  );
  return Math.round((local - Math.floor(ms / 1000) * 1000) / MINUTE);
}

/** `+02:00`, as the zone was then. */
export function offsetText(ms: number, zone: string): string {
  const minutes = offsetMinutes(ms, zone);
  const sign = minutes < 0 ? "-" : "+";
  const abs = Math.abs(minutes);
  return `${sign}${String(Math.floor(abs / 60)).padStart(2, "0")}:${String(abs % 60).padStart(2, "0")}`;
}

/** `10:00:00` in UTC. */
export function utcClock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

/** `2026-11-21 10:00:00` in UTC. */
export function utc(ms: number, millis = false): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, millis ? 23 : 19)}`;
}

/**
 * What somebody typed as a time: `2026-11-21 10:00[:00[.123]]`, with `T` or a blank, an optional `Z` or offset; without
 * one it is UTC. Null when it is no time.
 */
export function parseTyped(text: string): number | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,6})?)?)?\s*(Z|[+-]\d\d:?\d\d)?$/i.exec(text.trim());
  if (!match) return null;
  const [, y, mo, d, h = "00", mi = "00", s = "00", fraction = "", zone = "Z"] = match;
  const month = Number(mo);
  const day = Number(d);
  if (month < 1 || month > 12 || day < 1 || day > 31 || Number(h) > 23 || Number(mi) > 59 || Number(s) > 59) return null;
  const whole = Date.UTC(Number(y), month - 1, day, Number(h), Number(mi), Number(s));
  if (new Date(whole).getUTCDate() !== day) return null;
  const offset = /^z$/i.test(zone) ? 0 : Number(`${zone[0]}1`) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2)));
  return whole - offset * MINUTE + (fraction ? Math.round(Number(fraction) * 1000) : 0);
}

export { DAY, HOUR, MINUTE, SECOND };
