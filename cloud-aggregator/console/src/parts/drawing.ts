// What a chart shows beside its lines: stretches without data, what is provisional, an alert's window and limit, and the
// operating state. Colours come from the style sheet, so that both themes and print have their own.

import type uPlot from "uplot";

export interface Overlay {
  gaps: readonly [number, number][];
  provisional: readonly [number, number][];
  /** Where time has not come yet: nothing is missing there, and nothing provisional. */
  future: number;
  window: { from: number; to: number } | null;
  limit: { value: number; unit: string; text: string } | null;
  states: readonly { from: number; to: number; text: string; calm: boolean }[];
}

export const NO_OVERLAY: Overlay = { gaps: [], provisional: [], future: Infinity, window: null, limit: null, states: [] };

export interface Paint {
  text: string;
  muted: string;
  grid: string;
  gap: string;
  hatch: string;
  window: string;
  limit: string;
  state: string;
  stateCalm: string;
  font: string;
  series: string[];
}

export function colours(): Paint {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(name).trim();
  const em = parseFloat(style.fontSize) || 13;
  return {
    text: of("--text-soft"),
    muted: of("--muted"),
    grid: of("--chart-grid"),
    gap: of("--chart-gap"),
    hatch: of("--chart-hatch"),
    window: of("--chart-window"),
    limit: of("--critical"),
    state: of("--chart-state"),
    stateCalm: of("--chart-state-calm"),
    font: `${Math.round(em * 0.85)}px ${of("--font")}`,
    series: Array.from({ length: 8 }, (_, i) => of(`--s${i}`)),
  };
}

const SECONDS_A_DAY = 86_400;

/** Times on the axis: seconds when close, dates when far, the date once where the day changes. */
export function timeAxis(paint: Paint): uPlot.Axis {
  return {
    stroke: paint.text,
    font: paint.font,
    size: 46,
    grid: { stroke: paint.grid, width: 1 },
    ticks: { stroke: paint.grid, width: 1, size: 4 },
    space: 84,
    values: (_u, splits, _axis, _space, step) => {
      let day = "";
      return splits.map((seconds) => {
        const iso = new Date(seconds * 1000).toISOString();
        const date = iso.slice(0, 10);
        if (step >= SECONDS_A_DAY) return date;
        const clock = step < 60 ? iso.slice(11, 19) : iso.slice(11, 16);
        const text = date === day ? clock : `${clock}\n${date}`;
        day = date;
        return text;
      });
    },
  };
}

/** Pixels of a stretch of time inside the plot; null when it is out of sight. */
function place(u: uPlot, from: number, to: number): { x: number; w: number } | null {
  const { left, width } = u.bbox;
  const a = Math.max(left, u.valToPos(from / 1000, "x", true));
  const b = Math.min(left + width, u.valToPos(to / 1000, "x", true));
  return b > a ? { x: a, w: b - a } : null;
}

function hatch(ctx: CanvasRenderingContext2D, x: number, y: number, w: number, h: number, colour: string, step: number): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, w, h);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.beginPath();
  const first = Math.floor((x - h) / step) * step;
  for (let at = first; at < x + w; at += step) {
    ctx.moveTo(at, y + h);
    ctx.lineTo(at + h, y);
  }
  ctx.stroke();
  ctx.restore();
}

function behind(u: uPlot, o: Overlay, paint: Paint): void {
  const { ctx } = u;
  const { top, height, left, width } = u.bbox;
  ctx.save();
  if (o.window) {
    const at = place(u, o.window.from, o.window.to);
    if (at) {
      ctx.fillStyle = paint.window;
      ctx.fillRect(at.x, top, Math.max(2, at.w), height);
    }
  }
  for (const [from, to] of o.gaps) {
    const at = place(u, from, Math.min(to, o.future));
    if (!at) continue;
    ctx.fillStyle = paint.gap;
    ctx.fillRect(at.x, top, at.w, height);
    label(ctx, "no data", at.x, at.w, top + height - 6 * devicePixelRatio, paint.muted, paint.font);
  }
  for (const [from, to] of o.provisional) {
    const at = place(u, from, Math.min(to, o.future, u.posToVal(left + width, "x", true) * 1000));
    if (!at) continue;
    hatch(ctx, at.x, top, at.w, height, paint.hatch, 9 * devicePixelRatio);
    label(ctx, "provisional", at.x, at.w, top + height - 6 * devicePixelRatio, paint.muted, paint.font);
  }
  ctx.restore();
}

function before(u: uPlot, o: Overlay, paint: Paint, scaleOf: (unit: string) => string): void {
  const { ctx } = u;
  const { left, width, top } = u.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  const band = 16 * ratio;
  const y = top - band - 2 * ratio;
  for (const state of o.states) {
    const at = place(u, state.from, state.to);
    if (!at) continue;
    ctx.fillStyle = state.calm ? paint.stateCalm : paint.state;
    ctx.fillRect(at.x, y, Math.max(1, at.w - ratio), band);
    label(ctx, state.text, at.x, at.w, y + band - 4.5 * ratio, paint.text, paint.font);
  }
  if (o.limit && u.scales[scaleOf(o.limit.unit)]) {
    const at = u.valToPos(o.limit.value, scaleOf(o.limit.unit), true);
    ctx.strokeStyle = paint.limit;
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([8 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(left, at);
    ctx.lineTo(left + width, at);
    ctx.stroke();
    ctx.setLineDash([]);
    label(ctx, o.limit.text, left, width, at - 4 * ratio, paint.limit, paint.font);
  }
  ctx.restore();
}

/** Text where there is room for it. */
function label(ctx: CanvasRenderingContext2D, text: string, x: number, w: number, y: number, colour: string, font: string): void {
  const ratio = devicePixelRatio;
  ctx.font = font.replace(/^(\d+)px/, (_, px: string) => `${Number(px) * ratio}px`);
  const pad = 4 * ratio;
  if (ctx.measureText(text).width + 2 * pad > w) return;
  ctx.fillStyle = colour;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.fillText(text, x + pad, y);
}

export const overlay = { behind, before };
