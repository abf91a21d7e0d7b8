// The symbols: state and alert are told by shape, colour only adds to it. Each is one path in a box of MARK_BOX by
// MARK_BOX.

import type { Attention, Look } from "../pure/wall.ts";

/** Side of the box that a symbol is drawn in. */
export const MARK_BOX = 16;

const RING = "M8 2.5a5.5 5.5 0 1 0 .01 0zM8 4.3a3.7 3.7 0 1 1-.01 0z";

export const LOOK_MARKS: Record<Look, string> = {
  run: "M8 5.2a2.8 2.8 0 1 0 .01 0z",
  limited: "M2.5 3h11v2h-11zM3.5 7h9L8 13.5z",
  standby: RING,
  waiting: "M3.5 2.5h9L8 8l4.5 5.5h-9L8 8z",
  stopped: "M4 3h3v10H4zM9 3h3v10H9z",
  service: "M8 1.5L14.5 8 8 14.5 1.5 8zM8 4.4L11.6 8 8 11.6 4.4 8z",
  outage: "M2.5 2.5h11v11h-11z",
  unknown: "M3 7h10v2H3z",
  stale: "M8 1.8a6.2 6.2 0 1 0 .01 0zM8 3.4a4.6 4.6 0 1 1-.01 0zM7.2 4.8h1.6v2.9h2.4v1.6h-4z",
  never: "M4.1 2.9L8 6.8l3.9-3.9 1.2 1.2L9.2 8l3.9 3.9-1.2 1.2L8 9.2l-3.9 3.9-1.2-1.2L6.8 8 2.9 4.1z",
};

export const ATTENTION_MARKS: Record<Attention, string> = {
  critical: "M5 1h6l4 4v6l-4 4H5l-4-4V5zM7 4v5h2V4zM7 10.4v2h2v-2z",
  warning: "M8 1.2L15.4 14.4H.6zM7.2 5.6v4.6h1.6V5.6zM7.2 11.4V13h1.6v-1.6z",
  provisional: "M8 1.2L15.4 14.4H.6zM8 4.9L3.7 12.6h8.6z",
  none: "",
};

export const ATTENTION_NAMES: Record<Attention, string> = {
  critical: "Critical",
  warning: "Warning",
  provisional: "Provisional",
  none: "No alert",
};
