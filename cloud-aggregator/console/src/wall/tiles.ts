// The wall's tiles: 1,800 of them, kept by hand because a thousand values change each second.
// Invariants: an element is written only when what it shows changed; tiles change places only while nobody points at
// them or has the focus in them, and at most every RESORT_MS; a tile's size depends on how many there are, not on what
// they show.

import type { Tiling } from "../pure/geometry.ts";
import { READABLE_EM, fit, move } from "../pure/geometry.ts";
import { ABSENT, fixed, tilePower } from "../pure/quantity.ts";
import { shortSpan } from "../pure/time.ts";
import type { Filter, Row } from "../pure/wall.ts";
import { LOOK_NAMES, age, attention, byId, byNeed, look, passes } from "../pure/wall.ts";
import { turbineHref } from "../state/route.ts";
import { ATTENTION_MARKS, ATTENTION_NAMES, LOOK_MARKS } from "./marks.ts";

const RESORT_MS = 10_000;
const GAP = 2;
const BAR_STEPS = 40;
const BAR_STEPS_SMALL = 12;
/** A tile of fewer pixels has room for its mark only. */
const FLAT = 19;
const SVG = "http://www.w3.org/2000/svg";

export type Sort = "need" | "farm";
export type Density = "all" | "readable";
export interface Options {
  sort: Sort;
  density: Density;
  filter: Filter;
}

interface Tile {
  id: string;
  link: HTMLAnchorElement;
  mark: SVGPathElement;
  value: Text;
  /** One element: its parts are gradients. */
  bar: HTMLElement;
  /** Made when first needed: most tiles of a large fleet never show them. */
  flag: SVGPathElement | null;
  more: Text | null;
  /** What is shown, by slot. */
  shown: Map<string, string>;
}

interface Group {
  key: string;
  section: HTMLElement;
  title: HTMLElement;
  grid: HTMLElement;
  ids: string[];
}

export class Tiles {
  readonly #root: HTMLElement;
  readonly #rows: Map<string, Row>;
  readonly #selected: (id: string | null) => void;
  readonly #farmTitle: (farm: string) => string;
  readonly #tiles = new Map<string, Tile>();
  readonly #resize: ResizeObserver;
  #groups: Group[] = [];
  #options: Options;
  #tiling: Tiling = { columns: 1, width: 0, height: 0, detail: "mark", fits: true };
  #flat = false;
  #order = "";
  #sorted = -Infinity;
  #hovered = false;
  #current: string | null = null;
  #count = 0;

  constructor(
    root: HTMLElement,
    rows: Map<string, Row>,
    options: Options,
    on: { selected(id: string | null): void; farmTitle(farm: string): string },
  ) {
    this.#root = root;
    this.#rows = rows;
    this.#options = options;
    this.#selected = on.selected;
    this.#farmTitle = on.farmTitle;
    root.addEventListener("pointerover", (e) => this.#point(e));
    root.addEventListener("pointerleave", () => {
      this.#hovered = false;
    });
    root.addEventListener("focusin", (e) => this.#focused(e));
    root.addEventListener("keydown", (e) => this.#key(e));
    this.#resize = new ResizeObserver(() => this.#layout());
    this.#resize.observe(root);
  }

  stop(): void {
    this.#resize.disconnect();
    this.#root.replaceChildren();
  }

  /** How many tiles are shown. */
  get count(): number {
    return this.#count;
  }

  set(options: Options, now: number): void {
    this.#options = options;
    this.#arrange(now, true);
  }

  /** Shows what changed, and changes places if it is time to. */
  update(changed: Set<string>, now: number): void {
    for (const id of changed) {
      const row = this.#rows.get(id);
      const tile = this.#tiles.get(id);
      if (row && tile) this.#paint(tile, row, now);
    }
    changed.clear();
    this.#arrange(now, this.#tiles.size === 0);
  }

  /** Ages go on while nothing arrives. */
  tick(now: number): void {
    if (this.#tiling.detail !== "mark") {
      for (const tile of this.#tiles.values()) {
        const row = this.#rows.get(tile.id);
        if (row && row.fresh === "stale") this.#paint(tile, row, now);
      }
    }
    for (const group of this.#groups) if (group.key) this.#retitle(group);
    this.#arrange(now, false);
  }

  focusFirst(): void {
    const first = this.#groups[0]?.ids[0];
    if (first) this.#tiles.get(first)?.link.focus();
  }

  #arrange(now: number, force: boolean): void {
    const busy = this.#hovered || this.#root.contains(document.activeElement);
    if (!force && (busy || now - this.#sorted < RESORT_MS)) return;
    const groups = this.#wanted();
    const order = groups.map(([key, ids]) => `${key}\n${ids.join("\t")}`).join("\n\n");
    this.#sorted = now;
    if (order === this.#order) return;
    this.#order = order;
    const held = this.#root.contains(document.activeElement) ? this.#current : null;
    this.#place(groups, now);
    if (held) this.#tiles.get(held)?.link.focus({ preventScroll: true });
  }

  #wanted(): [string, string[]][] {
    const rows = [...this.#rows.values()].filter((row) => passes(row, this.#options.filter));
    if (this.#options.sort === "need") {
      rows.sort(byNeed);
      return [["", rows.map((row) => row.id)]];
    }
    const farms = new Map<string, Row[]>();
    for (const row of rows) {
      const list = farms.get(row.farm);
      if (list) list.push(row);
      else farms.set(row.farm, [row]);
    }
    return [...farms.entries()]
      .sort(([a], [b]) => byId(a, b))
      .map(([farm, list]) => [farm || "no farm", list.sort((a, b) => byId(a.id, b.id)).map((row) => row.id)]);
  }

  #place(groups: [string, string[]][], now: number): void {
    const old = new Map(this.#groups.map((g) => [g.key, g]));
    const used = new Set<string>();
    this.#groups = groups.map(([key, ids]) => {
      const group = old.get(key) ?? this.#group(key);
      group.ids = ids;
      for (const id of ids) used.add(id);
      return group;
    });
    for (const [id, tile] of this.#tiles) {
      if (used.has(id)) continue;
      tile.link.remove();
      this.#tiles.delete(id);
    }
    this.#count = used.size;
    this.#layout();
    for (const group of this.#groups) {
      group.grid.replaceChildren(
        ...group.ids.map((id) => {
          const tile = this.#tiles.get(id) ?? this.#tile(id);
          const row = this.#rows.get(id);
          if (row) this.#paint(tile, row, now);
          return tile.link;
        }),
      );
    }
    this.#root.replaceChildren(...this.#groups.map((g) => g.section));
    if (!this.#current || !this.#tiles.has(this.#current)) this.#rove(this.#groups[0]?.ids[0] ?? null);
  }

  #group(key: string): Group {
    const section = document.createElement("section");
    const title = document.createElement("h2");
    const grid = document.createElement("div");
    section.className = "group";
    title.className = "group-title";
    grid.className = "grid";
    grid.setAttribute("role", "group");
    grid.setAttribute("aria-label", key ? `Turbines of farm ${key}` : "Turbines, those that need most first");
    if (key) section.append(title);
    section.append(grid);
    const group = { key, section, title, grid, ids: [] };
    return group;
  }

  #retitle(group: Group): void {
    const text = this.#farmTitle(group.key);
    if (group.title.textContent !== text) group.title.textContent = text;
  }

  #layout(): void {
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize) || 13;
    const style = getComputedStyle(this.#root);
    const box = {
      width: this.#root.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight),
      height: this.#root.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom),
    };
    if (box.width <= 0) return;
    const counts = this.#groups.map((g) => g.ids.length);
    const header = this.#options.sort === "farm" ? Math.ceil(em * 2.1) : 0;
    const least = this.#options.density === "readable" ? Math.round(READABLE_EM * em) : undefined;
    const before = this.#tiling;
    const wasFlat = this.#flat;
    this.#tiling = fit(counts, box, GAP, em, header, least);
    const { width, height, detail } = this.#tiling;
    this.#root.style.setProperty("--tile-width", `${width}px`);
    this.#root.style.setProperty("--tile-height", `${height}px`);
    this.#root.dataset["detail"] = detail;
    this.#flat = height < FLAT;
    this.#root.dataset["flat"] = String(this.#flat);
    for (const group of this.#groups) if (group.key) this.#retitle(group);
    if (before.detail !== detail || wasFlat !== this.#flat) this.#repaint();
  }

  #repaint(): void {
    for (const tile of this.#tiles.values()) {
      tile.shown.clear();
      const row = this.#rows.get(tile.id);
      if (row) this.#paint(tile, row, row.seen ?? 0);
    }
  }

  #tile(id: string): Tile {
    const link = document.createElement("a");
    link.className = "tile";
    link.href = turbineHref(id);
    link.tabIndex = -1;
    link.dataset["id"] = id;
    const [markBox, mark] = symbol("mark");
    const [nameBox, name] = slot("name");
    const [valueBox, value] = slot("value");
    const bar = document.createElement("i");
    bar.className = "bar";
    link.append(nameBox, markBox, valueBox, bar);
    name.data = id;
    const tile: Tile = { id, link, mark, value, bar, flag: null, more: null, shown: new Map() };
    this.#tiles.set(id, tile);
    return tile;
  }

  #paint(tile: Tile, row: Row, now: number): void {
    const { detail } = this.#tiling;
    const state = look(row);
    const alert = attention(row);
    if (changed(tile, "look", state)) tile.link.dataset["look"] = state;
    if (changed(tile, "alert", alert)) tile.link.dataset["alert"] = alert;
    const seen = row.unacknowledged > 0 || alert === "none" ? "" : "seen";
    if (changed(tile, "seen", seen)) tile.link.dataset["acknowledged"] = seen;
    const small = detail === "mark" && (alert === "critical" || alert === "warning");
    const mark = small ? ATTENTION_MARKS[alert] : LOOK_MARKS[state];
    if (changed(tile, "mark", mark)) tile.mark.setAttribute("d", mark);
    const flag = detail === "power" || detail === "full" ? ATTENTION_MARKS[alert] : "";
    if (changed(tile, "flag", flag) && (flag || tile.flag)) {
      tile.flag ??= added(tile.link, symbol("flag"));
      tile.flag.setAttribute("d", flag);
    }
    if (changed(tile, "label", `${state} ${alert}`)) {
      const words = alert === "none" ? LOOK_NAMES[state] : `${ATTENTION_NAMES[alert]} alert, ${LOOK_NAMES[state].toLowerCase()}`;
      tile.link.setAttribute("aria-label", `${tile.id}: ${words}`);
    }
    const old = age(row, now);
    if (detail !== "mark") {
      const value = row.fresh === "never" ? ABSENT : row.fresh === "stale" && detail !== "full" ? shortSpan(old ?? 0) : tilePower(row.power);
      if (changed(tile, "value", value)) tile.value.data = value;
      const more = row.fresh === "never" ? "" : row.fresh === "stale" ? shortSpan(old ?? 0) : row.wind === null ? "" : `${fixed(row.wind, 1)} m/s`;
      if (detail === "full" && changed(tile, "more", more)) {
        tile.more ??= added(tile.link, slot("more"));
        tile.more.data = more;
      }
    }
    if (this.#flat) return;
    if (detail === "mark") {
      bar(tile, "--actual", row.power, row.scale, BAR_STEPS_SMALL);
      return;
    }
    bar(tile, "--actual", row.power, row.scale);
    bar(tile, "--offered", row.available, row.scale);
    bar(tile, "--limit", row.setpoint, row.scale);
  }

  #point(event: Event): void {
    this.#hovered = true;
    const id = (event.target as Element).closest<HTMLElement>(".tile")?.dataset["id"];
    if (id) this.#selected(id);
  }

  #focused(event: Event): void {
    const id = (event.target as Element).closest<HTMLElement>(".tile")?.dataset["id"];
    if (!id) return;
    this.#rove(id);
    this.#selected(id);
  }

  #rove(id: string | null): void {
    if (this.#current) {
      const before = this.#tiles.get(this.#current);
      if (before) before.link.tabIndex = -1;
    }
    this.#current = id;
    const tile = id ? this.#tiles.get(id) : undefined;
    if (tile) tile.link.tabIndex = 0;
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#current) return;
    const ids = this.#groups.flatMap((g) => g.ids);
    const at = ids.indexOf(this.#current);
    const to = move(at, event.key, this.#tiling.columns, ids.length);
    if (to === at) return;
    event.preventDefault();
    this.#tiles.get(ids[to] as string)?.link.focus();
  }
}

function changed(tile: Tile, slotName: string, text: string): boolean {
  if (tile.shown.get(slotName) === text) return false;
  tile.shown.set(slotName, text);
  return true;
}

/** A part of the bar; what is not known is not drawn. */
function bar(tile: Tile, part: string, value: number | null, scale: number, most = BAR_STEPS): void {
  const steps = value === null || scale <= 0 ? -1 : Math.round(Math.min(1, Math.max(0, value / scale)) * most);
  if (changed(tile, part, String(steps))) tile.bar.style.setProperty(part, `${(100 * steps) / most}%`);
}

function added<T>(link: HTMLElement, [box, part]: readonly [Element, T]): T {
  link.append(box);
  return part;
}

function symbol(kind: string): readonly [SVGElement, SVGPathElement] {
  const box = document.createElementNS(SVG, "svg");
  box.setAttribute("viewBox", "0 0 16 16");
  box.setAttribute("class", kind);
  box.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("fill-rule", "evenodd");
  box.append(path);
  return [box, path];
}

function slot(kind: string): readonly [HTMLElement, Text] {
  const box = document.createElement("span");
  const text = document.createTextNode("");
  box.className = kind;
  box.append(text);
  return [box, text];
}
