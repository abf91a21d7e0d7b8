// Lanes of a timeline on one axis: UTC above, site time below. The table beside it says the same in words.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { TimelineItem } from "../api/types.ts";
import { LANES, bars, ticks } from "../pure/timeline.ts";
import type { Bar } from "../pure/timeline.ts";
import { DAY, inZone, offsetText, span, toMs, utc } from "../pure/time.ts";
import { sourceName } from "../pure/words.ts";

interface Props {
  items: readonly TimelineItem[];
  from: number;
  to: number;
  zone: string | undefined;
  select(from: number, to: number): void;
}

const NAME = 150;
const ROW = 26;
const TOP = 22;
/** More bars than pixels help nobody. */
const BARS_MAX = 1500;

export function Lanes({ items, from, to, zone, select }: Props): VNode {
  const box = useRef<HTMLDivElement>(null);
  const width = useSignal(1000);
  const said = useSignal("");
  const drag = useSignal<{ a: number; b: number } | null>(null);
  useEffect(() => {
    const target = box.current;
    if (!target) return undefined;
    const resize = new ResizeObserver(() => {
      width.value = Math.max(400, target.clientWidth);
    });
    resize.observe(target);
    return () => resize.disconnect();
  }, []);
  const w = width.value - NAME - 8;
  const height = TOP + LANES.length * ROW + 22;
  const x = (t: number): number => NAME + ((t - from) / (to - from)) * w;
  const time = (event: PointerEvent): number => {
    const left = (event.currentTarget as Element).getBoundingClientRect().left;
    const share = Math.min(1, Math.max(0, (event.clientX - left - NAME) / w));
    return from + share * (to - from);
  };
  const label = (text: string): string => (to - from > 2 * DAY ? text.slice(5, 16) : text.slice(11, to - from < 600_000 ? 19 : 16));
  return (
    <div class="lanes" ref={box}>
      <svg
        width={width.value}
        height={height}
        viewBox={`0 0 ${width.value} ${height}`}
        role="img"
        aria-label="Timeline; the table of events says the same in words"
        onPointerDown={(e) => (drag.value = { a: time(e), b: time(e) })}
        onPointerMove={(e) => {
          if (drag.value) drag.value = { a: drag.value.a, b: time(e) };
        }}
        onPointerLeave={() => (drag.value = null)}
        onPointerUp={() => {
          const d = drag.value;
          drag.value = null;
          if (d && Math.abs(d.b - d.a) > (to - from) / 100) select(Math.round(Math.min(d.a, d.b)), Math.round(Math.max(d.a, d.b)));
        }}
      >
        {ticks(from, to, Math.max(2, Math.floor(w / 110))).map((t) => (
          <g key={t} class="tick">
            <line x1={x(t)} x2={x(t)} y1={TOP - 4} y2={TOP + LANES.length * ROW} />
            <text x={x(t)} y={12} text-anchor="middle">
              {label(utc(t))}
            </text>
            {zone && (
              <text x={x(t)} y={height - 6} text-anchor="middle">
                {label(inZone(t, zone))}
              </text>
            )}
          </g>
        ))}
        <text class="axis-name" x={4} y={12}>
          UTC
        </text>
        {zone && (
          <text class="axis-name" x={4} y={height - 6}>
            Site ({offsetText(to, zone)})
          </text>
        )}
        {LANES.map(({ lane, name, none }, row) => {
          const y = TOP + row * ROW;
          const list = bars(items, lane, from, to).slice(0, BARS_MAX);
          return (
            <g key={lane} class="lane" data-lane={lane}>
              <line class="rule" x1={0} x2={width.value} y1={y + ROW} y2={y + ROW} />
              <text x={4} y={y + 17}>
                {name}
              </text>
              {list.length === 0 && (
                <text class="none" x={NAME + 6} y={y + 17}>
                  {none}
                </text>
              )}
              {list.map((bar, i) => (
                <Piece key={i} bar={bar} left={NAME + bar.x * w} width={bar.width * w} y={y} say={(text) => (said.value = text)} />
              ))}
            </g>
          );
        })}
        {drag.value && <rect class="drag" x={x(Math.min(drag.value.a, drag.value.b))} y={TOP} width={Math.abs(x(drag.value.b) - x(drag.value.a))} height={LANES.length * ROW} />}
      </svg>
      <p class="said num" aria-hidden="true">
        {said.value || "Point at a bar for its times; drag to choose a range."}
      </p>
    </div>
  );
}

function Piece({ bar, left, width, y, say }: { bar: Bar; left: number; width: number; y: number; say(text: string): void }): VNode {
  const { item } = bar;
  const from = toMs(item.from) ?? 0;
  const to = toMs(item.to);
  const point = (item.lane === "alarm" || item.lane === "clock") && width < 5;
  const words = [bar.text, `${utc(from, true)} UTC`, to === null ? "goes on" : `for ${span(to - from)}`, item.source && item.lane !== "setpoint" ? `source ${sourceName(item.source)}` : "", item.cause ? `cause ${item.cause}` : ""];
  return (
    <g class="piece" data-tone={bar.tone} onPointerEnter={() => say(words.filter(Boolean).join(", "))}>
      {point ? <path d={`M${left} ${y + 4}l5 9-5 9-5-9z`} /> : <rect x={left} y={y + 4} width={Math.max(1.5, width - 0.5)} height={ROW - 8} />}
      {bar.tone === "requested" && !point && <rect class="stripe" x={left} y={y + 4} width={Math.max(1.5, width - 0.5)} height={4} />}
      {!point && bar.text.length * 6.6 + 10 < width && (
        <text x={left + 5} y={y + 17}>
          {bar.text}
        </text>
      )}
    </g>
  );
}
