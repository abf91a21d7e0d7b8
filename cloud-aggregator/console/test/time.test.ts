// Times, ages and zones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inZone, knownZone, offsetText, parseTyped, shortSpan, span, toMs, utc } from "../src/pure/time.ts";

test("a span has at most two units and never more digits than it knows", () => {
  const cases: [number, string][] = [
    [-5, "0.0 s"],
    [0, "0.0 s"],
    [420, "0.4 s"],
    [950, "1 s"],
    [12_400, "12 s"],
    [119_400, "119 s"],
    [120_000, "2 min"],
    [59 * 60_000 + 59_000, "59 min"],
    [3 * 3_600_000, "3 h"],
    [3 * 3_600_000 + 5 * 60_000, "3 h 05 min"],
    [47.9 * 3_600_000, "47 h 54 min"],
    [2 * 86_400_000 + 4 * 3_600_000, "2 d 4 h"],
    [12 * 86_400_000 + 4 * 3_600_000, "12 d"],
  ];
  for (const [ms, text] of cases) assert.equal(span(ms), text);
});

test("a tile's span has at most four characters", () => {
  assert.equal(shortSpan(31_000), "31s");
  assert.equal(shortSpan(119_000), "119s");
  assert.equal(shortSpan(7_199_000), "119m");
  assert.equal(shortSpan(3 * 3_600_000), "3h");
  assert.equal(shortSpan(5_000 * 86_400_000), "999d");
  for (let ms = 0; ms < 400 * 86_400_000; ms = ms * 1.3 + 777) assert.ok(shortSpan(ms).length <= 4, `${ms}`);
});

test("RFC 3339 with microseconds keeps them; nonsense is null", () => {
  assert.equal(toMs("2026-11-21T10:00:00.123456Z"), Date.UTC(2026, 10, 21, 10) + 123.456);
  assert.equal(toMs("2026-11-21T12:00:00+02:00"), Date.UTC(2026, 10, 21, 10));
  for (const bad of [null, undefined, "", "2026-11-21", "yesterday", "2026-13-41T10:00:00Z"]) assert.equal(toMs(bad), null);
});

test("a typed time is UTC unless it says otherwise", () => {
  const ten = Date.UTC(2026, 10, 21, 10);
  assert.equal(parseTyped("2026-11-21 10:00"), ten);
  assert.equal(parseTyped(" 2026-11-21T10:00:00.250Z "), ten + 250);
  assert.equal(parseTyped("2026-11-21 12:00 +02:00"), ten);
  assert.equal(parseTyped("2026-11-21 05:30 -0430"), ten);
  assert.equal(parseTyped("2026-11-21"), Date.UTC(2026, 10, 21));
  for (const bad of ["", "10:00", "2026-02-30 10:00", "2026-11-21 24:00", "2026-1-2", "now"]) assert.equal(parseTyped(bad), null, bad);
});

test("a farm's time follows its summer time, over both changes of a year", () => {
  const zone = "Europe/Berlin";
  // 2026-03-29 01:00 UTC: 02:00 becomes 03:00. 2026-10-25 01:00 UTC: 03:00 becomes 02:00.
  const spring = Date.UTC(2026, 2, 29, 1);
  assert.equal(`${inZone(spring - 1_000, zone)} ${offsetText(spring - 1_000, zone)}`, "2026-03-29 01:59:59 +01:00");
  assert.equal(`${inZone(spring, zone)} ${offsetText(spring, zone)}`, "2026-03-29 03:00:00 +02:00");
  const autumn = Date.UTC(2026, 9, 25, 1);
  assert.equal(`${inZone(autumn - 1_000, zone)} ${offsetText(autumn - 1_000, zone)}`, "2026-10-25 02:59:59 +02:00");
  assert.equal(`${inZone(autumn, zone)} ${offsetText(autumn, zone)}`, "2026-10-25 02:00:00 +01:00");
  assert.equal(offsetText(autumn, "Asia/Kolkata"), "+05:30");
  assert.equal(offsetText(autumn, "America/St_Johns"), "-02:30");
  assert.equal(utc(autumn + 7, true), "2026-10-25 01:00:00.007");
});

test("an unknown zone is known to be unknown", () => {
  assert.equal(knownZone("Europe/Madrid"), true);
  assert.equal(knownZone("Mars/Olympus"), false);
  assert.equal(knownZone(null), false);
});
