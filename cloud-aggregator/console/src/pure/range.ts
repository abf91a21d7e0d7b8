// The range that a page looks at: what the address bar says, presets, and the service's limits. Pure.

import { DAY, HOUR, MINUTE, parseTyped, toMs, toRfc3339 } from "./time.ts";

export const RANGE_MAX = 400 * DAY;
export const EXACT_MAX = 31 * DAY;

/** Live follows now; fixed stays. */
export type Range = { live: true; span: number } | { live: false; from: number; to: number };

export const PRESETS: readonly { name: string; span: number }[] = [
  { name: "10 min", span: 10 * MINUTE },
  { name: "1 h", span: HOUR },
  { name: "6 h", span: 6 * HOUR },
  { name: "24 h", span: DAY },
  { name: "7 d", span: 7 * DAY },
  { name: "30 d", span: 30 * DAY },
];

export function fromQuery(query: URLSearchParams, fallback: Range): Range {
  const from = readTime(query.get("from"));
  const to = readTime(query.get("to"));
  if (from !== null && to !== null && from < to) return { live: false, from, to: Math.min(to, from + RANGE_MAX) };
  const live = Number(query.get("live"));
  if (query.has("live") && live >= 60 && live * 1000 <= RANGE_MAX) return { live: true, span: live * 1000 };
  return fallback;
}

export function toQuery(range: Range, query: URLSearchParams): URLSearchParams {
  const out = new URLSearchParams(query);
  for (const name of ["from", "to", "live"]) out.delete(name);
  if (range.live) out.set("live", String(Math.round(range.span / 1000)));
  else {
    out.set("from", toRfc3339(range.from));
    out.set("to", toRfc3339(range.to));
  }
  return out;
}

function readTime(text: string | null): number | null {
  return text === null ? null : (toMs(text) ?? parseTyped(text));
}

export function bounds(range: Range, now: number): { from: number; to: number } {
  return range.live ? { from: now - range.span, to: now } : { from: range.from, to: range.to };
}

/** The same length, earlier (-1) or later (1) by three quarters; live becomes fixed. */
export function shift(range: Range, direction: -1 | 1, now: number): Range {
  const { from, to } = bounds(range, now);
  const step = Math.round((to - from) * 0.75) * direction;
  return { live: false, from: from + step, to: to + step };
}

/** Twice as long, around the same middle. */
export function widen(range: Range, now: number): Range {
  if (range.live) return { live: true, span: Math.min(RANGE_MAX, range.span * 2) };
  const { from, to } = bounds(range, now);
  const half = Math.min(RANGE_MAX, (to - from) * 2) / 2;
  const middle = (from + to) / 2;
  return { live: false, from: Math.round(middle - half), to: Math.round(middle + half) };
}

/** Around an alert: its window and at least twenty minutes on either side. */
export function around(from: number, to: number): Range {
  const margin = Math.max(20 * MINUTE, (to - from) * 1.5);
  return { live: false, from: Math.round(from - margin), to: Math.round(to + margin) };
}
