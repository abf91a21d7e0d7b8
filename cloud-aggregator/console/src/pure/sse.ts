// Server-sent events from bytes, and when to try again. Pure, so that a torn chunk is a test and not an outage.

export interface ServerEvent {
  event: string;
  data: string;
}

/** Longest event that is kept; a fleet's full snapshot is some hundred kilobytes. */
const EVENT_MAX = 16 * 1024 * 1024;

/**
 * Collects text and gives complete events. Comments (heartbeats) give none. A torn line is kept in its pieces until its end
 * comes: joining them with each piece would copy a large event many times.
 */
export class EventParser {
  #rest: string[] = [];
  #restSize = 0;
  #event = "";
  #data: string[] = [];
  #size = 0;

  push(chunk: string): ServerEvent[] {
    const out: ServerEvent[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf("\n", from);
      if (end < 0) break;
      const piece = chunk.slice(from, end);
      const line = this.#rest.length > 0 ? this.#rest.join("") + piece : piece;
      this.#rest = [];
      this.#restSize = 0;
      from = end + 1;
      this.#line(line.endsWith("\r") ? line.slice(0, -1) : line, out);
    }
    if (from < chunk.length) {
      this.#rest.push(chunk.slice(from));
      this.#restSize += chunk.length - from;
      if (this.#restSize > EVENT_MAX) throw new Error(`a line of the live stream is longer than ${EVENT_MAX} characters`);
    }
    return out;
  }

  #line(line: string, out: ServerEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) out.push({ event: this.#event || "message", data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      this.#size = 0;
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#event = value;
    if (field === "data") {
      this.#size += value.length;
      if (this.#size > EVENT_MAX) throw new Error(`an event of the live stream is longer than ${EVENT_MAX} characters`);
      this.#data.push(value);
    }
  }
}

const FIRST_MS = 500;
const LAST_MS = 15_000;

/** How long to wait before the n-th new attempt (from 0): doubling, with jitter; `random` is in [0, 1). */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 20));
  return Math.round(ceiling * (0.5 + random / 2));
}
