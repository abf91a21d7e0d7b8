// Chooses the range of a page: presets that follow now, earlier and later, and exact times in UTC.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import type { Range } from "../pure/range.ts";
import { PRESETS, RANGE_MAX, bounds, shift, widen } from "../pure/range.ts";
import { parseTyped, span, utc } from "../pure/time.ts";
import { serverNow } from "../state/server.ts";

export function RangePicker({ range, choose, live = true }: { range: Range; choose(range: Range): void; live?: boolean }): VNode {
  const from = useSignal("");
  const to = useSignal("");
  const wrong = useSignal("");
  useEffect(() => {
    const b = bounds(range, serverNow());
    from.value = range.live ? "" : utc(b.from);
    to.value = range.live ? "" : utc(b.to);
    wrong.value = "";
  }, [range.live, range.live ? range.span : range.from, range.live ? 0 : range.to]);
  const submit = (event: Event): void => {
    event.preventDefault();
    const a = parseTyped(from.value);
    const b = parseTyped(to.value);
    if (a === null || b === null) wrong.value = `${a === null ? "From" : "To"}: expected a time like 2026-11-21 10:00:00`;
    else if (a >= b) wrong.value = "From must be before to";
    else if (b - a > RANGE_MAX) wrong.value = `At most ${span(RANGE_MAX)}`;
    else choose({ live: false, from: a, to: b });
  };
  return (
    <form class="range" onSubmit={submit} aria-label="Range">
      <span class="presets" role="group" aria-label={live ? "Live, the last" : "The last"}>
        {live && <span class="muted">Live</span>}
        {PRESETS.map((p) => (
          <button
            type="button"
            key={p.name}
            aria-pressed={range.live && range.span === p.span}
            onClick={() => {
              const at = serverNow();
              choose(live ? { live: true, span: p.span } : { live: false, from: at - p.span, to: at });
            }}
          >
            {p.name}
          </button>
        ))}
      </span>
      <button type="button" aria-label="Earlier" title="Earlier" onClick={() => choose(shift(range, -1, serverNow()))}>
        {"\u25c0"}
      </button>
      <label class="field">
        From
        <input class="num" size={19} placeholder={range.live ? `${span(range.span)} ago` : "2026-11-21 10:00:00"} value={from.value} onInput={(e) => (from.value = e.currentTarget.value)} aria-invalid={wrong.value !== ""} />
      </label>
      <label class="field">
        to
        <input class="num" size={19} placeholder={range.live ? "now" : "2026-11-21 11:00:00"} value={to.value} onInput={(e) => (to.value = e.currentTarget.value)} aria-invalid={wrong.value !== ""} />
      </label>
      <span class="muted">UTC</span>
      <button type="submit">Show</button>
      <button type="button" aria-label="Later" title="Later" disabled={range.live} onClick={() => choose(shift(range, 1, serverNow()))}>
        {"\u25b6"}
      </button>
      <button type="button" onClick={() => choose(widen(range, serverNow()))}>
        Zoom out
      </button>
      {wrong.value && (
        <span class="error" role="alert">
          {wrong.value}
        </span>
      )}
    </form>
  );
}
