// The operator's wall: the whole fleet at a glance, what needs attention first.

import { batch, effect, signal, useComputed, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { AttentionMark, Choice, LookMark, Notice } from "../parts/basics.tsx";
import type { Farm } from "../api/types.ts";
import { bytes, count, fixed, plural, power, share } from "../pure/quantity.ts";
import { span, toMs } from "../pure/time.ts";
import type { Attention, Filter, Look } from "../pure/wall.ts";
import { LOOKS, LOOK_NAMES, age, attention, byId, look, operating, totals } from "../pure/wall.ts";
import { sourceName, iecName } from "../pure/words.ts";
import { farmOf, farms, loaded, revision, rows, turbineList, watchChanges } from "../state/fleet.ts";
import { proofHref, route, setQuery, turbineHref } from "../state/route.ts";
import { contact, live, now } from "../state/server.ts";
import { recall, remember } from "../state/theme.ts";
import { ATTENTION_NAMES } from "../wall/marks.ts";
import type { Density, Sort } from "../wall/tiles.ts";
import { Tiles } from "../wall/tiles.ts";

const selected = signal<string | null>(null);
const shown = signal(0);
const ATTENTIONS: readonly Attention[] = ["critical", "warning", "provisional"];

function filterOf(query: URLSearchParams): Filter {
  const words = (query.get("show") ?? "").split(",").filter(Boolean);
  return {
    text: query.get("q") ?? "",
    farm: query.get("farm") ?? "",
    looks: new Set(LOOKS.filter((l) => words.includes(l))),
    attention: new Set(ATTENTIONS.filter((a) => words.includes(a))),
  };
}

function change(name: string, value: string): void {
  const query = new URLSearchParams(route.value.query);
  if (value) query.set(name, value);
  else query.delete(name);
  setQuery(query, true);
}

export function WallPage(): VNode {
  document.title = "Wall \u2013 Windlass";
  const sort = useSignal<Sort>(recall("sort") === "farm" ? "farm" : "need");
  const density = useSignal<Density>(recall("density") === "readable" ? "readable" : "all");
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => live.want({ topics: "wall,alerts" }), []);
  useEffect(() => {
    if (!box.current) return undefined;
    const watch = watchChanges();
    const options = () => ({ sort: sort.value, density: density.value, filter: filterOf(route.value.query) });
    const tiles = new Tiles(box.current, rows, options(), {
      selected: (id) => (selected.value = id),
      farmTitle,
    });
    // One drawing per frame, however many events came; a hidden tab draws nothing and collects ids only.
    let asked = 0;
    const draw = (): void => {
      asked = 0;
      tiles.update(watch.changed, now.peek());
      shown.value = tiles.count;
    };
    const stops = [
      effect(() => {
        revision.value;
        if (!asked) asked = requestAnimationFrame(draw);
      }),
      effect(() => {
        const next = options();
        tiles.set(next, now.peek());
        shown.value = tiles.count;
      }),
      effect(() => {
        const at = now.value;
        if (document.visibilityState === "visible") tiles.tick(at);
        shown.value = tiles.count;
      }),
    ];
    return () => {
      cancelAnimationFrame(asked);
      for (const stop of stops) stop();
      tiles.stop();
      watch.stop();
    };
  }, []);
  return (
    <div class="wall">
      <h1 class="hidden">Wall</h1>
      <section class="board" aria-label="Turbines">
        <Toolbar sort={sort} density={density} />
        <div class="tiles" ref={box} data-testid="tiles" data-contact={contact.value} />
        <Empty />
      </section>
      <aside class="side" aria-label="Fleet and chosen turbine">
        <Summary />
        <Chosen />
        <FarmTable />
      </aside>
    </div>
  );
}

function Empty(): VNode | null {
  revision.value;
  if (!loaded.value && rows.size === 0) return contact.value === "down" ? null : <Notice kind="loading">Loading the fleet\u2026</Notice>;
  if (rows.size === 0) return <Notice kind="empty">The fleet has no turbine yet. Turbines are named in the service's fleet file.</Notice>;
  if (shown.value === 0) return <Notice kind="empty">No turbine passes the filter.</Notice>;
  return null;
}

function Toolbar({ sort, density }: { sort: { value: Sort }; density: { value: Density } }): VNode {
  const filter = filterOf(route.value.query);
  const any = filter.text || filter.farm || filter.looks.size > 0 || filter.attention.size > 0;
  return (
    <div class="toolbar">
      <Choice
        label="Order"
        name="sort"
        value={sort.value}
        options={[
          ["need", "By need"],
          ["farm", "By farm"],
        ]}
        choose={(v) => {
          sort.value = v;
          remember("sort", v);
        }}
      />
      <Choice
        label="Size of tiles"
        name="density"
        value={density.value}
        options={[
          ["all", "All on one screen"],
          ["readable", "Readable"],
        ]}
        choose={(v) => {
          density.value = v;
          remember("density", v);
        }}
      />
      <label class="field">
        Farm
        <select value={filter.farm} onChange={(e) => change("farm", e.currentTarget.value)}>
          <option value="">all</option>
          {[...farms.value]
            .sort((a, b) => byId(a.id, b.id))
            .map((f) => (
              <option key={f.id} value={f.id}>
                {f.id}
              </option>
            ))}
        </select>
      </label>
      <span class="num spread" role="status">
        {any ? `${count(shown.value)} of ${count(rowCount())}` : plural(rowCount(), "turbine")}
      </span>
      <button type="button" class="quiet" disabled={!any} onClick={() => setQuery(new URLSearchParams(), true)}>
        Clear filter
      </button>
    </div>
  );
}

function rowCount(): number {
  revision.value;
  return rows.size;
}

function toggle(word: string): void {
  const words = new Set((route.value.query.get("show") ?? "").split(",").filter(Boolean));
  if (!words.delete(word)) words.add(word);
  change("show", [...words].join(","));
}

/** Sums and counts by state; the counts are the legend and the filter. */
function Summary(): VNode {
  const sums = useComputed(() => {
    revision.value;
    return totals(rows.values());
  });
  const t = sums.value;
  const filter = filterOf(route.value.query);
  return (
    <section class="panel summary" aria-labelledby="fleet">
      <h2 id="fleet">Fleet</h2>
      <dl class="facts thirds">
        <div class="fact">
          <dt>Power</dt>
          <dd class="num">{t.live === 0 ? power(null) : power(t.power)}</dd>
        </div>
        <div class="fact">
          <dt>Available</dt>
          <dd class="num">{t.live === 0 ? power(null) : power(t.available)}</dd>
        </div>
        <div class="fact">
          <dt>Live of {count(t.turbines)}</dt>
          <dd class="num">{count(t.live)}</dd>
        </div>
      </dl>
      <ul class="legend">
        {ATTENTIONS.map((a) => (
          <li key={a}>
            <button type="button" aria-pressed={filter.attention.has(a)} onClick={() => toggle(a)}>
              <AttentionMark attention={a} label={false} />
              <span>{ATTENTION_NAMES[a]}</span>
              <span class="num">{count(t.attention[a])}</span>
            </button>
          </li>
        ))}
        {LOOKS.map((l: Look) => (
          <li key={l}>
            <button type="button" aria-pressed={filter.looks.has(l)} onClick={() => toggle(l)}>
              <LookMark look={l} />
              <span>{LOOK_NAMES[l]}</span>
              <span class="num">{count(t.looks[l])}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The turbine that is pointed at or has the focus: a panel of fixed height. */
function Chosen(): VNode {
  revision.value;
  const id = selected.value;
  const row = id ? rows.get(id) : undefined;
  if (!row) {
    return (
      <section class="panel chosen" aria-label="Chosen turbine">
        <h2>Turbine</h2>
        <p class="muted">Point at a tile, or reach the tiles with Tab and move with the arrow keys. Enter opens a turbine, / searches.</p>
      </section>
    );
  }
  const old = age(row, now.value);
  const stale = row.fresh !== "live";
  const state = look(row);
  const item = turbineList(row.id);
  const down = toMs(item?.link.down_since);
  const waiting = item?.link.waiting_bytes_estimate ?? null;
  return (
    <section class="panel chosen" aria-label="Chosen turbine">
      <h2>
        <a href={turbineHref(row.id)}>{row.id}</a> <span class="muted">{row.farm}</span>
      </h2>
      <p class="line">
        <LookMark look={state} /> {stale ? `${LOOK_NAMES[state]}; was ${LOOK_NAMES[operating(row)].toLowerCase()}` : iecName(row.iec)}
      </p>
      <dl class={stale ? "facts stale" : "facts"}>
        <div class="fact">
          <dt>Power</dt>
          <dd class="num">{power(row.power)}</dd>
        </div>
        <div class="fact">
          <dt>Available</dt>
          <dd class="num">{power(row.available)}</dd>
        </div>
        <div class="fact">
          <dt>Setpoint</dt>
          <dd class="num">{power(row.setpoint)}</dd>
        </div>
        <div class="fact">
          <dt>Wind</dt>
          <dd class="num">{row.wind === null ? "\u2013" : `${fixed(row.wind, 1)} m/s`}</dd>
        </div>
      </dl>
      <p class="line num">
        {old === null ? "No reading yet" : stale ? `Newest reading ${span(old)} ago` : `Age of data ${span(old)}`}
        {item?.setpoint_source ? `, setpoint by ${sourceName(item.setpoint_source)}` : ""}
      </p>
      <p class="line num">
        {down !== null ? `Link down ${span(now.value - down)}${waiting === null ? "" : `, ~${bytes(waiting)} waiting at the gateway (estimated)`}` : "\u00a0"}
      </p>
      <p class="line">
        {row.open > 0 ? (
          <>
            <AttentionMark attention={attention(row)} /> {plural(row.open, "open alert")}
            {row.unacknowledged > 0 ? `, ${count(row.unacknowledged)} not acknowledged` : ""}
          </>
        ) : (
          <span class="muted">No open alert</span>
        )}
      </p>
      <p class="links">
        <a href={turbineHref(row.id)}>Charts</a>
        <a href={`/alerts?turbine=${encodeURIComponent(row.id)}`}>Alerts</a>
        <a href={proofHref(row.id)}>Proof</a>
      </p>
    </section>
  );
}

/** `100 %`: shorter ones are filled with spaces of a digit's width, so that nothing moves when they change. */
const SHARE_WIDTH = 5;

function linkText(farm: Farm): string {
  if (farm.link.state === "up") return "link up";
  const since = toMs(farm.link.since);
  const length = since === null ? "" : ` ${span(now.value - since)}`;
  const waiting = farm.link.waiting_bytes_estimate;
  const bytesText = waiting === null ? "" : `, ~${bytes(waiting)} waiting at the gateway${farm.link.gateways_down.length === 1 ? "" : "s"} (estimated)`;
  return farm.link.state === "down" ? `link down${length}${bytesText}` : `${plural(farm.link.gateways_down.length, "gateway")} down${length}${bytesText}`;
}

function farmTitle(id: string): string {
  const farm = farmOf(id);
  if (!farm) return id;
  const parts = [`${farm.id}`, `${count(farm.live)} of ${count(farm.turbines)} live`, power(farm.live === 0 ? null : farm.power_kw)];
  if (farm.link.state !== "up") parts.push(linkText(farm));
  if (farm.alerts_open > 0) parts.push(plural(farm.alerts_open, "open alert"));
  return parts.join("  \u00b7  ");
}

function FarmTable(): VNode {
  const chosen = route.value.query.get("farm") ?? "";
  const list = [...farms.value].sort((a, b) => rank(b) - rank(a) || byId(a.id, b.id));
  return (
    <section class="panel farms" aria-labelledby="farms">
      <h2 id="farms">Farms</h2>
      {list.length === 0 ? (
        <p class="muted">No farm.</p>
      ) : (
        <ul>
          {list.map((f) => (
            <li key={f.id}>
              <button
                type="button"
                aria-pressed={chosen === f.id}
                data-link={f.link.state}
                onClick={() => batch(() => change("farm", chosen === f.id ? "" : f.id))}
              >
                <span class="farm-name">{f.id}</span>
                <span class="num">{power(f.live === 0 ? null : f.power_kw)}</span>
                <span class="num muted">{share(f.live === 0 ? null : f.power_kw, f.available_kw).padStart(SHARE_WIDTH, "\u2007")}</span>
                <span class="farm-more num">
                  {count(f.live)}/{count(f.turbines)} live, {linkText(f)}
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function rank(farm: Farm): number {
  return farm.link.state === "down" ? 2 : farm.link.state === "degraded" ? 1 : 0;
}
