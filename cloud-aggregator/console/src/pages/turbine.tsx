// One turbine: any past range and live, its channels over power and wind, and the alert that a link names.

import { useComputed, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { get, url } from "../api/client.ts";
import type { Alert, Channel, Page, Readings, Timeline, TurbineDetail, WindowRow } from "../api/types.ts";
import { AlertCard } from "../parts/alert-card.tsx";
import { Fact, LookMark, Notice } from "../parts/basics.tsx";
import { Channels } from "../parts/channels.tsx";
import { Chart } from "../parts/chart.tsx";
import type { Overlay } from "../parts/drawing.ts";
import { RangePicker } from "../parts/range.tsx";
import { AlertWindow } from "../parts/windows.tsx";
import { newer } from "../pure/alerts.ts";
import { bytes, fixed, measured, power } from "../pure/quantity.ts";
import type { Range } from "../pure/range.ts";
import { EXACT_MAX, around, bounds, fromQuery, toQuery } from "../pure/range.ts";
import { commonGaps, provisionalFrom } from "../pure/series.ts";
import { MINUTE, span, toMs, toRfc3339 } from "../pure/time.ts";
import { LOOK_NAMES, fromTurbine, look, operating } from "../pure/wall.ts";
import { hatched, lengthFor, provisional } from "../pure/windows.ts";
import { iecName, sourceName, title } from "../pure/words.ts";
import { farmOf, farms } from "../state/fleet.ts";
import { useLiveSeries, useValues } from "../state/live-series.ts";
import { useResource } from "../state/resource.ts";
import type { Resource } from "../state/resource.ts";
import { proofHref, route, setQuery } from "../state/route.ts";
import { contact, live, now, onEvent, serverNow } from "../state/server.ts";

/** Shown unless the address says otherwise, as far as the turbine has them. */
const DEFAULTS = ["active_power", "available_power", "active_power_setpoint", "wind_speed"];
const CHANNELS_MAX = 32;
const POINTS = 1200;
const FIRST: Range = { live: true, span: 10 * MINUTE };

export function TurbinePage({ id }: { id: string }): VNode {
  document.title = `${id} \u2013 Windlass`;
  useEffect(() => live.want({ topics: "alerts", turbine: id }), [id]);
  const { query } = route.value;
  const path = `/turbines/${encodeURIComponent(id)}`;
  const alertId = query.get("alert");
  const detail = useResource(path, (s) => get<TurbineDetail>(path, {}, s), { everyMs: 5_000 }).value;
  const catalogue = useResource(`${path}/channels`, (s) => get<Page<Channel>>(`${path}/channels`, { limit: 1000 }, s)).value;
  const alert = useAlert(alertId);

  const names = useMemo(() => new Set((catalogue.data?.items ?? []).map((c) => c.name)), [catalogue.data]);
  const chosen = useMemo(() => {
    const asked = query.get("channels");
    const list = asked === null ? [...DEFAULTS.filter((c) => names.has(c))] : asked.split(",").filter(Boolean);
    if (asked === null && list.length === 0) list.push(...[...names].slice(0, 3));
    const of = alert.data?.channel;
    if (asked === null && of && !list.includes(of)) list.push(of);
    return list.slice(0, CHANNELS_MAX);
  }, [query.get("channels"), names, alert.data?.channel]);

  const fallback = useMemo<Range>(() => {
    if (!alertId || !alert.data) return FIRST;
    const from = toMs(alert.data.window?.start ?? alert.data.first);
    const to = toMs(alert.data.window?.end ?? alert.data.last);
    return from === null || to === null ? FIRST : around(Math.min(from, toMs(alert.data.first) ?? from), Math.max(to, toMs(alert.data.last) ?? to));
  }, [alertId, alert.data?.id]);
  const range = fromQuery(query, fallback);
  const ready = catalogue.data !== null && (alertId === null || alert.data !== null || alert.error !== null);

  if (detail.error) {
    return (
      <div class="page">
        <h1>{id}</h1>
        <Notice kind="error">{detail.error}</Notice>
      </div>
    );
  }
  const zone = farmOf(detail.data?.farm)?.zone;
  const choose = (next: Range): void => setQuery(toQuery(next, query));
  const set = (list: readonly string[]): void => {
    const next = new URLSearchParams(query);
    next.set("channels", list.join(","));
    setQuery(next, true);
  };
  return (
    <div class="page turbine">
      <Identity id={id} detail={detail.data} range={range} />
      {alertId && alert.error && <Notice kind="error">{alert.error}</Notice>}
      {alert.data && <AlertCard alert={alert.data} zone={zone} />}
      {alert.data && <AlertWindow alert={alert.data} path={path} zone={zone} />}
      <div class="toolbar">
        <RangePicker range={range} choose={choose} />
        <Export path={path} channels={chosen} range={range} />
      </div>
      <div class="columns">
        {ready ? (
          <Charts id={id} path={path} channels={chosen} range={range} alert={alert.data} choose={choose} remove={(c) => set(chosen.filter((x) => x !== c))} />
        ) : (
          <section class="charts">
            {catalogue.error ? <Notice kind="error">{catalogue.error}</Notice> : <Notice kind="loading">Loading{"\u2026"}</Notice>}
          </section>
        )}
        <Channels
          catalogue={catalogue.data?.items ?? []}
          values={useValues(id, detail.data).value}
          stale={detail.data !== null && (detail.data.fresh !== "live" || contact.value === "down")}
          chosen={chosen}
          most={CHANNELS_MAX}
          choose={set}
        />
      </div>
    </div>
  );
}

/** The alert that the address names: fetched, and as the live stream says it since. */
function useAlert(id: string | null): Resource<Alert> {
  const fetched = useResource(id ? `/alerts/${id}` : null, (s) => get<Alert>(`/alerts/${encodeURIComponent(id ?? "")}`, {}, s), {
    everyMs: 5_000,
  }).value;
  const heard = useSignal<Alert | null>(null);
  useEffect(
    () =>
      onEvent<{ changed: Alert[] }>("alerts", (event) => {
        heard.value = event.changed.find((a) => a.id === id) ?? heard.peek();
      }),
    [id],
  );
  const live = heard.value;
  return fetched.data && live?.id === fetched.data.id && newer(fetched.data, live) ? { ...fetched, data: live } : fetched;
}

function Identity({ id, detail, range }: { id: string; detail: TurbineDetail | null; range: Range }): VNode {
  farms.value;
  if (!detail) {
    return (
      <section class="identity">
        <h1>{id}</h1>
      </section>
    );
  }
  const at = now.value;
  const row = fromTurbine(detail, serverNow());
  const seen = toMs(detail.event_time);
  const old = seen === null ? detail.age_ms : Math.max(0, at - seen);
  const gone = contact.value === "down" && old !== null && old > 30_000;
  if (gone && row.fresh === "live") row.fresh = "stale";
  const state = look(row);
  const stale = row.fresh !== "live";
  const down = toMs(detail.link.down_since);
  const waiting = detail.link.waiting_bytes_estimate;
  const b = bounds(range, at);
  return (
    <section class="identity" data-fresh={row.fresh}>
      <h1>{id}</h1>
      <span class="state">
        <LookMark look={state} />
        {stale && detail.iec_state ? `${LOOK_NAMES[state]}; was ${LOOK_NAMES[operating(row)].toLowerCase()}` : stale ? LOOK_NAMES[state] : iecName(row.iec)}
      </span>
      <dl class={stale ? "facts stale" : "facts"}>
        <Fact name="Power">{power(detail.power_kw)}</Fact>
        <Fact name="Available">{power(detail.available_kw)}</Fact>
        <Fact name={detail.setpoint_source ? `Setpoint (${sourceName(detail.setpoint_source)})` : "Setpoint"}>{power(detail.setpoint_kw)}</Fact>
        <Fact name="Wind">{detail.wind_ms === null ? "\u2013" : `${fixed(detail.wind_ms, 1)} m/s`}</Fact>
      </dl>
      <dl class="facts">
        <Fact name="Age of data">
          <span data-testid="age">{old === null ? "never seen" : span(old)}</span>
        </Fact>
        <Fact name="Link">{down === null ? "up" : `down ${span(at - down)}${waiting === null ? "" : `, ~${bytes(waiting)} waiting (estimated)`}`}</Fact>
        <Fact name="Farm">{detail.farm ?? "none"}</Fact>
        <Fact name="Gateway">{detail.gateway}</Fact>
      </dl>
      <span class="links">
        <a href={proofHref(id, `?from=${toRfc3339(b.from)}&to=${toRfc3339(b.to)}`)}>Proof</a>
        <a href={`/alerts?turbine=${encodeURIComponent(id)}&state=all`}>Alerts</a>
      </span>
    </section>
  );
}

function Export({ path, channels, range }: { path: string; channels: readonly string[]; range: Range }): VNode {
  const b = bounds(range, now.value);
  if (b.to - b.from > EXACT_MAX) return <span class="muted">CSV of exact readings: at most {span(EXACT_MAX)}</span>;
  const href = url(`${path}/readings`, {
    channels: channels.join(","),
    from: toRfc3339(Math.floor(b.from)),
    to: toRfc3339(Math.floor(b.to)),
    exact: true,
    format: "csv",
  });
  return (
    <a class="button" href={href} download="">
      Export CSV
    </a>
  );
}

interface ChartsProps {
  id: string;
  path: string;
  channels: readonly string[];
  range: Range;
  alert: Alert | null;
  choose(range: Range): void;
  remove(channel: string): void;
}

/** Results of a channel's windows; a turbine's channels settle together, so one speaks for all. */
function useWindows(path: string, channel: string | undefined, range: Range, everyMs: number): Resource<Page<WindowRow>> {
  const { from, to } = bounds(range, serverNow());
  const length = lengthFor(to - from);
  const key = channel === undefined || length === null ? null : `${path} ${channel} ${length} ${range.live ? range.span : `${from} ${to}`}`;
  return useResource(
    key,
    (s) => {
      const b = bounds(range, serverNow());
      return get<Page<WindowRow>>(`${path}/windows`, { channels: channel, window: length, limit: 1_000, from: toRfc3339(Math.floor(b.from)), to: toRfc3339(Math.ceil(b.to)) }, s);
    },
    range.live ? { everyMs: Math.max(30_000, everyMs) } : {},
  ).value;
}

function Charts({ id, path, channels, range, alert, choose, remove }: ChartsProps): VNode {
  const follow = range.live;
  const length = follow ? range.span : 0;
  const every = Math.max(10_000, Math.min(300_000, length / 60));
  const key = channels.length === 0 ? null : `${channels.join()} ${follow ? length : `${range.from} ${range.to}`}`;
  const ask = (): { from: string; to: string } => {
    const b = bounds(range, serverNow());
    return { from: toRfc3339(Math.floor(b.from)), to: toRfc3339(Math.ceil(b.to)) };
  };
  const poll = follow ? { everyMs: every } : {};
  const readings = useResource(
    key,
    (s) => get<Readings>(`${path}/readings`, { channels: channels.join(","), ...ask(), points: POINTS }, s),
    { ...poll, keep: false },
  ).value;
  const windows = useWindows(path, channels[0], range, every);
  const timeline = useResource(key, (s) => get<Timeline>(`${path}/timeline`, ask(), s), poll).value;
  const series = useLiveSeries(id, readings.data, follow ? length : null).value;
  // Not each second for a day: a pixel's worth of time is enough.
  const step = follow ? Math.max(1_000, length / 1_000) : 1;
  const at = useComputed(() => Math.ceil(now.value / step) * step).value;
  const { from, to } = bounds(range, at);
  const shared = useMemo<Overlay>(() => {
    const states = (timeline.data?.items ?? [])
      .filter((i) => i.lane === "state")
      .map((i) => ({ from: toMs(i.from) ?? 0, to: toMs(i.to) ?? Infinity, text: title(i.name), calm: i.code === 1 || i.code === 2 }));
    const start = toMs(alert?.window?.start ?? alert?.first);
    const end = toMs(alert?.window?.end ?? alert?.last);
    return {
      gaps: readings.data ? commonGaps(readings.data) : [],
      provisional: hatched(provisional(windows.data?.items ?? []), readings.data ? provisionalFrom(readings.data) : null),
      future: follow ? Infinity : serverNow(),
      window: start === null || end === null ? null : { from: start, to: end },
      limit: null,
      states: states.map((s) => ({ ...s, to: Math.min(s.to, 8.64e15) })),
    };
  }, [readings.data, timeline.data, windows.data, alert]);
  const groups = useMemo(() => {
    const first = series.filter((s) => s.unit === "kW" || s.channel === "wind_speed");
    const second = series.filter((s) => !first.includes(s));
    return [
      ["Power and wind", first],
      ["Channels", second],
    ] as const;
  }, [series]);
  const limits = useMemo<Overlay>(() => {
    if (!alert || alert.limit === null) return shared;
    const unit = alert.unit ?? "";
    return { ...shared, states: [], limit: { value: alert.limit, unit, text: `limit ${measured(alert.limit, unit)}` } };
  }, [shared, alert]);
  const lower = useMemo<Overlay>(() => ({ ...shared, states: [] }), [shared]);
  if (channels.length === 0) return <section class="charts"><Notice kind="empty">No channel is chosen.</Notice></section>;
  const drawn = groups.filter(([, list]) => list.length > 0).length;
  const rightAxes = Math.max(...groups.map(([, list]) => Math.min(4, new Set(list.map((s) => s.unit)).size))) - 1;
  const height = Math.round(Math.max(250, Math.min(560, (innerHeight - 400) / Math.max(1, drawn))));
  const empty = readings.data !== null && readings.data.channels.every((c) => c.points.length === 0);
  return (
    <section class="charts" aria-label="Charts" aria-busy={readings.loading}>
      {readings.error && <Notice kind="error">{readings.error}</Notice>}
      {readings.data === null && !readings.error && <Notice kind="loading">Loading{"\u2026"}</Notice>}
      {empty && <Notice kind="empty">No reading in this range.</Notice>}
      {groups.map(([name, list]) =>
        list.length === 0 ? null : (
          <Chart
            key={name}
            name={name}
            series={list}
            from={from}
            to={to}
            overlay={list.some((s) => s.channel === alert?.channel) ? { ...limits, states: name === "Channels" ? [] : shared.states } : name === "Channels" ? lower : shared}
            sync={id}
            height={height}
            rightAxes={rightAxes}
            select={(a, b) => choose({ live: false, from: a, to: b })}
            remove={remove}
          />
        ),
      )}
      <p class="muted small">
        Drag across a chart to choose a range. Bands show minimum and maximum
        {readings.data && readings.data.bucket_ms > 0 ? ` of ${span(readings.data.bucket_ms)}` : ""}; hatched is provisional, shaded has no data.
      </p>
    </section>
  );
}
