// The live stream: one per tab, read through fetch so that heartbeats and refusals are seen.
// Invariants: never two streams at once; a silent stream is cut after SILENCE_MS; every new stream begins with a full
// snapshot, so what was missed does not matter.

import { EventParser, backoff } from "../pure/sse.ts";
import { url } from "./client.ts";
import type { Parameters } from "./client.ts";

/** More than two heartbeats of the service. */
const SILENCE_MS = 35_000;

export interface LiveHandlers {
  event(name: string, data: unknown): void;
  opened(): void;
  /** The stream ended or could not be opened; `why` is the service's word when it refused. */
  lost(attempt: number, why: string | null): void;
}

export class Live {
  readonly #handlers: LiveHandlers;
  #wanted: Parameters | null = null;
  #abort: AbortController | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #heard = 0;

  constructor(handlers: LiveHandlers) {
    this.#handlers = handlers;
    setInterval(() => this.#watch(), 5_000);
  }

  /** Listens to other topics; the same ones again change nothing. */
  want(parameters: Parameters): void {
    if (this.#wanted && url("/live", this.#wanted) === url("/live", parameters)) return;
    this.#wanted = parameters;
    this.restart();
  }

  /** A new stream at once: after other topics, sleep, or a network that came back. */
  restart(): void {
    this.#stop();
    this.#attempt = 0;
    void this.#run();
  }

  /** Has nothing been heard for so long? */
  silentFor(now: number): number {
    return now - this.#heard;
  }

  #stop(): void {
    clearTimeout(this.#retry);
    this.#abort?.abort();
    this.#abort = null;
  }

  #watch(): void {
    if (this.#abort && this.silentFor(Date.now()) > SILENCE_MS) this.#abort.abort();
  }

  async #run(): Promise<void> {
    if (!this.#wanted) return;
    const abort = new AbortController();
    this.#abort = abort;
    this.#heard = Date.now();
    let why: string | null = null;
    try {
      why = await this.#read(abort);
    } catch {
      // Cut, refused by the network, or silent: the next attempt follows.
    }
    if (this.#abort !== abort) return;
    this.#abort = null;
    this.#handlers.lost(this.#attempt, why);
    this.#retry = setTimeout(() => void this.#run(), backoff(this.#attempt, Math.random()));
    this.#attempt += 1;
  }

  async #read(abort: AbortController): Promise<string | null> {
    const response = await fetch(url("/live", this.#wanted ?? {}), {
      headers: { accept: "text/event-stream" },
      signal: abort.signal,
      cache: "no-store",
    });
    if (!response.ok || !response.body) {
      const problem: unknown = await response.json().catch(() => null);
      const detail = typeof problem === "object" && problem !== null && "detail" in problem ? String(problem.detail) : "";
      return detail || `the live stream answered ${response.status}`;
    }
    this.#handlers.opened();
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return null;
      this.#heard = Date.now();
      this.#attempt = 0;
      for (const { event, data } of parser.push(decoder.decode(value, { stream: true }))) {
        if (this.#abort === abort) this.#handlers.event(event, JSON.parse(data));
      }
    }
  }
}
