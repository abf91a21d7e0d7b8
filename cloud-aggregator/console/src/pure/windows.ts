// Window results as the page shows them: the newest word on each, and which stretches may still change. Pure.

import type { WindowRow } from "../api/types.ts";
import { DAY, HOUR, toMs } from "./time.ts";

export const LENGTHS: readonly string[] = ["1m", "5m", "10m"];

/** Windows short enough to show where a stretch is provisional, and few enough to ask for; null: the range is too long. */
export function lengthFor(span: number): string | null {
  if (span <= 12 * HOUR) return "1m";
  return span <= 6 * DAY ? "10m" : null;
}

/** The newest revision of each window of a channel; what was added later as a partial changes no verdict. */
export function newest(rows: readonly WindowRow[]): WindowRow[] {
  const found = new Map<string, WindowRow>();
  for (const row of rows) {
    if (row.partial) continue;
    const key = `${row.channel} ${row.window} ${row.from}`;
    const known = found.get(key);
    if (!known || known.revision < row.revision) found.set(key, row);
  }
  return [...found.values()];
}

/** What is provisional of a chart: its windows that are, and all that is not settled yet, each stretch once. */
export function hatched(windows: readonly [number, number][], from: number | null): [number, number][] {
  const end = from ?? Infinity;
  const before = windows.filter((w) => w[0] < end).map(([a, b]): [number, number] => [a, Math.min(b, end)]);
  if (from === null) return before;
  const last = before.at(-1);
  return last && last[1] === from ? [...before.slice(0, -1), [last[0], Infinity]] : [...before, [from, Infinity]];
}

/** Stretches whose newest result is provisional, in order, those that touch as one. */
export function provisional(rows: readonly WindowRow[]): [number, number][] {
  const parts: [number, number][] = [];
  for (const row of newest(rows)) {
    const from = toMs(row.from);
    const to = toMs(row.to);
    if (row.verdict === "provisional" && from !== null && to !== null) parts.push([from, to]);
  }
  parts.sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [from, to] of parts) {
    const last = out.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}
