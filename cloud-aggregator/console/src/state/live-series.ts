// A turbine's newest values and the live end of its charts. Bounded: what was fetched, and at most POINTS_MAX points after.

import { useComputed, useSignal } from "@preact/signals";
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { ChannelValue, Readings, TurbineDetail } from "../api/types.ts";
import type { Series } from "../pure/series.ts";
import { append, fromReadings } from "../pure/series.ts";
import { toMs } from "../pure/time.ts";
import { onEvent } from "./server.ts";

const POINTS_MAX = 3_600;
/** A pause of the live stream that is longer breaks the line. */
const GAP_MS = 30_000;

interface TurbineEvent {
  id?: string;
  values: ChannelValue[];
}

/** Newest value by channel: from the page's fetch, then from the live stream. */
export function useValues(id: string, detail: TurbineDetail | null): ReadonlySignal<ReadonlyMap<string, ChannelValue>> {
  const values = useSignal<ReadonlyMap<string, ChannelValue>>(new Map());
  const put = (list: readonly ChannelValue[]): void => {
    const next = new Map(values.peek());
    for (const value of list) next.set(value.channel, value);
    values.value = next;
  };
  useEffect(() => {
    if (detail) put(detail.values ?? []);
  }, [detail]);
  useEffect(() => onEvent<TurbineEvent>("turbine", (event) => put(event.values)), [id]);
  return values;
}

/** The fetched series; when following (`spanMs`), with live values at the end. */
export function useLiveSeries(id: string, readings: Readings | null, spanMs: number | null): ReadonlySignal<Series[]> {
  const state = useSignal<Series[]>([]);
  const follow = useRef(spanMs);
  follow.current = spanMs;
  useEffect(() => {
    state.value = readings ? fromReadings(readings) : [];
  }, [readings]);
  useEffect(
    () =>
      onEvent<TurbineEvent>("turbine", (event) => {
        const length = follow.current;
        if (length === null) return;
        let grew = false;
        for (const value of event.values) {
          const series = state.peek().find((s) => s.channel === value.channel);
          const at = toMs(value.time);
          if (series && at !== null) grew = append(series, at, value.value, GAP_MS, POINTS_MAX, length) || grew;
        }
        // The same series in a new list: the chart draws again, nothing is copied.
        if (grew) state.value = state.peek().map((s) => ({ ...s }));
      }),
    [id],
  );
  return useComputed(() => state.value);
}
