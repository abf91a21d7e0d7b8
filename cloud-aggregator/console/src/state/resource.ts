// Something fetched: keeps what it had while it fetches again, and fetches again when the service is back.

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Refused, Unreachable } from "../api/client.ts";
import { generation } from "./server.ts";

export interface Resource<T> {
  data: T | null;
  /** The service's word when it refused; an outage is the header's matter. */
  error: string | null;
  loading: boolean;
  /** What `data` answers. */
  key: string;
}

/** How long the service is left alone when it says that it is busy. */
const BUSY_MS = 2_000;

const EMPTY = { data: null, error: null, loading: true, key: "" };

/**
 * Fetches whenever `key` changes, on reconnection, and every `everyMs` if given. `null` as key fetches nothing. With
 * `keep` false, data of another key are not shown.
 */
export function useResource<T>(
  key: string | null,
  fetcher: (signal: AbortSignal) => Promise<T>,
  options: { everyMs?: number; keep?: boolean } = {},
): ReadonlySignal<Resource<T>> & { refresh?: () => void } {
  const state = useSignal<Resource<T>>(EMPTY as Resource<T>);
  const wanted = useSignal(key);
  const again = useSignal(0);
  const latest = useRef(fetcher);
  latest.current = fetcher;
  useEffect(() => {
    wanted.value = key;
  }, [key]);
  useSignalEffect(() => {
    const current = wanted.value;
    generation.value;
    again.value;
    if (current === null) return undefined;
    const abort = new AbortController();
    let retry: ReturnType<typeof setTimeout> | undefined;
    const before = state.peek();
    state.value = {
      data: options.keep === false && before.key !== current ? null : before.data,
      error: before.key === current ? before.error : null,
      loading: true,
      key: before.key,
    };
    latest
      .current(abort.signal)
      .then((data) => {
        if (!abort.signal.aborted) state.value = { data, error: null, loading: false, key: current };
      })
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        if (error instanceof Refused && error.problem.status === 503) {
          retry = setTimeout(() => {
            again.value += 1;
          }, BUSY_MS);
        }
        const text = error instanceof Unreachable ? null : error instanceof Error ? error.message : String(error);
        const kept = state.peek();
        state.value = { data: text === null || kept.key === current ? kept.data : null, error: text, loading: false, key: text === null ? kept.key : current };
      });
    return () => {
      clearTimeout(retry);
      abort.abort();
    };
  });
  useEffect(() => {
    if (!options.everyMs) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") again.value += 1;
    }, options.everyMs);
    return () => clearInterval(timer);
  }, [options.everyMs]);
  const out = useComputed(() => state.value) as ReadonlySignal<Resource<T>> & { refresh?: () => void };
  out.refresh = () => {
    again.value += 1;
  };
  return out;
}
