// Alerts as the list keeps them: newest revision wins, whatever order fetches and live changes arrive in. Pure.

import type { Alert } from "../api/types.ts";
import { toMs } from "./time.ts";

export interface AlertFilter {
  state: string;
  farm: string;
  turbine: string;
  acknowledged: string;
  shelved: string;
}

export const STATES: readonly (readonly [string, string])[] = [
  ["open", "Open"],
  ["provisional", "Provisional"],
  ["confirmed", "Confirmed"],
  ["withdrawn", "Withdrawn"],
  ["closed", "Closed"],
  ["all", "All"],
];

export function filterOf(query: URLSearchParams): AlertFilter {
  const state = query.get("state") ?? "open";
  return {
    state: STATES.some(([s]) => s === state) ? state : "open",
    farm: query.get("farm") ?? "",
    turbine: query.get("turbine") ?? "",
    acknowledged: query.get("acknowledged") ?? "",
    shelved: query.get("shelved") ?? "",
  };
}

/** An alert that is shelved for good is none that is shelved: only one whose time has not run out. */
export function shelvedNow(alert: Pick<Alert, "shelved">, now: number): boolean {
  const until = toMs(alert.shelved?.until);
  return until !== null && until > now;
}

export function isOpen(alert: Pick<Alert, "state">): boolean {
  return alert.state === "provisional" || alert.state === "confirmed" || alert.state === "open";
}

export function passes(alert: Alert, filter: AlertFilter, now: number): boolean {
  if (filter.farm && alert.farm !== filter.farm) return false;
  if (filter.turbine && alert.turbine !== filter.turbine) return false;
  if (filter.acknowledged && String(alert.acknowledged !== null) !== filter.acknowledged) return false;
  if (filter.shelved && String(shelvedNow(alert, now)) !== filter.shelved) return false;
  if (filter.state === "all") return true;
  return filter.state === "open" ? isOpen(alert) : alert.state === filter.state;
}

/** Does `b` say more recent things than `a`? The revision is the results'; notes come on top of it. */
export function newer(a: Alert, b: Alert): boolean {
  if (a.revision !== b.revision) return b.revision > a.revision;
  return stamp(b) >= stamp(a);
}

function stamp(alert: Alert): number {
  return Math.max(toMs(alert.acknowledged?.at) ?? 0, toMs(alert.shelved?.at) ?? 0);
}

/**
 * Takes changes into a list. What is shown stays in its place even when it no longer passes (nothing moves under the
 * pointer); what is new and passes is returned apart, to be shown when asked for.
 */
export function merge(shown: readonly Alert[], changes: readonly Alert[], filter: AlertFilter, now: number): { shown: Alert[]; fresh: Alert[] } {
  const byId = new Map(changes.map((a) => [a.id, a]));
  const kept = shown.map((old) => {
    const change = byId.get(old.id);
    byId.delete(old.id);
    return change && newer(old, change) ? change : old;
  });
  return { shown: kept, fresh: [...byId.values()].filter((a) => passes(a, filter, now)) };
}

/** Most urgent first: critical, then what nobody has acknowledged, then the newest. */
export function byUrgency(a: Alert, b: Alert): number {
  return (
    Number(b.level === "critical") - Number(a.level === "critical") ||
    Number(a.acknowledged !== null) - Number(b.acknowledged !== null) ||
    (toMs(b.first) ?? 0) - (toMs(a.first) ?? 0) ||
    a.id.localeCompare(b.id)
  );
}
