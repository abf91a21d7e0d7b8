// The answers of /api/v1, as the service's OpenAPI document describes them. Times are RFC 3339 in UTC.

export type Time = string;
export type Fresh = "live" | "stale" | "never";

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  field?: string;
  expected?: string;
  found?: string;
}

export interface FarmLink {
  state: "up" | "degraded" | "down";
  since: Time | null;
  gateways_down: string[];
  waiting_bytes_estimate: number | null;
}

export interface Farm {
  id: string;
  zone: string;
  turbines: number;
  live: number;
  stale: number;
  never: number;
  power_kw: number | null;
  available_kw: number | null;
  alerts_open: number;
  link: FarmLink;
}

export interface Turbine {
  id: string;
  farm: string | null;
  gateway: string;
  fresh: Fresh;
  age_ms: number | null;
  event_time: Time | null;
  log_time: Time | null;
  iec_state: { code: number; name: string } | null;
  power_kw: number | null;
  available_kw: number | null;
  setpoint_kw: number | null;
  setpoint_source: string | null;
  wind_ms: number | null;
  need: number;
  alerts: { open: number; critical: number; provisional: number; unacknowledged: number };
  link: { down_since: Time | null; waiting_records: number | null; waiting_bytes_estimate: number | null };
  frontier: Time | null;
  coverage: { epochs: number; holes: number; missing_seqs: number; lost_seqs: number; quarantined_epochs: number };
}

export interface ChannelValue {
  channel: string;
  value: number | null;
  unit: string;
  time: Time | null;
  quality?: string | null;
  epoch?: string | null;
  seq?: number | null;
  index?: number | null;
}

export interface TurbineDetail extends Turbine {
  values: ChannelValue[];
  open_alerts?: Alert[];
}

export interface Channel {
  id: number;
  name: string;
  unit: string;
  kind: string;
  class: string;
  rate_group: string;
  period_ms: number | null;
  states?: Record<string, string> | null;
}

export type Point = [t: number, min: number, mean: number, max: number, n: number];

export interface Readings {
  from: Time;
  to: Time;
  bucket_ms: number;
  channels: {
    channel: string;
    unit: string;
    points: Point[];
    gaps: [number, number][];
    provisional_from_ms: number | null;
  }[];
}

export type Lane = "state" | "setpoint" | "alarm" | "limit" | "clock" | "coverage";

export interface TimelineItem {
  lane: Lane;
  from: Time;
  to: Time | null;
  code: number | null;
  name: string;
  value: number | null;
  unit: string | null;
  source: string | null;
  cause: string | null;
}

export interface Timeline {
  items: TimelineItem[];
  verdict: string;
}

export interface At {
  verdict: "exact" | "recorded_loss" | "incomplete";
  why: unknown[];
  values: ChannelValue[];
  [more: string]: unknown;
}

export interface Coverage {
  verdict: string;
  epochs: { epoch: string; open: unknown; runs: { first: number; last: number; kind: string; frontier: Time | null }[] }[];
  missing: { epoch: string; first: number; last: number | null; why: string }[];
}

export interface Alert {
  id: string;
  episode: string | null;
  turbine: string;
  farm: string | null;
  rule: string;
  cause?: string;
  level: string;
  state: string;
  revision: number;
  first: Time | null;
  last: Time | null;
  value: number | null;
  limit: number | null;
  unit: string | null;
  channel: string | null;
  direction: string | null;
  operating_state: string | { code: number; name: string } | null;
  window: { start: Time | null; end: Time | null; kind: string | null } | null;
  seqs: { epoch: string; first: number; last: number }[];
  acknowledged: { by: string; note: string; at: Time | null } | null;
  shelved: { by: string; note: string; at: Time | null; until: Time | null } | null;
  detail?: string;
}

/** One channel of one revision of a window. */
export interface WindowRow {
  channel: string;
  unit: string;
  window: string;
  from: Time | null;
  to: Time | null;
  revision: number;
  partial: boolean;
  verdict: string;
  missing: unknown[];
  n: number;
  bad: number;
  late: number;
  value: number | null;
  mean: number | null;
  sd: number | null;
  min: number | null;
  max: number | null;
  log_time: Time | null;
}

export interface Alarm {
  id: string;
  kind: "farm_link" | "gateway_link" | "turbine_silent" | "pipeline";
  farm: string | null;
  gateway: string | null;
  turbine: string | null;
  since: Time | null;
  text: string;
  turbines: number | null;
  waiting_bytes_estimate: number | null;
}

export interface DeadLetter {
  id: string;
  reason: string;
  detail: string;
  stage: string;
  gateway: string | null;
  turbine: string | null;
  epoch: string | null;
  seq: number | null;
  readings: number | null;
  sha256: string | null;
  at: Time;
}

export interface Pipeline {
  version: string;
  started: Time;
  partitions: {
    partition: number;
    head: number;
    committed: number | null;
    lag: number;
    log_time: Time | null;
    snapshot_position: number | null;
    snapshot_age_s: number | null;
    logic_version: number | string | null;
  }[];
  sinks: { name: string; lag: number | null }[];
  freshness: { farm: string; p50_ms: number | null; p99_ms: number | null; stale: number }[];
  incomplete: { turbine: string; holes: number; missing_seqs: number; lost_seqs: number }[];
  counts: Record<string, number | null>;
  ingest: { connected: boolean | number | null; rate: number | null };
  lake: { last_cut: Time | null; lag: number | null };
}

/** [id, fresh, age_ms, iec, power, available, setpoint, wind, need, open, critical, unacknowledged, provisional] */
export type WallRow = [
  id: string,
  fresh: Fresh,
  age_ms: number | null,
  iec: number | null,
  power: number | null,
  available: number | null,
  setpoint: number | null,
  wind: number | null,
  need: number,
  open: number,
  critical: number,
  unacknowledged: number,
  provisional: number,
];

export interface WallEvent {
  full: boolean;
  at: Time;
  t: WallRow[];
}
