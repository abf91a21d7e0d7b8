// The fleet as the wall shows it: rows from the live stream, names and links from the lists, alarms computed now.
// Invariant: rows are changed in place and announced through `revision`; whoever draws asks for what changed.

import { signal } from "@preact/signals";
import { all } from "../api/client.ts";
import type { Alarm, Farm, Turbine, WallEvent } from "../api/types.ts";
import { ageOut, apply, fromTurbine } from "../pure/wall.ts";
import type { Row } from "../pure/wall.ts";
import { STALE_AFTER_MS, contact, generation, liveRefused, now, onEvent, serverNow } from "./server.ts";

const FLEET_MAX = 10_000;
const LISTS_MAX = 2_000;
const POLL_MS = 5_000;

export const rows = new Map<string, Row>();
/** Counts up when rows changed. */
export const revision = signal(0);
export const farms = signal<Farm[]>([]);
export const alarms = signal<Alarm[]>([]);
/** Turbines' lists were fetched at least once: an empty wall is an empty fleet. */
export const loaded = signal(false);
/** What the live stream does not carry; it is as the fleet file was when the service started. */
const places = new Map<string, { farm: string; gateway: string }>();

const watchers = new Set<Set<string>>();

/** A set that collects the ids that changed since it was last emptied. */
export function watchChanges(): { changed: Set<string>; stop: () => void } {
  const changed = new Set<string>(rows.keys());
  watchers.add(changed);
  return {
    changed,
    stop: () => {
      watchers.delete(changed);
    },
  };
}

/** A hidden tab only collects what changed; it draws once it is seen again. */
function announce(ids: Iterable<string>): void {
  for (const id of ids) for (const watcher of watchers) watcher.add(id);
  if (document.visibilityState === "visible") revision.value += 1;
}

export function farmOf(id: string | null | undefined): Farm | undefined {
  return farms.value.find((f) => f.id === id);
}

async function loadTurbines(): Promise<void> {
  const asked = generation.peek();
  const items = await all<Turbine>("/turbines", { sort: "id" }, FLEET_MAX);
  if (asked !== generation.peek() && asked !== 0) return;
  const at = serverNow();
  places.clear();
  const changed = new Set<string>();
  for (const item of items) {
    places.set(item.id, { farm: item.farm ?? "", gateway: item.gateway });
    const row = rows.get(item.id);
    if (!row || liveRefused.peek() !== null) rows.set(item.id, fromTurbine(item, at));
    else settle(row);
    changed.add(item.id);
  }
  loaded.value = true;
  announce(changed);
}

/** Gives a row its farm and gateway, if they are known. */
function settle(row: Row): boolean {
  const place = places.get(row.id);
  if (place) Object.assign(row, place);
  return place !== undefined;
}

function onWall(event: WallEvent): void {
  const changed = apply(rows, event);
  let unknown = false;
  for (const id of changed) {
    const row = rows.get(id);
    if (row && !settle(row) && loaded.peek()) unknown = true;
  }
  if (unknown) void loadTurbines().catch(() => undefined);
  announce(changed);
}

async function poll(): Promise<void> {
  const [a, f] = await Promise.all([all<Alarm>("/alarms", {}, LISTS_MAX), all<Farm>("/farms", {}, LISTS_MAX)]);
  // Same content, same object: nothing that shows it has to run again.
  if (JSON.stringify(a) !== JSON.stringify(alarms.peek())) alarms.value = a;
  if (JSON.stringify(f) !== JSON.stringify(farms.peek())) farms.value = f;
}

export function start(): void {
  onEvent<WallEvent>("wall", onWall);
  const tick = (): void => {
    void poll().catch(() => undefined);
    // Without a live stream the list is all there is.
    if (liveRefused.peek() !== null) void loadTurbines().catch(() => undefined);
  };
  generation.subscribe(() => {
    void poll().catch(() => undefined);
    void loadTurbines().catch(() => undefined);
  });
  setInterval(() => {
    if (document.visibilityState === "visible") tick();
  }, POLL_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") revision.value += 1;
  });
  now.subscribe((at) => {
    if (contact.peek() !== "down") return;
    const changed = new Set<string>();
    if (ageOut(rows.values(), at, STALE_AFTER_MS, changed)) announce(changed);
  });
}
