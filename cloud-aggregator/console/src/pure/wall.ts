// The wall's model: rows as the live stream brings them, what a tile shows, in which order. Pure.
// Invariant: a stale turbine keeps its last values and its age; nothing here turns "unknown" into a number.

import type { Fresh, Turbine, WallEvent, WallRow } from "../api/types.ts";
import { toMs } from "./time.ts";

export interface Row {
  id: string;
  farm: string;
  gateway: string;
  fresh: Fresh;
  /** Server time of the newest fast reading, milliseconds; null when there never was one. */
  seen: number | null;
  iec: number | null;
  power: number | null;
  available: number | null;
  setpoint: number | null;
  wind: number | null;
  need: number;
  open: number;
  critical: number;
  unacknowledged: number;
  provisional: number;
  /** Largest power that this turbine showed or was offered in this session: the length of its bar. */
  scale: number;
}

/** What a tile says at a glance. */
export type Look = "run" | "limited" | "standby" | "waiting" | "stopped" | "service" | "outage" | "unknown" | "stale" | "never";
export type Attention = "critical" | "warning" | "provisional" | "none";

export const LOOKS: readonly Look[] = ["run", "limited", "standby", "waiting", "stopped", "service", "outage", "unknown", "stale", "never"];

export const LOOK_NAMES: Record<Look, string> = {
  run: "Running",
  limited: "Limited",
  standby: "Standby",
  waiting: "Out of spec.",
  stopped: "Stopped",
  service: "Service",
  outage: "Outage",
  unknown: "Unknown",
  stale: "Stale",
  never: "Never seen",
};

/** A setpoint that holds back more than this share of what the wind offers is a limit. */
const LIMITED_SHARE = 0.03;

export function look(row: Pick<Row, "fresh" | "iec" | "setpoint" | "available">): Look {
  if (row.fresh === "never") return "never";
  if (row.fresh === "stale") return "stale";
  return operating(row);
}

/** The look by operating state alone, as it was when last seen. */
export function operating(row: Pick<Row, "iec" | "setpoint" | "available">): Look {
  switch (row.iec) {
    case 1:
      return held(row) ? "limited" : "run";
    case 2:
      return "limited";
    case 3:
      return "standby";
    case 4:
    case 6:
      return "waiting";
    case 5:
      return "stopped";
    case 7:
    case 8:
      return "service";
    case 9:
    case 10:
    case 11:
      return "outage";
    default:
      return "unknown";
  }
}

function held(row: Pick<Row, "setpoint" | "available">): boolean {
  return row.setpoint !== null && row.available !== null && row.available > 0 && row.setpoint < row.available * (1 - LIMITED_SHARE);
}

export function attention(row: Pick<Row, "open" | "critical" | "provisional">): Attention {
  if (row.critical > 0) return "critical";
  if (row.open > row.provisional) return "warning";
  if (row.provisional > 0 || row.open > 0) return "provisional";
  return "none";
}

export function fromTurbine(t: Turbine, now: number): Row {
  return {
    id: t.id,
    farm: t.farm ?? "",
    gateway: t.gateway,
    fresh: t.fresh,
    seen: t.age_ms === null ? toMs(t.event_time) : now - t.age_ms,
    iec: t.iec_state?.code ?? null,
    power: t.power_kw,
    available: t.available_kw,
    setpoint: t.setpoint_kw,
    wind: t.wind_ms,
    need: t.need,
    open: t.alerts.open,
    critical: t.alerts.critical,
    unacknowledged: t.alerts.unacknowledged,
    provisional: t.alerts.provisional,
    scale: scaleOf(t.power_kw, t.available_kw, t.setpoint_kw, 0),
  };
}

function scaleOf(power: number | null, available: number | null, setpoint: number | null, before: number): number {
  return Math.max(before, power ?? 0, available ?? 0, setpoint ?? 0);
}

/**
 * Takes an event of the live stream in. Rows are changed in place (1,800 of them a second must not become garbage);
 * returns the ids whose rows changed. A full event also removes what it does not name.
 */
export function apply(rows: Map<string, Row>, event: WallEvent): Set<string> {
  const changed = new Set<string>();
  const at = toMs(event.at) ?? 0;
  for (const entry of event.t) {
    const id = entry[0];
    let row = rows.get(id);
    if (!row) {
      row = blank(id);
      rows.set(id, row);
    }
    update(row, entry, at);
    changed.add(id);
  }
  if (event.full) {
    const named = new Set(event.t.map((entry) => entry[0]));
    for (const id of [...rows.keys()]) {
      if (!named.has(id)) {
        rows.delete(id);
        changed.add(id);
      }
    }
  }
  return changed;
}

function blank(id: string): Row {
  return {
    id,
    farm: "",
    gateway: "",
    fresh: "never",
    seen: null,
    iec: null,
    power: null,
    available: null,
    setpoint: null,
    wind: null,
    need: 0,
    open: 0,
    critical: 0,
    unacknowledged: 0,
    provisional: 0,
    scale: 0,
  };
}

function update(row: Row, entry: WallRow, at: number): void {
  const [, fresh, age, iec, power, available, setpoint, wind, need, open, critical, unacknowledged, provisional] = entry;
  row.fresh = fresh;
  row.seen = age === null ? row.seen : at - age;
  row.iec = iec;
  row.power = power;
  row.available = available;
  row.setpoint = setpoint;
  row.wind = wind;
  row.need = need;
  row.open = open;
  row.critical = critical;
  row.unacknowledged = unacknowledged;
  row.provisional = provisional;
  row.scale = scaleOf(power, available, setpoint, row.scale);
}

/** Age of a row's newest reading; null when it was never seen. */
export function age(row: Pick<Row, "seen">, now: number): number | null {
  return row.seen === null ? null : Math.max(0, now - row.seen);
}

/** Made once: a comparison that names its locale makes one of these each time, and a large wall sorts often. */
const ORDER = new Intl.Collator("en", { numeric: true });

/** Ids in natural order: T2 before T10. */
export function byId(a: string, b: string): number {
  return ORDER.compare(a, b);
}

/**
 * Most needed first; equals by id. Need counts in whole points only, so that a wandering fraction does not make tiles
 * change places.
 */
export function byNeed(a: Pick<Row, "need" | "id">, b: Pick<Row, "need" | "id">): number {
  return Math.round(b.need) - Math.round(a.need) || byId(a.id, b.id);
}

export interface Filter {
  /** Words; each must occur in the id, the farm, the gateway or the state's name. */
  text: string;
  farm: string;
  looks: ReadonlySet<Look>;
  attention: ReadonlySet<Attention>;
}

export const NO_FILTER: Filter = { text: "", farm: "", looks: new Set(), attention: new Set() };

export function passes(row: Row, filter: Filter): boolean {
  if (filter.farm && row.farm !== filter.farm) return false;
  if (filter.looks.size > 0 || filter.attention.size > 0) {
    const wanted = filter.looks.has(look(row)) || filter.attention.has(attention(row));
    if (!wanted) return false;
  }
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const hay = `${row.id} ${row.farm} ${row.gateway} ${LOOK_NAMES[look(row)]}`.toLowerCase();
  return words.every((word) => hay.includes(word));
}

export interface Totals {
  turbines: number;
  live: number;
  looks: Record<Look, number>;
  attention: Record<Attention, number>;
  /** Of live turbines only: a stale number is not power. */
  power: number;
  available: number;
}

export function totals(rows: Iterable<Row>): Totals {
  const out: Totals = {
    turbines: 0,
    live: 0,
    looks: Object.fromEntries(LOOKS.map((l) => [l, 0])) as Record<Look, number>,
    attention: { critical: 0, warning: 0, provisional: 0, none: 0 },
    power: 0,
    available: 0,
  };
  for (const row of rows) {
    out.turbines += 1;
    out.looks[look(row)] += 1;
    out.attention[attention(row)] += 1;
    if (row.fresh !== "live") continue;
    out.live += 1;
    out.power += row.power ?? 0;
    out.available += row.available ?? 0;
  }
  return out;
}

/** While the service is out of reach, what was live becomes stale by its age; true when something changed. */
export function ageOut(rows: Iterable<Row>, now: number, staleAfter: number, changed: Set<string>): boolean {
  for (const row of rows) {
    if (row.fresh === "live" && row.seen !== null && now - row.seen > staleAfter) {
      row.fresh = "stale";
      changed.add(row.id);
    }
  }
  return changed.size > 0;
}
