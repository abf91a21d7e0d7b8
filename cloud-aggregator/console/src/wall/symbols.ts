// The symbols and bars of small tiles: one canvas over their grid. An element for each of them would cost a large fleet's
// wall more memory than everything else in the page, and so would what is left behind when they change each second.
// Invariant: only what changed is drawn; what is drawn here says nothing that the tile's link does not say in words.

import type { Tiling } from "../pure/geometry.ts";
import { cell } from "../pure/geometry.ts";
import type { Attention, Look } from "../pure/wall.ts";
import { ATTENTION_MARKS, LOOK_MARKS, MARK_BOX } from "./marks.ts";

/** Distance of a bar from the tile's sides, in pixels. */
const BAR_EDGE = 2;

/** What a small tile shows. */
export interface Sign {
  look: Look;
  alert: Attention;
  /** Somebody has acknowledged all its alerts. */
  seen: boolean;
  /** Length of the bar, 0 to 1; null draws none. */
  bar: number | null;
}

/** Where and how large: symbols of `size` pixels, over bars if `bar` pixels are left for them. */
export interface Sizes {
  tiling: Tiling;
  gap: number;
  size: number;
  bar: number;
}

/** The style's name of the colour that the symbol is drawn in. */
export function tone({ look, alert, seen }: Sign): string {
  if (alert === "critical" || alert === "warning") {
    if (look === "stale") return alert === "critical" ? "--critical" : "--stale-text";
    if (seen) return alert === "critical" ? "--critical" : "--tile-text";
    return `--on-${alert}`;
  }
  return look === "limited" || look === "outage" ? `--${look}` : "--tile-mark";
}

const shapes = new Map<string, Path2D>();

function shape(path: string): Path2D {
  let made = shapes.get(path);
  if (!made) {
    made = new Path2D(path);
    shapes.set(path, made);
  }
  return made;
}

export class Symbols {
  /** Lies over the grid. */
  readonly box = document.createElement("canvas");
  readonly #colours = new Map<string, string>();
  #dense = 1;

  constructor() {
    this.box.className = "symbols";
    this.box.setAttribute("aria-hidden", "true");
    this.#fit(0, 0);
  }

  /** Makes room for so many tiles, in the colours of now; nothing is drawn yet. */
  reset(count: number, { tiling, gap }: Sizes): void {
    const rows = Math.ceil(count / tiling.columns);
    this.#dense = devicePixelRatio || 1;
    this.#colours.clear();
    this.#fit(tiling.columns * (tiling.width + gap), rows * (tiling.height + gap));
  }

  /** Holds no pixels any more. */
  clear(): void {
    this.#fit(0, 0);
  }

  #fit(width: number, height: number): void {
    this.box.width = Math.ceil(width * this.#dense);
    this.box.height = Math.ceil(height * this.#dense);
    this.box.style.width = `${width}px`;
    this.box.style.height = `${height}px`;
  }

  #colour(name: string): string {
    let colour = this.#colours.get(name);
    if (colour === undefined) {
      colour = getComputedStyle(this.box).getPropertyValue(name).trim();
      this.#colours.set(name, colour);
    }
    return colour;
  }

  /** Draws these of the grid's tiles. */
  draw(places: Iterable<number>, signs: (place: number) => Sign | undefined, { tiling, gap, size, bar }: Sizes): void {
    const pen = this.box.getContext("2d");
    if (!pen) return;
    const dense = this.#dense;
    const scale = (size / MARK_BOX) * dense;
    for (const place of places) {
      const sign = signs(place);
      if (!sign) continue;
      const { x, y } = cell(place, tiling, gap);
      pen.setTransform(dense, 0, 0, dense, x * dense, y * dense);
      pen.clearRect(0, 0, tiling.width, tiling.height);
      if (bar > 0 && sign.bar !== null) {
        pen.fillStyle = this.#colour("--bar");
        pen.fillRect(BAR_EDGE, tiling.height - bar - 1, sign.bar * (tiling.width - 2 * BAR_EDGE), bar);
      }
      const alarm = sign.alert === "critical" || sign.alert === "warning";
      pen.fillStyle = this.#colour(tone(sign));
      pen.setTransform(scale, 0, 0, scale, (x + (tiling.width - size) / 2) * dense, (y + (tiling.height - bar - size) / 2) * dense);
      pen.fill(shape(alarm ? ATTENTION_MARKS[sign.alert] : LOOK_MARKS[sign.look]), "evenodd");
    }
  }
}
