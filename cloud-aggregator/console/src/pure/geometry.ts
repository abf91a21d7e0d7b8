// How large a tile may be, so that the fleet fits the screen it is on.

/** What fits into a tile of that size. */
export type Detail = "mark" | "name" | "power" | "full";

export interface Tiling {
  columns: number;
  width: number;
  height: number;
  detail: Detail;
  /** All tiles fit without scrolling. */
  fits: boolean;
}

/** Width over height of a tile: it may be flatter where that lets the fleet fit. */
const RATIO_MIN = 1.25;
const RATIO_MAX = 1.6;
export const WIDTH_MIN = 20;
export const WIDTH_MAX = 150;
/** Three lines of text and a bar need no more, in units of the text's size. */
const HEIGHT_MAX_EM = 6.4;
/** Least width for those who rather scroll than guess, in units of the text's size. */
export const READABLE_EM = 8.4;

/** The detail that a width allows; `em` is the size of the page's text in pixels. */
export function detailOf(width: number, em: number): Detail {
  if (width < 3.4 * em) return "mark";
  if (width < 5.4 * em) return "name";
  if (width < 8.2 * em) return "power";
  return "full";
}

/**
 * Greatest tile with which all groups fit into the box, one under the other with `header` pixels above each; never below
 * the least width, then the box scrolls.
 */
export function fit(groups: readonly number[], box: { width: number; height: number }, gap: number, em: number, header = 0, least = WIDTH_MIN): Tiling {
  const most = Math.max(1, Math.floor((box.width + gap) / (least + gap)));
  const tiling = (columns: number): Tiling => {
    const width = Math.min(Math.round(WIDTH_MAX * (em / 13)), Math.floor((box.width + gap) / columns) - gap);
    const across = Math.max(1, Math.floor((box.width + gap) / (width + gap)));
    const rows = groups.reduce((sum, n) => sum + Math.ceil(n / across), 0);
    const room = Math.floor((box.height - groups.length * header) / Math.max(1, rows)) - gap;
    const flat = Math.min(Math.ceil(width / RATIO_MAX), Math.round(HEIGHT_MAX_EM * em));
    const height = Math.min(Math.floor(width / RATIO_MIN), Math.round(HEIGHT_MAX_EM * em), Math.max(flat, room));
    return { columns: across, width, height, detail: detailOf(width, em), fits: room >= flat };
  };
  for (let columns = 1; columns < most; columns += 1) {
    const tried = tiling(columns);
    if (tried.fits) return tried;
  }
  return tiling(most);
}

/** Upper left corner of the n-th tile (from 0) of a grid. */
export function cell(place: number, tiling: Tiling, gap: number): { x: number; y: number } {
  return { x: (place % tiling.columns) * (tiling.width + gap), y: Math.floor(place / tiling.columns) * (tiling.height + gap) };
}

/** The place that an arrow key leads to in a grid of `count` tiles. */
export function move(from: number, key: string, columns: number, count: number): number {
  const to =
    key === "ArrowRight"
      ? from + 1
      : key === "ArrowLeft"
        ? from - 1
        : key === "ArrowDown"
          ? from + columns
          : key === "ArrowUp"
            ? from - columns
            : key === "Home"
              ? 0
              : key === "End"
                ? count - 1
                : key === "PageDown"
                  ? Math.min(count - 1, from + columns * 5)
                  : key === "PageUp"
                    ? Math.max(0, from - columns * 5)
                    : from;
  return to < 0 || to >= count ? from : to;
}
