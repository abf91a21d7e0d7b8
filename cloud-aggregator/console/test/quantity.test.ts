// Quantities and words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ABSENT, bytes, count, fixed, latency, measured, plural, power, share, tilePower } from "../src/pure/quantity.ts";
import type { Alarm } from "../src/api/types.ts";
import { alarmText, breach, iecName, recordsText, sourceName, speech, title, valueText } from "../src/pure/words.ts";

test("what is not known is a dash in every form, never zero", () => {
  for (const format of [count, power, tilePower, bytes, measured, latency, (v: null) => fixed(v, 1), (v: null) => share(v, 3)]) {
    assert.equal(format(null), ABSENT);
  }
  assert.equal(share(3, 0), ABSENT);
  assert.equal(power(Number.NaN), ABSENT);
});

test("power changes its unit where its digits would change their count", () => {
  assert.equal(power(0), "0 kW");
  assert.equal(power(-12.4), "\u221212 kW");
  assert.equal(power(999.4), "999 kW");
  assert.equal(power(999.5), "1.00 MW");
  assert.equal(power(1_846), "1.85 MW");
  assert.equal(power(12_340), "12.3 MW");
  assert.equal(power(2_352_000), "2\u202f352 MW");
  assert.equal(tilePower(1_846), "1.85");
  assert.equal(tilePower(-3), "0.00");
});

test("bytes, counts, latencies", () => {
  assert.equal(bytes(640), "640 B");
  assert.equal(bytes(999.6), "1.0 kB");
  assert.equal(bytes(41_200_000), "41 MB");
  assert.equal(bytes(1_234_000_000), "1.2 GB");
  assert.equal(count(1_234_567), "1\u202f234\u202f567");
  assert.equal(latency(640), "640 ms");
  assert.equal(latency(1_900), "1.9 s");
  assert.equal(latency(9_960), "10 s");
  assert.equal(plural(1, "turbine"), "1 turbine");
  assert.equal(plural(150, "turbine"), "150 turbines");
});

test("a measured value shows digits by its size, and codes whole", () => {
  assert.equal(measured(84.6, "\u00b0C"), "84.60 \u00b0C");
  assert.equal(measured(412), "412");
  assert.equal(measured(-0.0004, "m/s2"), "0.000 m/s2");
  assert.equal(measured(1063.4, "kW"), "1063 kW");
});

test("a cut farm is one line with its length and what waits, said to be an estimate", () => {
  const alarm: Alarm = {
    id: "1",
    kind: "farm_link",
    farm: "south",
    gateway: null,
    turbine: null,
    since: "2026-11-21T07:00:00.000000Z",
    text: "",
    turbines: 150,
    waiting_bytes_estimate: 41_000_000,
  };
  const now = Date.UTC(2026, 10, 21, 10);
  assert.equal(alarmText(alarm, now), "Farm south: link down 3 h, 150 turbines without data, ~41 MB waiting at the gateways (estimated)");
  assert.equal(alarmText({ ...alarm, waiting_bytes_estimate: null }, now), "Farm south: link down 3 h, 150 turbines without data");
  assert.equal(alarmText({ ...alarm, kind: "turbine_silent", turbine: "T7", waiting_bytes_estimate: null }, now), "T7: silent 3 h");
});

test("names", () => {
  assert.equal(title("gearbox_oil_temperature"), "Gearbox oil temperature");
  assert.equal(title("main_bearing_front_vibration_0p1_10hz"), "Main bearing front vibration 0.1\u201310 Hz");
  assert.equal(title("generator_drive_end_vibration_10_5000hz"), "Generator drive end vibration 10\u20135000 Hz");
  assert.equal(iecName(9), "Forced outage");
  assert.equal(iecName(77), "State 77");
  assert.equal(sourceName("3"), "grid operator");
  assert.equal(sourceName("farm_controller"), "farm controller");
  assert.equal(breach({ direction: "below" }), "<");
  assert.equal(breach({ direction: "above" }), ">");
  assert.equal(valueText({ channel: "iec_state", value: 2, unit: "" }), "Partial performance");
  assert.equal(valueText({ channel: "brake_state", value: 1, unit: "" }, { "1": "released" }), "Released");
  assert.equal(valueText(undefined), ABSENT);
});

test("records are named by epoch once; what is only old history is no link that is up or down", () => {
  const seqs = [
    { epoch: "32b44e3142b2cde1542b1e0065f80136", first: 10, last: 79 },
    { epoch: "32b44e3142b2cde1542b1e0065f80136", first: 81, last: 81 },
    { epoch: "aa0000000000000000000000000000aa", first: 1, last: 4 },
  ];
  assert.equal(recordsText(seqs), "32b44e31: 10\u201379, 81; aa000000: 1\u20134");
  assert.equal(recordsText([]), ABSENT);
  assert.deepEqual([speech("live"), speech("stale"), speech("never")], ["up", "only history so far", "nothing heard yet"]);
});
