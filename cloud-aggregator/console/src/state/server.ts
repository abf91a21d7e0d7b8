// Contact with the service: connected or not, its clock, and when to fetch again.
// Invariant: `now` is the service's time as far as it is known, so a wrong clock on this machine makes no false age.

import { batch, signal } from "@preact/signals";
import { onContact } from "../api/client.ts";
import { Live } from "../api/live.ts";
import { toMs } from "../pure/time.ts";

export type Contact = "connecting" | "up" | "down";

export const contact = signal<Contact>("connecting");
/** Since when there is no contact, server time; null while there is. */
export const downSince = signal<number | null>(null);
/** The service answers but refuses the live stream: its own words. */
export const liveRefused = signal<string | null>(null);
/** Time of the newest data that is shown, server time. */
export const dataOf = signal<number | null>(null);
/** Counts up with each connection: what was fetched before is to be fetched again. */
export const generation = signal(0);
/** Server time, one tick a second. */
export const now = signal(Date.now());
/** A turbine's newest fast reading is stale when older. */
export const STALE_AFTER_MS = 30_000;

let ahead = 0;
let exactClock = false;

export function serverNow(): number {
  return Date.now() + ahead;
}

type Handler = (data: never) => void;
const handlers = new Map<string, Set<Handler>>();

/** Calls back for each event of that name; returns how to stop. */
export function onEvent<T>(name: string, handler: (data: T) => void): () => void {
  const set = handlers.get(name) ?? new Set<Handler>();
  handlers.set(name, set);
  set.add(handler as Handler);
  return () => {
    set.delete(handler as Handler);
  };
}

export const live = new Live({
  opened() {
    liveRefused.value = null;
    reached();
  },
  lost(attempt, why) {
    liveRefused.value = why;
    // Who refuses has answered.
    if (why === null) unreached(attempt);
    else reached();
  },
  event(name, data) {
    if (name === "wall" && typeof data === "object" && data !== null && "at" in data) setClock(toMs(String(data.at)));
    reached();
    dataOf.value = serverNow();
    for (const handler of handlers.get(name) ?? []) (handler as (data: unknown) => void)(data);
  },
});

function setClock(at: number | null): void {
  if (at === null) return;
  ahead = at - Date.now();
  exactClock = true;
}

function reached(): void {
  if (contact.value === "up") return;
  batch(() => {
    contact.value = "up";
    downSince.value = null;
    generation.value += 1;
  });
}

/** The first failure may be a hiccup between two streams; the second is an outage. */
function unreached(attempt: number): void {
  if (contact.value === "down" || (attempt === 0 && contact.value === "up")) {
    if (downSince.value === null) downSince.value = dataOf.value ?? serverNow();
    return;
  }
  batch(() => {
    contact.value = "down";
    downSince.value ??= dataOf.value ?? serverNow();
  });
}

export function start(): void {
  onContact((ok, date) => {
    if (ok && date !== null && !exactClock && Math.abs(date - serverNow()) > 2_000) ahead = date - Date.now();
    if (!ok) unreached(1);
    else if (contact.value !== "up" && liveRefused.value !== null) reached();
    if (ok) dataOf.value = serverNow();
  });
  let ticked = Date.now();
  setInterval(() => {
    const wall = Date.now();
    // The machine slept, or its clock was set: what is shown is old, whatever the stream believes.
    if (wall - ticked > 20_000 || wall < ticked - 5_000) live.restart();
    ticked = wall;
    now.value = serverNow();
  }, 1_000);
  const wake = (): void => {
    if (document.visibilityState === "visible" && live.silentFor(Date.now()) > 20_000) live.restart();
  };
  document.addEventListener("visibilitychange", wake);
  addEventListener("pageshow", (event) => {
    if (event.persisted) live.restart();
  });
  addEventListener("online", () => live.restart());
}
