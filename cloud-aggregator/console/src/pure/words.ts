// Names of states, channels and alarms in words, the same on every page.

import type { Alarm, Alert, ChannelValue, Fresh } from "../api/types.ts";
import { ABSENT, bytes, measured, plural } from "./quantity.ts";
import { span, toMs } from "./time.ts";

/** IEC 61400-26-1, short. */
const IEC: Record<number, string> = {
  1: "Full performance",
  2: "Partial performance",
  3: "Ready standby",
  4: "Out of environmental specification",
  5: "Requested shutdown",
  6: "Out of electrical specification",
  7: "Scheduled maintenance",
  8: "Planned corrective action",
  9: "Forced outage",
  10: "Suspended",
  11: "Force majeure",
};

/** The name of an operating state; a code without a name stays visible as such. */
export function iecName(code: number | null | undefined): string {
  if (code === null || code === undefined) return "State not known";
  return IEC[code] ?? `State ${code}`;
}

/** `gearbox_oil_temperature` as `Gearbox oil temperature`; `_0p1_10hz` as ` 0.1-10 Hz`. */
export function title(name: string): string {
  const text = name
    .replace(/_(\d+)p(\d+)_(\d+)hz$/, " $1.$2\u2013$3 Hz")
    .replace(/_(\d+)_(\d+)hz$/, " $1\u2013$2 Hz")
    .replace(/[_-]+/g, " ")
    .trim();
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/^Iec\b/, "IEC");
}

/** Setpoint sources come as words or as the catalogue's code. */
export function sourceName(source: string | number | null | undefined): string {
  if (source === null || source === undefined || source === "") return "";
  const known = ["none", "turbine controller", "farm controller", "grid operator", "operator"];
  const code = typeof source === "number" ? source : /^\d+$/.test(source) ? Number(source) : -1;
  return known[code] ?? String(source).replace(/_/g, " ");
}

/** The link of a turbine that has not fallen silent. What is old and was old when it was recorded says nothing of a link. */
export function speech(fresh: Fresh): string {
  return fresh === "live" ? "up" : fresh === "stale" ? "only history so far" : "nothing heard yet";
}

/** A channel's value: a code's name where there is one, else the number with its unit. */
export function valueText(value: Pick<ChannelValue, "channel" | "value" | "unit"> | undefined, states?: Record<string, string> | null): string {
  if (!value || value.value === null) return ABSENT;
  const name = states?.[String(value.value)];
  if (name) return title(name);
  if (value.channel === "iec_state") return iecName(value.value);
  if (value.channel.endsWith("setpoint_source")) return sourceName(value.value);
  return measured(value.value, value.unit);
}

/** Records by epoch: an epoch is named once, a single record is no range. */
export function recordsText(seqs: Alert["seqs"]): string {
  const ranges = new Map<string, string[]>();
  for (const { epoch, first, last } of seqs) {
    const list = ranges.get(epoch) ?? [];
    list.push(first === last ? String(first) : `${first}\u2013${last}`);
    ranges.set(epoch, list);
  }
  if (ranges.size === 0) return ABSENT;
  return [...ranges].map(([epoch, list]) => `${epoch.slice(0, 8)}: ${list.join(", ")}`).join("; ");
}

export function operatingState(state: Alert["operating_state"]): string {
  if (state === null || state === undefined) return "not known";
  if (typeof state === "string") return title(state);
  return state.name ? title(state.name) : iecName(state.code);
}

/** One line for an alarm: what, since when, how much waits. */
export function alarmText(alarm: Alarm, now: number): string {
  const since = toMs(alarm.since);
  const down = since === null ? "" : ` ${span(now - since)}`;
  const waiting =
    alarm.waiting_bytes_estimate === null || alarm.waiting_bytes_estimate === undefined
      ? ""
      : `, ~${bytes(alarm.waiting_bytes_estimate)} waiting at the ${alarm.kind === "farm_link" ? "gateways" : "gateway"} (estimated)`;
  switch (alarm.kind) {
    case "farm_link":
      return `Farm ${alarm.farm ?? "?"}: link down${down}, ${plural(alarm.turbines ?? 0, "turbine")} without data${waiting}`;
    case "gateway_link":
      return `Gateway ${alarm.gateway ?? "?"}: link down${down}, ${plural(alarm.turbines ?? 0, "turbine")} without data${waiting}`;
    case "turbine_silent":
      return `${alarm.turbine ?? "?"}: silent${down}${waiting}`;
    default:
      return alarm.text + (down ? `, since${down}` : "");
  }
}

/** `95.0 > 80.0 °C`: the value against the limit, with the side it broke. */
export function breach(alert: Pick<Alert, "direction">): string {
  const side = (alert.direction ?? "").toLowerCase();
  if (/below|under|low|fall/.test(side)) return "<";
  if (/above|over|high|rise/.test(side)) return ">";
  return "/";
}
