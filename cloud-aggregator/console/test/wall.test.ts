// The wall's model and geometry.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { WallEvent, WallRow } from "../src/api/types.ts";
import { cell, fit, move } from "../src/pure/geometry.ts";
import type { Row } from "../src/pure/wall.ts";
import { tone } from "../src/wall/symbols.ts";
import { NO_FILTER, age, ageOut, apply, attention, byNeed, look, passes, totals } from "../src/pure/wall.ts";

const AT = "2026-11-21T10:00:00.000000Z";
const AT_MS = Date.UTC(2026, 10, 21, 10);

function entry(id: string, over: Partial<Record<"fresh" | "age" | "iec" | "power" | "available" | "setpoint" | "need" | "open" | "critical" | "unack" | "prov", unknown>> = {}): WallRow {
  const o = { fresh: "live", age: 500, iec: 1, power: 1800, available: 1900, setpoint: 3000, need: 0, open: 0, critical: 0, unack: 0, prov: 0, ...over };
  return [id, o.fresh, o.age, o.iec, o.power, o.available, o.setpoint, 8.5, o.need, o.open, o.critical, o.unack, o.prov] as WallRow;
}

function rowsOf(...entries: WallRow[]): Map<string, Row> {
  const rows = new Map<string, Row>();
  apply(rows, { full: true, at: AT, t: entries });
  return rows;
}

test("a delta changes the rows that it names and no other; a full event forgets what it does not name", () => {
  const rows = rowsOf(entry("T1"), entry("T2"), entry("T3"));
  const second = rows.get("T2");
  const delta: WallEvent = { full: false, at: "2026-11-21T10:00:01.000000Z", t: [entry("T2", { power: 12 })] };
  assert.deepEqual([...apply(rows, delta)], ["T2"]);
  assert.equal(rows.get("T2"), second, "changed in place");
  assert.equal(rows.get("T2")?.power, 12);
  assert.equal(rows.get("T1")?.power, 1800);
  const changed = apply(rows, { full: true, at: AT, t: [entry("T2"), entry("T4")] });
  assert.deepEqual([...rows.keys()].sort(), ["T2", "T4"]);
  assert.ok(changed.has("T1") && changed.has("T3"), "what went is announced");
});

test("deltas after a snapshot give what the newest snapshot gives, whatever they are", () => {
  let seed = 7;
  const random = (): number => (seed = (seed * 1_664_525 + 1_013_904_223) % 4_294_967_296) / 4_294_967_296;
  const ids = Array.from({ length: 40 }, (_, i) => `T${i}`);
  const truth = new Map(ids.map((id) => [id, entry(id)]));
  const rows = rowsOf(...truth.values());
  for (let step = 0; step < 200; step += 1) {
    const chosen = ids.filter(() => random() < 0.1);
    const t = chosen.map((id) => entry(id, { power: Math.round(random() * 3000), need: Math.round(random() * 100), iec: 1 + Math.floor(random() * 11) }));
    for (const e of t) truth.set(e[0], e);
    apply(rows, { full: false, at: AT, t });
  }
  const fresh = rowsOf(...truth.values());
  for (const id of ids) assert.deepEqual({ ...rows.get(id), scale: 0 }, { ...fresh.get(id), scale: 0 });
});

test("a stale turbine keeps its last values and its age goes on; one never seen has none", () => {
  const rows = rowsOf(entry("T1", { fresh: "stale", age: 3 * 3_600_000 }), entry("T2", { fresh: "never", age: null, power: null, iec: null }));
  const stale = rows.get("T1") as Row;
  assert.equal(look(stale), "stale");
  assert.equal(stale.power, 1800);
  assert.equal(age(stale, AT_MS + 60_000), 3 * 3_600_000 + 60_000);
  const never = rows.get("T2") as Row;
  assert.equal(look(never), "never");
  assert.equal(never.power, null);
  assert.equal(age(never, AT_MS), null);
});

test("while the service is gone, what was live ages to stale and keeps its values", () => {
  const rows = rowsOf(entry("T1"), entry("T2", { age: 20_000 }));
  const changed = new Set<string>();
  assert.equal(ageOut(rows.values(), AT_MS + 15_000, 30_000, changed), true);
  assert.deepEqual([...changed], ["T2"]);
  assert.equal(look(rows.get("T1") as Row), "run");
  assert.equal(look(rows.get("T2") as Row), "stale");
  assert.equal(rows.get("T2")?.power, 1800);
});

test("looks by operating state; a setpoint below what the wind offers is a limit", () => {
  const of = (over: Parameters<typeof entry>[1]): string => look(rowsOf(entry("T", over)).get("T") as Row);
  assert.equal(of({}), "run");
  assert.equal(of({ setpoint: 1500 }), "limited");
  assert.equal(of({ setpoint: 1880 }), "run", "within three per cent");
  assert.equal(of({ setpoint: null }), "run");
  assert.deepEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99].map((iec) => of({ iec })), ["limited", "standby", "waiting", "stopped", "waiting", "service", "service", "outage", "outage", "outage", "unknown"]);
});

test("attention: critical before warning before provisional", () => {
  assert.equal(attention({ open: 2, critical: 1, provisional: 1 }), "critical");
  assert.equal(attention({ open: 2, critical: 0, provisional: 1 }), "warning");
  assert.equal(attention({ open: 1, critical: 0, provisional: 1 }), "provisional");
  assert.equal(attention({ open: 0, critical: 0, provisional: 0 }), "none");
});

test("by need, then by number; fractions of a point move nothing", () => {
  const list = [
    { id: "T10", need: 0 },
    { id: "T2", need: 0.4 },
    { id: "T7", need: 60 },
    { id: "T1", need: 60.2 },
    { id: "T3", need: 95 },
  ];
  assert.deepEqual(list.sort(byNeed).map((r) => r.id), ["T3", "T1", "T7", "T2", "T10"]);
});

test("filters: every word must occur; chosen states are alternatives", () => {
  const rows = rowsOf(entry("T1", { iec: 9 }), entry("T2", { open: 1, critical: 1 }), entry("T12"));
  for (const row of rows.values()) row.farm = row.id === "T2" ? "south" : "north";
  const ids = (filter: Partial<typeof NO_FILTER>): string[] => [...rows.values()].filter((r) => passes(r, { ...NO_FILTER, ...filter })).map((r) => r.id);
  assert.deepEqual(ids({}), ["T1", "T2", "T12"]);
  assert.deepEqual(ids({ text: "t1" }), ["T1", "T12"]);
  assert.deepEqual(ids({ text: "NORTH outage" }), ["T1"]);
  assert.deepEqual(ids({ farm: "south" }), ["T2"]);
  assert.deepEqual(ids({ looks: new Set(["outage"]), attention: new Set(["critical"]) }), ["T1", "T2"]);
});

test("sums are of live turbines only", () => {
  const sums = totals(rowsOf(entry("T1"), entry("T2", { fresh: "stale" }), entry("T3", { fresh: "never", power: null, available: null })).values());
  assert.equal(sums.power, 1800);
  assert.equal(sums.live, 1);
  assert.equal(sums.turbines, 3);
  assert.equal(sums.looks.stale, 1);
});

test("1,800 tiles fit a laptop and a wall of screens, and grow with the space", () => {
  const laptop = fit([1800], { width: 1060, height: 650 }, 2, 13);
  const screen = fit([1800], { width: 1580, height: 970 }, 2, 14);
  const wall = fit([1800], { width: 3390, height: 1980 }, 2, 19);
  for (const t of [laptop, screen, wall]) assert.equal(t.fits, true);
  assert.ok(laptop.width < screen.width && screen.width < wall.width);
  assert.equal(laptop.detail, "mark");
  assert.notEqual(wall.detail, "mark");
});

test("tiles never overlap their box, whatever their number", () => {
  for (const n of [1, 2, 7, 40, 150, 600, 1800, 5000]) {
    for (const [width, height] of [[400, 300], [1060, 650], [3390, 1980]] as const) {
      const t = fit([n], { width, height }, 2, 14);
      assert.ok(t.columns * (t.width + 2) - 2 <= width, `${n} in ${width}`);
      const rows = Math.ceil(n / t.columns);
      if (t.fits) assert.ok(rows * (t.height + 2) <= height, `${n} in ${height}`);
    }
  }
});

test("arrow keys stay inside the grid", () => {
  assert.equal(move(0, "ArrowRight", 10, 25), 1);
  assert.equal(move(0, "ArrowLeft", 10, 25), 0);
  assert.equal(move(3, "ArrowDown", 10, 25), 13);
  assert.equal(move(18, "ArrowDown", 10, 25), 18);
  assert.equal(move(13, "ArrowUp", 10, 25), 3);
  assert.equal(move(13, "End", 10, 25), 24);
  assert.equal(move(13, "x", 10, 25), 13);
});

test("the place of a tile is where the arrow keys lead", () => {
  const tiling = fit([1_800], { width: 1_040, height: 500 }, 2, 13);
  const here = cell(tiling.columns + 3, tiling, 2);
  const below = cell(move(tiling.columns + 3, "ArrowDown", tiling.columns, 1_800), tiling, 2);
  const right = cell(move(tiling.columns + 3, "ArrowRight", tiling.columns, 1_800), tiling, 2);
  assert.deepEqual(below, { x: here.x, y: here.y + tiling.height + 2 });
  assert.deepEqual(right, { x: here.x + tiling.width + 2, y: here.y });
  assert.deepEqual(cell(tiling.columns, tiling, 2), { x: 0, y: tiling.height + 2 });
});

test("a small tile's symbol can be told from its tile: alarm, acknowledged, silent", () => {
  const sign = { look: "run", alert: "none", seen: false, bar: null } as const;
  assert.equal(tone(sign), "--tile-mark");
  assert.equal(tone({ ...sign, look: "limited" }), "--limited");
  assert.equal(tone({ ...sign, alert: "provisional" }), "--tile-mark");
  assert.equal(tone({ ...sign, alert: "critical" }), "--on-critical");
  assert.equal(tone({ ...sign, alert: "warning", look: "outage" }), "--on-warning");
  assert.equal(tone({ ...sign, alert: "critical", seen: true }), "--critical");
  assert.equal(tone({ ...sign, alert: "warning", seen: true }), "--tile-text");
  assert.equal(tone({ ...sign, alert: "critical", look: "stale" }), "--critical");
  assert.equal(tone({ ...sign, alert: "warning", look: "stale" }), "--stale-text");
});
