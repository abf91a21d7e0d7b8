// Readings as a chart draws them: one time axis, a gap where nothing was reported, a bounded live tail. Pure.

import type { Point, Readings } from "../api/types.ts";

export interface Series {
  channel: string;
  unit: string;
  t: number[];
  min: (number | null)[];
  mean: (number | null)[];
  max: (number | null)[];
}

export type Column = (number | null | undefined)[];
/** uPlot's form: times in seconds, then per channel mean, min and max. `null` breaks the line, `undefined` does not. */
export type Aligned = [number[], ...Column[]];

/** The middle of a gap gets a null, so that the line is broken there and nowhere else. */
export function withGaps(channel: string, unit: string, points: readonly Point[], gaps: readonly [number, number][]): Series {
  const out: Series = { channel, unit, t: [], min: [], mean: [], max: [] };
  const sorted = [...gaps].sort((a, b) => a[0] - b[0]);
  let g = 0;
  let last = -Infinity;
  const put = (t: number, min: number | null, mean: number | null, max: number | null): void => {
    if (t <= last) return;
    out.t.push(t);
    out.min.push(min);
    out.mean.push(mean);
    out.max.push(max);
    last = t;
  };
  for (const [t, min, mean, max] of points) {
    for (let gap = sorted[g]; gap && gap[0] < t; gap = sorted[g]) {
      const middle = (gap[0] + Math.min(gap[1], t)) / 2;
      if (last > -Infinity) put(Math.max(middle, last + 0.5), null, null, null);
      g += 1;
    }
    put(t, min, mean, max);
  }
  return out;
}

/** Series on one time axis. Where a series has no point of its own the cell is `undefined`, which does not break its line. */
export function align(series: readonly Series[]): Aligned {
  const times = new Set<number>();
  for (const s of series) for (const t of s.t) times.add(t);
  const axis = [...times].sort((a, b) => a - b);
  const place = new Map(axis.map((t, i) => [t, i]));
  const columns: Column[] = [];
  for (const s of series) {
    for (const part of [s.mean, s.min, s.max]) {
      const column: Column = new Array<number | null | undefined>(axis.length).fill(undefined);
      s.t.forEach((t, i) => {
        column[place.get(t) as number] = part[i];
      });
      columns.push(column);
    }
  }
  return [axis.map((t) => t / 1000), ...columns];
}

export function fromReadings(readings: Readings): Series[] {
  return readings.channels.map((c) => withGaps(c.channel, c.unit, c.points, c.gaps));
}

/** Adds a live value; a pause longer than `gapMs` breaks the line; at most `most` points and `spanMs` are kept. */
export function append(s: Series, t: number, value: number | null, gapMs: number, most: number, spanMs: number): boolean {
  const last = s.t[s.t.length - 1];
  if (last !== undefined && t <= last) return false;
  if (last !== undefined && t - last > gapMs) push(s, (last + t) / 2, null);
  push(s, t, value);
  const oldest = t - spanMs;
  let drop = Math.max(0, s.t.length - most);
  while (drop < s.t.length && (s.t[drop] as number) < oldest) drop += 1;
  if (drop > 0) for (const column of [s.t, s.min, s.mean, s.max]) column.splice(0, drop);
  return true;
}

function push(s: Series, t: number, value: number | null): void {
  s.t.push(t);
  s.min.push(value);
  s.mean.push(value);
  s.max.push(value);
}

/** From where on at least one channel is provisional; null when all is settled. */
export function provisionalFrom(readings: Readings): number | null {
  const all = readings.channels.map((c) => c.provisional_from_ms).filter((t): t is number => t !== null);
  return all.length === 0 ? null : Math.min(...all);
}

/** Stretches that all channels miss: shaded as "no data". */
export function commonGaps(readings: Readings): [number, number][] {
  const [first, ...rest] = readings.channels.map((c) => c.gaps);
  let common = first ?? [];
  for (const gaps of rest) {
    const next: [number, number][] = [];
    for (const a of common) {
      for (const b of gaps) {
        const from = Math.max(a[0], b[0]);
        const to = Math.min(a[1], b[1]);
        if (from < to) next.push([from, to]);
      }
    }
    common = next;
  }
  return common;
}
