// A time chart: several channels, an axis per unit, gaps as gaps, what is provisional hatched, and an alert's limit.
// Invariant: the chart draws what it is given and asks for another range; it fetches nothing.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Series } from "../pure/series.ts";
import { align } from "../pure/series.ts";
import { measured } from "../pure/quantity.ts";
import { utc } from "../pure/time.ts";
import { title } from "../pure/words.ts";
import { theme } from "../state/theme.ts";
import { colours, overlay, timeAxis } from "./drawing.ts";
import type { Overlay } from "./drawing.ts";

export interface ChartProps {
  name: string;
  series: readonly Series[];
  from: number;
  to: number;
  overlay: Overlay;
  /** Charts with the same key share a cursor. */
  sync: string;
  height: number;
  /** Axes on the right that the charts beside it have: so that one moment stands at one place in all of them. */
  rightAxes: number;
  select(from: number, to: number): void;
  remove?: ((channel: string) => void) | undefined;
}

/** More axes than this leave no room for the lines. */
const AXES_MAX = 4;
/** Width of an axis with its label, pixels. */
const AXIS = 70;
const LABEL = 18;
const DASHES: readonly number[][] = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

export function Chart(props: ChartProps): VNode {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const cursor = useSignal<number | null>(null);
  const shape = `${theme.value} ${props.rightAxes} ${props.series.map((s) => `${s.channel}:${s.unit}`).join(",")}`;

  useEffect(() => {
    const target = box.current;
    if (!target) return undefined;
    const made = new uPlot(options(latest, target.clientWidth, cursor), data(latest.current), target);
    plot.current = made;
    const resize = new ResizeObserver(() => {
      if (target.clientWidth > 0) made.setSize({ width: target.clientWidth, height: latest.current.height });
    });
    resize.observe(target);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    made.batch(() => {
      made.setData(data(props), true);
      made.setScale("x", { min: props.from / 1000, max: props.to / 1000 });
    });
  }, [props.series, props.from, props.to, props.overlay, shape]);

  const at = cursor.value;
  return (
    <figure class="chart" aria-label={props.name}>
      <ul class="keys" aria-label={`Channels of ${props.name}`}>
        {props.series.map((s, i) => (
          <li key={s.channel}>
            <svg class="swatch" viewBox="0 0 22 8" aria-hidden="true">
              <line x1="0" y1="4" x2="22" y2="4" class={`s${i % 8}`} stroke-dasharray={(DASHES[Math.floor(i / 8)] ?? []).join(" ")} />
            </svg>
            <span>{title(s.channel)}</span>
            <span class="num key-value">{valueAt(s, at)}</span>
            {props.remove && (
              <button type="button" class="quiet" aria-label={`Remove ${title(s.channel)}`} onClick={() => props.remove?.(s.channel)}>
                {"\u00d7"}
              </button>
            )}
          </li>
        ))}
        <li class="num key-time">{at === null ? "" : `${utc(at, true)} UTC`}</li>
      </ul>
      {/* Its place is reserved before it is drawn. */}
      <div class="plot" ref={box} style={{ minHeight: `${props.height}px` }} data-points={props.series.reduce((n, s) => n + s.t.length, 0)} />
    </figure>
  );
}

function data(props: ChartProps): uPlot.AlignedData {
  return align(props.series) as uPlot.AlignedData;
}

/** The reading at or before the cursor (or the newest), with its band when it stands for many. */
function valueAt(s: Series, at: number | null): string {
  let i = s.t.length - 1;
  if (at !== null) {
    let low = 0;
    let high = s.t.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((s.t[middle] as number) <= at) low = middle + 1;
      else high = middle;
    }
    i = low - 1;
  }
  const mean = s.mean[i];
  if (mean === undefined) return `\u2013 ${s.unit}`;
  if (mean === null) return "no data";
  const min = s.min[i];
  const max = s.max[i];
  const band = typeof min === "number" && typeof max === "number" && max - min > 1e-9 ? ` (${measured(min)} \u2026 ${measured(max)})` : "";
  return measured(mean, s.unit) + band;
}

function options(latest: { current: ChartProps }, width: number, cursor: { value: number | null }): uPlot.Options {
  const props = latest.current;
  const paint = colours();
  const units = [...new Set(props.series.map((s) => s.unit))];
  const scaleOf = (unit: string): string => `y${Math.min(units.indexOf(unit), AXES_MAX - 1)}`;
  const scales: uPlot.Scales = { x: { time: true } };
  for (const unit of units) {
    scales[scaleOf(unit)] = {
      range: (_u, min, max) => spread(min, max, latest.current, unit),
    };
  }
  const axes: uPlot.Axis[] = [timeAxis(paint)];
  units.slice(0, AXES_MAX).forEach((unit, i) => {
    axes.push({
      scale: `y${i}`,
      side: i === 0 ? 3 : 1,
      label: i === AXES_MAX - 1 && units.length > AXES_MAX ? units.slice(i).join(", ") : unit || "code",
      labelSize: LABEL,
      size: AXIS - LABEL,
      gap: 4,
      stroke: paint.text,
      font: paint.font,
      labelFont: paint.font,
      grid: { show: i === 0, stroke: paint.grid, width: 1 },
      ticks: { stroke: paint.grid, width: 1, size: 4 },
      values: (_u, splits) => splits.map((v) => measuredTick(v, splits)),
    });
  });
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  props.series.forEach((s, i) => {
    const colour = paint.series[i % paint.series.length] ?? paint.text;
    const scale = scaleOf(s.unit);
    const common = { scale, spanGaps: false, points: { show: false } };
    const step = /setpoint|state|source|mode|reason/.test(s.channel) ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    const dash = DASHES[Math.floor(i / paint.series.length) % DASHES.length] ?? [];
    series.push({
      ...common,
      points: { show: (u: uPlot, n: number) => (u.data[n]?.length ?? 0) < 60, size: 4 },
      stroke: colour,
      width: 1.5,
      ...(dash.length > 0 ? { dash } : {}),
      ...(step ? { paths: step } : {}),
    });
    series.push({ ...common, stroke: "transparent", width: 0 }, { ...common, stroke: "transparent", width: 0 });
    bands.push({ series: [3 * i + 3, 3 * i + 2], fill: alpha(colour, 0.16) });
  });
  return {
    width: Math.max(200, width),
    height: props.height,
    legend: { show: false },
    padding: [20, 12 + Math.max(0, props.rightAxes - Math.min(units.length, AXES_MAX) + 1) * AXIS, 0, 0],
    tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: {
      sync: { key: props.sync, setSeries: false },
      drag: { x: true, y: false, setScale: false },
      points: { show: false },
    },
    scales,
    axes,
    series,
    bands,
    hooks: {
      drawClear: [(u) => overlay.behind(u, latest.current.overlay, paint)],
      draw: [(u) => overlay.before(u, latest.current.overlay, paint, scaleOf)],
      setCursor: [
        (u) => {
          const left = u.cursor.left ?? -1;
          cursor.value = left < 0 ? null : u.posToVal(left, "x") * 1000;
        },
      ],
      setSelect: [
        (u) => {
          if (u.select.width < 6) return;
          const from = u.posToVal(u.select.left, "x") * 1000;
          const to = u.posToVal(u.select.left + u.select.width, "x") * 1000;
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.select(Math.round(from), Math.round(to));
        },
      ],
    },
  };
}

/** A scale with room above and below, that holds the limit line too. */
function spread(min: number | null, max: number | null, props: ChartProps, unit: string): [number, number] {
  let low = min ?? 0;
  let high = max ?? 1;
  const limit = props.overlay.limit;
  if (limit && limit.unit === unit) {
    low = Math.min(low, limit.value);
    high = Math.max(high, limit.value);
  }
  if (unit === "kW" || unit === "m/s") low = Math.min(0, low);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low < 0 || low > room ? low - room : low, high + room];
}

function measuredTick(value: number, splits: readonly number[]): string {
  const step = Math.abs((splits[1] ?? value + 1) - (splits[0] ?? value));
  const decimals = step >= 1 ? 0 : Math.min(4, Math.ceil(-Math.log10(step)));
  return value.toFixed(decimals).replace("-", "\u2212");
}

function alpha(colour: string, opacity: number): string {
  const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
  if (!match) return colour;
  const [r, g, b] = match.slice(1).map((h) => parseInt(h, 16));
  return `rgba(${r},${g},${b},${opacity})`;
}
