import assert from "node:assert/strict";
import { test } from "node:test";
import type { WindowRow } from "../src/api/types.ts";
import { DAY, HOUR } from "../src/pure/time.ts";
import { describe, tone } from "../src/pure/timeline.ts";
import { hatched, lengthFor, newest, provisional } from "../src/pure/windows.ts";

const row = (minute: number, revision: number, verdict: string, more: Partial<WindowRow> = {}): WindowRow => ({
  channel: "oil",
  unit: "bar",
  window: "1m",
  from: `2026-11-21T10:0${minute}:00Z`,
  to: `2026-11-21T10:0${minute + 1}:00Z`,
  revision,
  partial: false,
  verdict,
  missing: [],
  n: 60,
  bad: 0,
  late: 0,
  value: 1,
  mean: 1,
  sd: 0,
  min: 1,
  max: 1,
  log_time: null,
  ...more,
});

test("the newest revision is the last word, and a partial is none", () => {
  const rows = [row(1, 2, "exact"), row(1, 1, "provisional"), row(1, 0, "provisional", { partial: true }), row(2, 1, "provisional")];
  assert.deepEqual(
    newest(rows).map((r) => [r.from, r.verdict]),
    [
      ["2026-11-21T10:01:00Z", "exact"],
      ["2026-11-21T10:02:00Z", "provisional"],
    ],
  );
});

test("provisional windows that touch are one stretch", () => {
  const at = (minute: number): number => Date.parse(`2026-11-21T10:0${minute}:00Z`);
  const rows = [row(5, 1, "provisional"), row(1, 1, "provisional"), row(2, 3, "provisional"), row(3, 2, "recorded_loss")];
  assert.deepEqual(provisional(rows), [
    [at(1), at(3)],
    [at(5), at(6)],
  ]);
  assert.deepEqual(provisional([]), []);
});

test("a stretch is hatched once, whether its windows or its readings say so", () => {
  assert.deepEqual(hatched([[1, 3], [5, 9]], 7), [[1, 3], [5, Infinity]]);
  assert.deepEqual(hatched([[1, 3], [8, 9]], 7), [[1, 3], [7, Infinity]]);
  assert.deepEqual(hatched([[1, 3]], null), [[1, 3]]);
  assert.deepEqual(hatched([], null), []);
});

test("the length of windows follows the range, and months ask for none", () => {
  assert.deepEqual([HOUR, DAY, 30 * DAY].map(lengthFor), ["1m", "10m", null]);
});

test("what a clock did is said in words", () => {
  const item = { lane: "clock", from: "2026-11-21T10:00:00Z", to: null, code: null, unit: "s", source: null, cause: null } as const;
  const back = { ...item, name: "set back: a new epoch begins", value: 3_600 };
  assert.equal(describe(back), "Set back by 1 h: a new epoch begins");
  assert.equal(describe({ ...item, name: "ahead of the aggregator's", value: 12.4 }), "Ahead of the aggregator's by 12 s");
  assert.equal(describe({ ...item, name: "readings ahead of the gateway's clock", value: null }), "Readings ahead of the gateway's clock");
  assert.equal(tone(back), "limit");
});
