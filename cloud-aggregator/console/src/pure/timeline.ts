// The lanes of the proof page, and verdicts in words. Pure.

import type { Lane, TimelineItem } from "../api/types.ts";
import { span, toMs } from "./time.ts";
import { iecName, sourceName, title } from "./words.ts";

/** In the order of the page; `none` is what an empty lane means. */
export const LANES: readonly { lane: Lane; name: string; none: string }[] = [
  { lane: "state", name: "Operating state", none: "nothing reported" },
  { lane: "setpoint", name: "Setpoint", none: "nothing reported" },
  { lane: "limit", name: "Derates, curtailments", none: "none" },
  { lane: "alarm", name: "Alarms, codes", none: "none" },
  { lane: "clock", name: "Clock quality", none: "no deviation" },
  { lane: "coverage", name: "Coverage", none: "no silence" },
];

export interface Bar {
  item: TimelineItem;
  /** Share of the range, 0 to 1. */
  x: number;
  width: number;
  /** Text that a reader sees in the bar when it fits, and in the table always. */
  text: string;
  tone: "calm" | "limit" | "requested" | "alarm" | "missing" | "lost";
}

export function bars(items: readonly TimelineItem[], lane: Lane, from: number, to: number): Bar[] {
  const out: Bar[] = [];
  for (const item of items) {
    if (item.lane !== lane) continue;
    const start = toMs(item.from) ?? from;
    const end = toMs(item.to) ?? to;
    const a = Math.max(from, start);
    const b = Math.min(to, end);
    if (b < a || a > to) continue;
    out.push({ item, x: (a - from) / (to - from), width: Math.max(0, b - a) / (to - from), text: describe(item), tone: tone(item) });
  }
  return out;
}

export function describe(item: TimelineItem): string {
  const unit = item.unit ? ` ${item.unit}` : "";
  const value = item.value === null ? "" : `${Number.isInteger(item.value) ? item.value : item.value.toFixed(1)}${unit}`;
  switch (item.lane) {
    case "state":
      return item.name ? title(item.name) : iecName(item.code);
    case "setpoint":
      return [value || title(item.name), item.source ? `by ${sourceName(item.source)}` : ""].filter(Boolean).join(" ");
    case "alarm": {
      const named = item.code === null || !item.name.endsWith(String(item.code));
      return [item.code === null ? "" : `Code ${item.code}`, named ? title(item.name) : "", value].filter(Boolean).join(" ");
    }
    case "clock": {
      const [what = "", then] = item.name.split(": ");
      const by = item.value === null ? "" : ` by ${item.unit === "s" ? span(Math.abs(item.value) * 1_000) : value}`;
      return `${title(what)}${by}${then ? `: ${then}` : ""}`;
    }
    default:
      return [title(item.name), value].filter(Boolean).join(" ");
  }
}

export function tone(item: TimelineItem): Bar["tone"] {
  const name = item.name.toLowerCase();
  switch (item.lane) {
    case "state":
      return item.code === 9 || item.code === 10 || item.code === 11 ? "alarm" : item.code === 1 || item.code === 2 || item.code === 3 ? "calm" : "limit";
    case "limit":
      return name.includes("curtail") ? "requested" : "limit";
    case "alarm":
      return "alarm";
    case "clock":
      return /sync|good|ok|wall/.test(name) && !/un|not|bad/.test(name) ? "calm" : "limit";
    case "coverage":
      return /lost|evict|refus/.test(name) ? "lost" : /unknown|miss|hole|provisional|open|no reading/.test(name) ? "missing" : "calm";
    default:
      return "calm";
  }
}

/** A verdict as a sentence. */
export function verdictText(verdict: string): string {
  switch (verdict) {
    case "exact":
      return "Exact: every record of this stretch is here, and nothing can still come that would change it.";
    case "recorded_loss":
      return "Settled with recorded loss: what is missing is known, numbered and listed.";
    case "provisional":
      return "Provisional: records are still missing or may still come.";
    case "incomplete":
      return "Incomplete: records are missing. What is shown is what has arrived.";
    default:
      return title(verdict);
  }
}

/** Why something is not exact: the service gives texts or small objects. */
export function whyText(why: unknown): string {
  if (typeof why === "string") return why;
  if (typeof why !== "object" || why === null) return String(why);
  const fields = why as Record<string, unknown>;
  const text = ["why", "text", "detail", "reason"].map((n) => fields[n]).find((v) => typeof v === "string");
  const epoch = typeof fields["epoch"] === "string" ? `epoch ${(fields["epoch"] as string).slice(0, 8)}` : "";
  const first = fields["first"];
  const last = fields["last"];
  const range = first === undefined ? "" : last === undefined || last === null ? `from seq ${String(first)} on` : `seqs ${String(first)}\u2013${String(last)}`;
  const known = [epoch, range].filter(Boolean).join(", ");
  if (text) return known ? `${String(text)} (${known})` : String(text);
  return known || JSON.stringify(why);
}

/** Round times for an axis of at most `most` labels. */
export function ticks(from: number, to: number, most: number): number[] {
  const minute = 60_000;
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 7_200, 14_400, 43_200].map((m) => m * minute);
  const step = (to - from) / most < 30_000 ? [1_000, 2_000, 5_000, 10_000, 15_000, 30_000].find((s) => (to - from) / s <= most) : undefined;
  const chosen = step ?? steps.find((s) => (to - from) / s <= most) ?? 86_400_000 * 60;
  const out: number[] = [];
  for (let t = Math.ceil(from / chosen) * chosen; t <= to; t += chosen) out.push(t);
  return out;
}
