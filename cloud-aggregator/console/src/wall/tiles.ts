// The wall's tiles: 1,800 of them, kept by hand because a thousand values change each second.
// Invariants: an element is written only when what it shows changed; a tile has no parts but those that its size has room
// for, and a small one none at all; tiles change places only while nobody points at them or has the focus in them, and at
// most every RESORT_MS; a tile's size depends on how many there are, not on what they show.

import type { Tiling } from "../pure/geometry.ts";
import { READABLE_EM, fit, move } from "../pure/geometry.ts";
import { ABSENT, fixed, tilePower } from "../pure/quantity.ts";
import { shortSpan } from "../pure/time.ts";
import type { Filter, Row } from "../pure/wall.ts";
import { LOOK_NAMES, age, attention, byId, byNeed, look, passes } from "../pure/wall.ts";
import { turbineHref } from "../state/route.ts";
import { ATTENTION_MARKS, ATTENTION_NAMES, LOOK_MARKS } from "./marks.ts";
import type { Sign, Sizes } from "./symbols.ts";
import { Symbols } from "./symbols.ts";

const RESORT_MS = 10_000;
const GAP = 2;
const BAR_STEPS = 40;
const BAR_STEPS_SMALL = 12;
/** A tile of fewer pixels has room for its mark only. */
const FLAT = 19;
/** Pixels that a small tile's bar takes from its symbol. */
const BAR_ROOM = 2;
const SYMBOL_MAX_EM = 1.2;
const SVG = "http://www.w3.org/2000/svg";

export type Sort = "need" | "farm";
export type Density = "all" | "readable";
export interface Options {
  sort: Sort;
  density: Density;
  filter: Filter;
}

/** A small tile is its link alone: symbols and bars of its grid are drawn together. */
interface Tile {
  /** The turbine that it shows. */
  id: string;
  readonly group: Group;
  /** Among its group's tiles. */
  readonly place: number;
  readonly link: HTMLAnchorElement;
  readonly sign: Sign;
  /** What its size has room for. */
  parts: Parts | null;
}

interface Parts {
  readonly name: Text;
  readonly mark: SVGPathElement;
  readonly value: Text;
  /** One element: its parts are gradients. */
  readonly bar: HTMLElement;
  readonly shown: Shown;
  /** Made when first needed: most tiles of a large fleet never show them. */
  flag: SVGPathElement | null;
  more: Text | null;
}

interface Group {
  readonly key: string;
  readonly section: HTMLElement;
  readonly title: HTMLElement;
  readonly grid: HTMLElement;
  readonly symbols: Symbols;
  readonly tiles: Tile[];
  ids: string[];
  /** Places of the tiles whose symbol or bar has changed. */
  dirty: Set<number>;
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
  /** Side of a small tile's symbol, pixels. */
  #symbol = 0;
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
    // the same tiles in the same order may be of another size
    if (!this.#arrange(now, true)) this.#layout();
  }

  /** Shows what changed, and changes places if it is time to. */
  update(changed: Set<string>, now: number): void {
    for (const id of changed) {
      const row = this.#rows.get(id);
      const tile = this.#tiles.get(id);
      if (row && tile) this.#paint(tile, row, now);
    }
    changed.clear();
    this.#draw();
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

  /** The theme is another one: what is drawn has its old colours. */
  recolour(): void {
    this.#redraw();
  }

  /** Gives the tiles their places; false: they have them. */
  #arrange(now: number, force: boolean): boolean {
    const busy = this.#hovered || this.#root.contains(document.activeElement);
    if (!force && (busy || now - this.#sorted < RESORT_MS)) return false;
    const groups = this.#wanted();
    const order = groups.map(([key, ids]) => `${key}\n${ids.join("\t")}`).join("\n\n");
    this.#sorted = now;
    if (order === this.#order) return false;
    this.#order = order;
    const held = this.#root.contains(document.activeElement) ? this.#current : null;
    this.#place(groups, now);
    if (held) this.#tiles.get(held)?.link.focus({ preventScroll: true });
    return true;
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

  /** Tiles stay where they are and show other turbines: nothing is laid out anew but what is added or removed. */
  #place(groups: [string, string[]][], now: number): void {
    const old = new Map(this.#groups.map((g) => [g.key, g]));
    const current = this.#current;
    this.#rove(null);
    this.#tiles.clear();
    this.#groups = groups.map(([key, ids]) => {
      const group = old.get(key) ?? this.#group(key);
      while (group.tiles.length > ids.length) group.tiles.pop()?.link.remove();
      group.ids = ids;
      return group;
    });
    this.#count = groups.reduce((sum, [, ids]) => sum + ids.length, 0);
    const sections = this.#groups.map((g) => g.section);
    const placed = [...this.#root.children];
    if (sections.length !== placed.length || sections.some((s, i) => s !== placed[i])) this.#root.replaceChildren(...sections);
    this.#layout();
    for (const group of this.#groups) {
      group.ids.forEach((id, place) => {
        const tile = group.tiles[place] ?? this.#tile(group);
        this.#bind(tile, id);
        const row = this.#rows.get(id);
        if (row) this.#paint(tile, row, now);
      });
    }
    this.#redraw();
    this.#rove(current && this.#tiles.has(current) ? current : (this.#groups[0]?.ids[0] ?? null));
  }

  #group(key: string): Group {
    const section = document.createElement("section");
    const title = document.createElement("h2");
    const grid = document.createElement("div");
    const field = document.createElement("div");
    const symbols = new Symbols();
    section.className = "group";
    title.className = "group-title";
    grid.className = "grid";
    grid.setAttribute("role", "group");
    grid.setAttribute("aria-label", key ? `Turbines of farm ${key}` : "Turbines, those that need most first");
    if (key) section.append(title);
    field.className = "field-of-tiles";
    field.append(grid, symbols.box);
    section.append(field);
    return { key, section, title, grid, symbols, tiles: [], ids: [], dirty: new Set() };
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
    const { columns, width, height, detail } = this.#tiling;
    this.#root.style.setProperty("--columns", String(columns));
    this.#root.style.setProperty("--tile-width", `${width}px`);
    this.#root.style.setProperty("--tile-height", `${height}px`);
    this.#root.dataset["detail"] = detail;
    this.#flat = height < FLAT;
    this.#root.dataset["flat"] = String(this.#flat);
    const side = Math.min(width, this.#flat ? height : height - BAR_ROOM);
    this.#symbol = Math.min(side * (this.#flat ? 0.8 : 0.6), SYMBOL_MAX_EM * em);
    for (const group of this.#groups) if (group.key) this.#retitle(group);
    if (before.detail !== detail || wasFlat !== this.#flat) this.#repaint();
    this.#redraw();
  }

  #repaint(): void {
    for (const tile of this.#groups.flatMap((g) => g.tiles)) {
      this.#dress(tile);
      const row = this.#rows.get(tile.id);
      if (row) this.#paint(tile, row, row.seen ?? 0);
    }
  }

  get #sizes(): Sizes {
    return { tiling: this.#tiling, gap: GAP, size: this.#symbol, bar: this.#flat ? 0 : BAR_ROOM };
  }

  /** All symbols and bars: after another size, order or theme. */
  #redraw(): void {
    const small = this.#tiling.detail === "mark";
    for (const { tiles, symbols, dirty } of this.#groups) {
      dirty.clear();
      if (!small) symbols.clear();
      else {
        symbols.reset(tiles.length, this.#sizes);
        symbols.draw(tiles.keys(), (place) => tiles[place]?.sign, this.#sizes);
      }
    }
  }

  /** Symbols and bars of small tiles, where they changed. */
  #draw(): void {
    const small = this.#tiling.detail === "mark";
    for (const { tiles, symbols, dirty } of this.#groups) {
      if (small && dirty.size > 0) symbols.draw(dirty, (place) => tiles[place]?.sign, this.#sizes);
      dirty.clear();
    }
  }

  /** A new tile at the end of its group, of no turbine yet. */
  #tile(group: Group): Tile {
    const link = document.createElement("a");
    link.className = "tile";
    link.tabIndex = -1;
    const tile: Tile = { id: "", group, place: group.tiles.length, link, sign: { look: "never", alert: "none", seen: false, bar: null }, parts: null };
    group.tiles.push(tile);
    this.#dress(tile);
    group.grid.append(link);
    return tile;
  }

  #bind(tile: Tile, id: string): void {
    this.#tiles.set(id, tile);
    if (tile.id === id) return;
    tile.id = id;
    tile.link.href = turbineHref(id);
    tile.link.dataset["id"] = id;
    label(tile);
    if (tile.parts) tile.parts.name.data = id;
  }

  /** Gives a tile the parts that its size has room for. */
  #dress(tile: Tile): void {
    tile.link.replaceChildren();
    tile.parts = null;
    if (this.#tiling.detail === "mark") return;
    const [markBox, mark] = symbol("mark");
    const [nameBox, name] = slot("name");
    const [valueBox, value] = slot("value");
    const bar = document.createElement("i");
    bar.className = "bar";
    tile.link.append(nameBox, markBox, valueBox, bar);
    name.data = tile.id;
    tile.parts = { name, mark, value, bar, flag: null, more: null, shown: {} };
  }

  #paint(tile: Tile, row: Row, now: number): void {
    const { sign } = tile;
    const state = look(row);
    const alert = attention(row);
    const seen = alert !== "none" && row.unacknowledged === 0;
    const part = this.#flat ? null : steps(row.power, row.scale, BAR_STEPS_SMALL);
    const named = sign.look !== state || sign.alert !== alert;
    if (named || sign.seen !== seen || sign.bar !== part) tile.group.dirty.add(tile.place);
    const seenChanged = sign.seen !== seen;
    sign.look = state;
    sign.alert = alert;
    sign.seen = seen;
    sign.bar = part;
    if (named) label(tile);
    if (seenChanged) tile.link.dataset["acknowledged"] = seen ? "seen" : "";
    if (tile.parts) this.#fill(tile.link, tile.parts, sign, row, now);
  }

  #fill(link: HTMLElement, parts: Parts, sign: Sign, row: Row, now: number): void {
    const { detail } = this.#tiling;
    const { shown } = parts;
    if (changed(shown, "mark", LOOK_MARKS[sign.look])) parts.mark.setAttribute("d", LOOK_MARKS[sign.look]);
    const flag = detail === "name" ? "" : ATTENTION_MARKS[sign.alert];
    if (changed(shown, "flag", flag) && (flag || parts.flag)) {
      parts.flag ??= added(link, symbol("flag"));
      parts.flag.setAttribute("d", flag);
    }
    const old = age(row, now);
    const value = row.fresh === "never" ? ABSENT : row.fresh === "stale" && detail !== "full" ? shortSpan(old ?? 0) : tilePower(row.power);
    if (changed(shown, "value", value)) parts.value.data = value;
    if (detail === "full") {
      const more = row.fresh === "never" ? "" : row.fresh === "stale" ? shortSpan(old ?? 0) : row.wind === null ? "" : `${fixed(row.wind, 1)} m/s`;
      if (changed(shown, "more", more)) {
        parts.more ??= added(link, slot("more"));
        parts.more.data = more;
      }
    }
    if (this.#flat) return;
    bar(parts, "--actual", row.power, row.scale);
    bar(parts, "--offered", row.available, row.scale);
    bar(parts, "--limit", row.setpoint, row.scale);
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

type Shown = Record<string, string>;

function changed(shown: Shown, slotName: string, text: string): boolean {
  if (shown[slotName] === text) return false;
  shown[slotName] = text;
  return true;
}

/** Says what the tile shows: to the style, and to who does not see it. */
function label({ id, link, sign }: Tile): void {
  link.dataset["look"] = sign.look;
  link.dataset["alert"] = sign.alert;
  const state = LOOK_NAMES[sign.look];
  const words = sign.alert === "none" ? state : `${ATTENTION_NAMES[sign.alert]} alert, ${state.toLowerCase()}`;
  link.setAttribute("aria-label", `${id}: ${words}`);
}

/** The share of the whole in steps of so many, so that a wandering value is not drawn each second; null: not known. */
function steps(value: number | null, scale: number, most: number): number | null {
  return value === null || scale <= 0 ? null : Math.round(Math.min(1, Math.max(0, value / scale)) * most) / most;
}

/** A part of the bar; what is not known is not drawn. */
function bar(parts: Parts, part: string, value: number | null, scale: number): void {
  const text = `${100 * (steps(value, scale, BAR_STEPS) ?? -0.01)}%`;
  if (changed(parts.shown, part, text)) parts.bar.style.setProperty(part, text);
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
