// Series, gaps, ranges, the live stream's parser, alerts and lanes.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Alert, Point, TimelineItem } from "../src/api/types.ts";
import { byUrgency, filterOf, merge, passes, shelvedNow } from "../src/pure/alerts.ts";
import { EXACT_MAX, around, bounds, fromQuery, shift, toQuery, widen } from "../src/pure/range.ts";
import { align, append, commonGaps, provisionalFrom, withGaps } from "../src/pure/series.ts";
import { EventParser, backoff } from "../src/pure/sse.ts";
import { bars, describe, lasting, noneText, ticks, tone, whyText } from "../src/pure/timeline.ts";

const point = (t: number, v = t): Point => [t, v - 1, v, v + 1, 5];

test("a gap breaks the line once, between the points beside it", () => {
  const s = withGaps("a", "kW", [point(0), point(10), point(50), point(60)], [[12, 48]]);
  assert.deepEqual(s.t, [0, 10, 30, 50, 60]);
  assert.deepEqual(s.mean, [0, 10, null, 50, 60]);
  assert.deepEqual(s.max, [1, 11, null, 51, 61]);
});

test("gaps at the ends break nothing; two gaps between two points break once or twice, never at a point", () => {
  assert.deepEqual(withGaps("a", "", [point(10), point(20)], [[0, 8], [22, 40]]).mean, [10, 20]);
  const s = withGaps("a", "", [point(0), point(100)], [[10, 20], [30, 90]]);
  assert.equal(s.mean[0], 0);
  assert.equal(s.mean[s.mean.length - 1], 100);
  assert.ok(s.mean.includes(null));
  for (let i = 1; i < s.t.length; i += 1) assert.ok((s.t[i] as number) > (s.t[i - 1] as number));
});

test("on a common axis a foreign time is undefined (the line goes on), a gap is null (it breaks)", () => {
  const a = withGaps("a", "", [point(0), point(1000), point(3000)], [[1100, 2900]]);
  const b = withGaps("b", "", [point(500, 7), point(2500, 8)], []);
  const [x, aMean, aMin, , bMean] = align([a, b]);
  assert.deepEqual(x, [0, 0.5, 1, 2, 2.5, 3]);
  assert.deepEqual(aMean, [0, undefined, 1000, null, undefined, 3000]);
  assert.deepEqual(aMin, [-1, undefined, 999, null, undefined, 2999]);
  assert.deepEqual(bMean, [undefined, 7, undefined, undefined, 8, undefined]);
});

test("the live end is bounded in number and in time, breaks at a pause, and takes nothing twice", () => {
  const s = withGaps("a", "", [], []);
  for (let t = 0; t < 10_000; t += 1) append(s, t * 1000, t, 5_000, 600, 300_000);
  assert.ok(s.t.length <= 600);
  assert.ok((s.t[0] as number) >= 9_999_000 - 300_000);
  assert.equal(s.t.length, s.mean.length);
  assert.equal(append(s, 9_999_000, 1, 5_000, 600, 300_000), false);
  append(s, 10_050_000, 5, 5_000, 600, 300_000);
  assert.deepEqual(s.mean.slice(-3), [9999, null, 5]);
});

test("shaded is what all channels miss; hatched begins where the first is provisional", () => {
  const channel = (gaps: [number, number][], provisional: number | null) => ({ channel: "x", unit: "", points: [], gaps, provisional_from_ms: provisional });
  const readings = { from: "", to: "", bucket_ms: 1, channels: [channel([[10, 50], [80, 90]], 70), channel([[30, 85]], null)] };
  assert.deepEqual(commonGaps(readings), [[30, 50], [80, 85]]);
  assert.equal(provisionalFrom(readings), 70);
  assert.equal(provisionalFrom({ ...readings, channels: [] }), null);
});

test("events survive any tearing of the stream", () => {
  const text = ': heartbeat\n\nevent: wall\ndata: {"a":1}\n\nevent: alerts\r\ndata: {"b":\r\ndata: 2}\r\n\r\n: again\n\ndata: x\n\n';
  const expected = [
    { event: "wall", data: '{"a":1}' },
    { event: "alerts", data: '{"b":\n2}' },
    { event: "message", data: "x" },
  ];
  for (let size = 1; size <= text.length; size += 1) {
    const parser = new EventParser();
    const got = [];
    for (let at = 0; at < text.length; at += size) got.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(got, expected, `chunks of ${size}`);
  }
});

test("back-off grows to a bound and is never at once", () => {
  assert.equal(backoff(0, 0), 250);
  assert.equal(backoff(0, 0.999), 500);
  assert.ok(backoff(3, 0.5) > backoff(1, 0.5));
  for (const n of [5, 10, 1000]) assert.ok(backoff(n, 0.999) <= 15_000 && backoff(n, 0) >= 7_500);
});

test("a range comes back from the address as it went in; nonsense gives the fallback", () => {
  const fallback = { live: true as const, span: 600_000 };
  for (const range of [{ live: false as const, from: 1_000_000, to: 2_000_000 }, { live: true as const, span: 3_600_000 }]) {
    assert.deepEqual(fromQuery(toQuery(range, new URLSearchParams("channels=a")), fallback), range);
  }
  for (const bad of ["from=x&to=y", "live=3", "live=1e99", "from=2026-11-21T10:00:00Z&to=2026-11-21T09:00:00Z"]) {
    assert.deepEqual(fromQuery(new URLSearchParams(bad), fallback), fallback, bad);
  }
  assert.equal(toQuery(fallback, new URLSearchParams("channels=a")).get("channels"), "a");
});

test("earlier, later and wider keep their promises", () => {
  const range = { live: false as const, from: 1_000_000, to: 2_000_000 };
  assert.deepEqual(shift(range, -1, 0), { live: false, from: 250_000, to: 1_250_000 });
  assert.deepEqual(shift({ live: true, span: 1_000_000 }, -1, 2_000_000), { live: false, from: 250_000, to: 1_250_000 });
  assert.deepEqual(widen(range, 0), { live: false, from: 500_000, to: 2_500_000 });
  assert.deepEqual(bounds(around(5_000_000, 5_060_000), 0), { from: 3_800_000, to: 6_260_000 });
  assert.equal(EXACT_MAX, 31 * 86_400_000);
});

function alert(over: Partial<Alert> = {}): Alert {
  return {
    id: "a1",
    episode: null,
    turbine: "T1",
    farm: "north",
    rule: "r",
    level: "warning",
    state: "confirmed",
    revision: 1,
    first: "2026-11-21T10:00:00Z",
    last: "2026-11-21T10:01:00Z",
    value: 1,
    limit: 1,
    unit: "",
    channel: null,
    direction: null,
    operating_state: null,
    window: null,
    seqs: [],
    acknowledged: null,
    shelved: null,
    ...over,
  };
}

test("the newest revision of an alert wins in whatever order it comes; shown ones stay in their place", () => {
  const filter = filterOf(new URLSearchParams());
  const shown = [alert({ id: "a1", revision: 3 }), alert({ id: "a2" })];
  const merged = merge(shown, [alert({ id: "a1", revision: 2, state: "provisional" }), alert({ id: "a2", revision: 2, state: "withdrawn" }), alert({ id: "a3" }), alert({ id: "a4", state: "closed" })], filter, 0);
  assert.deepEqual(merged.shown.map((a) => [a.id, a.revision, a.state]), [["a1", 3, "confirmed"], ["a2", 2, "withdrawn"]]);
  assert.deepEqual(merged.fresh.map((a) => a.id), ["a3"]);
  const acknowledged = alert({ acknowledged: { by: "x", note: "", at: "2026-11-21T11:00:00Z" } });
  assert.equal(merge([alert()], [acknowledged], filter, 0).shown[0], acknowledged);
  assert.equal(merge([acknowledged], [alert()], filter, 0).shown[0], acknowledged);
});

test("an alert is shelved until its time runs out", () => {
  const until = Date.UTC(2026, 10, 21, 12);
  const shelved = alert({ shelved: { by: "x", note: "", at: "2026-11-21T11:00:00Z", until: "2026-11-21T12:00:00Z" } });
  assert.equal(shelvedNow(shelved, until - 1), true);
  assert.equal(shelvedNow(shelved, until), false);
  const filter = filterOf(new URLSearchParams("shelved=true&state=all"));
  assert.equal(passes(shelved, filter, until - 1), true);
  assert.equal(passes(shelved, filter, until), false);
});

test("critical first, then what nobody has taken on, then the newest", () => {
  const list = [
    alert({ id: "old" }),
    alert({ id: "new", first: "2026-11-21T11:00:00Z" }),
    alert({ id: "taken", first: "2026-11-21T12:00:00Z", acknowledged: { by: "x", note: "", at: "2026-11-21T12:00:00Z" } }),
    alert({ id: "critical", level: "critical", first: "2026-11-20T11:00:00Z" }),
  ];
  assert.deepEqual(list.sort(byUrgency).map((a) => a.id), ["critical", "new", "old", "taken"]);
});

test("bars are cut to the range; what goes on reaches its end", () => {
  const item = (over: Partial<TimelineItem>): TimelineItem => ({ lane: "state", from: "1970-01-01T00:00:00Z", to: null, code: 1, name: "full_performance", value: null, unit: null, source: null, cause: null, ...over });
  const [open] = bars([item({})], "state", 1000, 3000);
  assert.deepEqual([open?.x, open?.width], [0, 1]);
  assert.equal(bars([item({ to: "1970-01-01T00:00:00.5Z" })], "state", 1000, 3000).length, 0);
  assert.equal(bars([item({ lane: "alarm", from: "1970-01-01T00:00:02Z", to: "1970-01-01T00:00:02Z" })], "alarm", 1000, 3000)[0]?.width, 0);
  assert.equal(describe(item({ lane: "setpoint", value: 1500, unit: "kW", source: "grid_operator" })), "1500 kW by grid operator");
  assert.equal(describe(item({ lane: "alarm", code: 412, name: "alarm code 412" })), "Code 412");
  assert.equal(describe(item({ lane: "alarm", code: null, name: "gearbox-oil-hot", value: 84.6, unit: "\u00b0C" })), "Gearbox oil hot 84.60 \u00b0C");
  assert.equal(tone(item({ lane: "coverage", name: "no readings" })), "missing");
  assert.equal(tone(item({ lane: "limit", name: "curtailment" })), "requested");
  assert.equal(tone(item({ lane: "limit", name: "derate" })), "limit");
  assert.equal(tone(item({ lane: "coverage", name: "unknown" })), "missing");
  assert.equal(tone(item({ lane: "coverage", name: "lost" })), "lost");
});

test("axis times are round and not more than asked for", () => {
  for (const length of [60_000, 600_000, 86_400_000, 31 * 86_400_000, 400 * 86_400_000]) {
    const list = ticks(1_795_000_000_000, 1_795_000_000_000 + length, 12);
    assert.ok(list.length >= 2 && list.length <= 13, `${length}: ${list.length}`);
  }
  assert.deepEqual(ticks(0, 3_600_000, 6), [0, 600_000, 1_200_000, 1_800_000, 2_400_000, 3_000_000, 3_600_000]);
});

test("reasons come as texts or as objects", () => {
  assert.equal(whyText("link down"), "link down");
  assert.equal(whyText({ epoch: "0123456789abcdef", first: 5, last: 9, why: "not received" }), "not received (epoch 01234567, seqs 5\u20139)");
  assert.equal(whyText({ epoch: "0123456789abcdef", first: 5, last: null, why: "open end" }), "open end (epoch 01234567, from seq 5 on)");
});

test("an empty lane says what was looked at: a clock of which nothing is known is not one that is right", () => {
  const state: TimelineItem = { lane: "state", from: "2026-11-21T10:00:00Z", to: null, code: 1, name: "full", value: null, unit: null, source: null, cause: null };
  assert.equal(noneText("clock", { items: [state], bytes: "verified" }), "as sent: no evidence against the clock");
  assert.equal(noneText("clock", { items: [state], bytes: "not_read" }), "not known: the original bytes were not read");
  assert.equal(noneText("clock", { items: [], bytes: "verified" }), "nothing reported");
  assert.equal(noneText("alarm", { items: [state], bytes: "not_read" }), "none");
});

test("an event is said as it is measured, and a setpoint that another one replaced at once is none", () => {
  const base: TimelineItem = { lane: "alarm", from: "2026-11-21T10:00:00Z", to: null, code: null, name: "gearbox-oil-pressure-low", value: 0.02, unit: "bar", source: null, cause: null };
  assert.equal(describe(base), "Gearbox oil pressure low 0.020 bar");
  const setpoint: TimelineItem = { ...base, lane: "setpoint", name: "setpoint", value: 3000, unit: "kW" };
  const sourced: TimelineItem = { ...setpoint, source: "turbine_controller" };
  assert.equal(describe(sourced), "3000 kW by turbine controller");
  assert.deepEqual(lasting([base, { ...setpoint, to: setpoint.from }, sourced]), [base, sourced]);
});
