// Compliance: what a turbine did and what is known of it, on one time axis, fit to print.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import { get } from "../api/client.ts";
import type { At, Coverage, Timeline, Turbine } from "../api/types.ts";
import { Notice, State, When } from "../parts/basics.tsx";
import { Lanes } from "../parts/lanes.tsx";
import { RangePicker } from "../parts/range.tsx";
import { count, plural } from "../pure/quantity.ts";
import type { Range } from "../pure/range.ts";
import { bounds, fromQuery, toQuery } from "../pure/range.ts";
import { LANES, describe, verdictText, whyText } from "../pure/timeline.ts";
import { DAY, inZone, knownZone, offsetText, parseTyped, span, toMs, toRfc3339, utc } from "../pure/time.ts";
import { sourceName, title, valueText } from "../pure/words.ts";
import { farmOf, farms } from "../state/fleet.ts";
import { useResource } from "../state/resource.ts";
import { route, setQuery, turbineHref } from "../state/route.ts";
import { live, serverNow } from "../state/server.ts";

export function ProofPage({ id }: { id: string }): VNode {
  document.title = `Proof of ${id} \u2013 Windlass`;
  useEffect(() => live.want({ topics: "alerts" }), []);
  farms.value;
  const { query } = route.value;
  const opened = useSignal(serverNow()).value;
  const fallback: Range = { live: false, from: opened - DAY, to: opened };
  const range = fromQuery(query, fallback);
  const { from, to } = bounds(range, opened);
  const path = `/turbines/${encodeURIComponent(id)}`;
  const span_ = { from: toRfc3339(from), to: toRfc3339(to) };
  const key = `${path} ${from} ${to}`;
  const turbine = useResource(path, (s) => get<Turbine>(path, {}, s)).value;
  const timeline = useResource(key, (s) => get<Timeline>(`${path}/timeline`, span_, s), { keep: false }).value;
  const coverage = useResource(key, (s) => get<Coverage>(`${path}/coverage`, span_, s), { keep: false }).value;
  const farmZone = farmOf(turbine.data?.farm)?.zone;
  const zone = knownZone(farmZone) ? farmZone : undefined;
  if (turbine.error) {
    return (
      <div class="page">
        <h1>Proof of {id}</h1>
        <Notice kind="error">{turbine.error}</Notice>
      </div>
    );
  }
  return (
    <div class="page proof">
      <section class="identity">
        <h1>Proof of {id}</h1>
        <span>
          {turbine.data?.farm ? `Farm ${turbine.data.farm}` : ""}
          {zone ? `, site time ${zone}` : ""}
        </span>
        <span class="num">
          {utc(from)} to {utc(to)} UTC ({span(to - from)})
        </span>
        <span class="links">
          <a href={turbineHref(id, `?from=${span_.from}&to=${span_.to}`)}>Charts</a>
          <button type="button" onClick={() => print()}>
            Print
          </button>
        </span>
      </section>
      <div class="toolbar">
        <RangePicker range={range.live ? { live: false, from, to } : range} live={false} choose={(r) => setQuery(toQuery(r, query))} />
      </div>
      <AtForm id={id} path={path} zone={zone} />
      <State of={timeline} />
      {timeline.data && (
        <>
          <p class="verdict" data-verdict={timeline.data.verdict}>
            {verdictText(timeline.data.verdict)}
          </p>
          <Lanes items={timeline.data.items} from={from} to={to} zone={zone} select={(a, b) => setQuery(toQuery({ live: false, from: a, to: b }, query))} />
          <Events timeline={timeline.data} zone={zone} />
        </>
      )}
      {/* After what stands above it: it would be pushed down. */}
      {(timeline.data || timeline.error) && <CoverageTable coverage={coverage.data} error={coverage.error} />}
    </div>
  );
}

/** "What was it doing at ...", with how sure the answer is. */
function AtForm({ id, path, zone }: { id: string; path: string; zone: string | undefined }): VNode {
  const { query } = route.value;
  const asked = query.get("at");
  const typed = useSignal(asked ? (toMs(asked) === null ? asked : utc(toMs(asked) ?? 0)) : "");
  const wrong = useSignal("");
  const ms = toMs(asked);
  const answer = useResource(ms === null ? null : `${path} at ${asked}`, (s) => get<At>(`${path}/at`, { time: asked, around: "10m" }, s), { keep: false }).value;
  const submit = (event: Event): void => {
    event.preventDefault();
    const at = parseTyped(typed.value);
    if (at === null) {
      wrong.value = "Expected a time like 2026-11-21 10:00:00";
      return;
    }
    wrong.value = "";
    const next = new URLSearchParams(query);
    next.set("at", toRfc3339(at));
    setQuery(next);
  };
  return (
    <section class="panel at" aria-label="State at a moment">
      <form onSubmit={submit}>
        <label class="field">
          What was {id} doing at
          <input class="num" size={23} placeholder="2026-11-21 10:00:00" value={typed.value} onInput={(e) => (typed.value = e.currentTarget.value)} aria-invalid={wrong.value !== ""} />
        </label>
        <span class="muted">UTC</span>
        <button type="submit">Ask</button>
        {wrong.value && (
          <span class="error" role="alert">
            {wrong.value}
          </span>
        )}
      </form>
      {ms !== null && <State of={answer} />}
      {ms !== null && answer.data && (
        <div data-testid="at">
          <p class="num">
            At {utc(ms, true)} UTC{zone ? `, ${inZone(ms, zone)} ${offsetText(ms, zone)} at the site` : ""}:
          </p>
          <p class="verdict" data-verdict={answer.data.verdict}>
            {verdictText(answer.data.verdict)}
          </p>
          {answer.data.why.length > 0 && (
            <ul>
              {answer.data.why.map((why, i) => (
                <li key={i}>{whyText(why)}</li>
              ))}
            </ul>
          )}
          <Values at={answer.data} ms={ms} />
        </div>
      )}
    </section>
  );
}

const FIRST = ["iec_state", "operating_state", "active_power", "available_power", "active_power_setpoint", "active_power_setpoint_source", "wind_speed", "alarm_code"];

function Values({ at, ms }: { at: At; ms: number }): VNode {
  const all = useSignal(false);
  const known = at.values.filter((v) => v.time !== null);
  const first = FIRST.map((name) => known.find((v) => v.channel === name)).filter((v) => v !== undefined);
  const list = all.value || first.length === 0 ? known : first;
  if (known.length === 0) return <Notice kind="empty">No reading at or before that moment.</Notice>;
  return (
    <>
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th>Channel</th>
              <th>Last value</th>
              <th>Reported at (UTC)</th>
              <th>Before</th>
              <th>Record</th>
            </tr>
          </thead>
          <tbody>
            {list.map((v) => (
              <tr key={v.channel}>
                <td>{title(v.channel)}</td>
                <td class="num">{valueText(v)}</td>
                <td class="num">
                  <When time={v.time} millis />
                </td>
                <td class="num">{span(ms - (toMs(v.time) ?? ms))}</td>
                <td class="num">{v.epoch ? `${v.epoch.slice(0, 8)} / ${v.seq ?? "?"} / ${v.index ?? "?"}` : "\u2013"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {known.length > first.length && first.length > 0 && (
        <button type="button" class="quiet" aria-expanded={all.value} onClick={() => (all.value = !all.value)}>
          {all.value ? "Fewer channels" : `All ${count(known.length)} channels`}
        </button>
      )}
    </>
  );
}

const EVENTS_MAX = 500;

function Events({ timeline, zone }: { timeline: Timeline; zone: string | undefined }): VNode {
  const names = new Map(LANES.map((l) => [l.lane, l.name]));
  const items = [...timeline.items].sort((a, b) => (toMs(a.from) ?? 0) - (toMs(b.from) ?? 0));
  if (items.length === 0) return <Notice kind="empty">Nothing is known of this range.</Notice>;
  return (
    <section aria-labelledby="events">
      <h2 id="events">Events</h2>
      {items.length > EVENTS_MAX && <p class="muted">The first {count(EVENTS_MAX)} of {count(items.length)}: choose a shorter range for the others.</p>}
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th>From (UTC)</th>
              <th>{zone ? `Site time (${zone})` : "Site time"}</th>
              <th>Lasted</th>
              <th>Lane</th>
              <th>What</th>
              <th>Source</th>
              <th>Cause</th>
            </tr>
          </thead>
          <tbody>
            {items.slice(0, EVENTS_MAX).map((i, n) => {
              const from = toMs(i.from) ?? 0;
              const to = toMs(i.to);
              return (
                <tr key={n}>
                  <td class="num">{utc(from, true)}</td>
                  <td class="num">{zone ? `${inZone(from, zone)} ${offsetText(from, zone)}` : "\u2013"}</td>
                  <td class="num">{to === null ? "goes on" : to === from ? "\u2013" : span(to - from)}</td>
                  <td>{names.get(i.lane) ?? i.lane}</td>
                  <td>{describe(i)}</td>
                  <td>{sourceName(i.source)}</td>
                  <td class="wrap">{i.cause ?? ""}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function CoverageTable({ coverage, error }: { coverage: Coverage | null; error: string | null }): VNode | null {
  if (error) return <Notice kind="error">{error}</Notice>;
  if (!coverage) return null;
  return (
    <section aria-labelledby="coverage">
      <h2 id="coverage">Coverage</h2>
      <p class="verdict" data-verdict={coverage.verdict}>
        {verdictText(coverage.verdict)}
      </p>
      {coverage.missing.length > 0 && (
        <>
          <h3>Missing</h3>
          <ul>
            {coverage.missing.map((m, i) => (
              <li key={i} class="num">
                {whyText(m)}
              </li>
            ))}
          </ul>
        </>
      )}
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th>Epoch</th>
              <th>Seqs</th>
              <th>Known</th>
              <th>Complete up to (UTC)</th>
            </tr>
          </thead>
          <tbody>
            {coverage.epochs.flatMap((e) =>
              e.runs.map((r, i) => (
                <tr key={`${e.epoch} ${r.first}`}>
                  <td class="num">{i === 0 ? e.epoch.slice(0, 8) : ""}</td>
                  <td class="num">
                    {count(r.first)}
                    {"\u2013"}
                    {count(r.last)}
                  </td>
                  <td>{title(r.kind)}</td>
                  <td class="num">
                    <When time={r.frontier} millis />
                  </td>
                </tr>
              )),
            )}
          </tbody>
        </table>
      </div>
      <p class="muted small">{plural(coverage.epochs.length, "epoch")}: an epoch is one run of the gateway's agent; its records are numbered 1, 2, 3 and so on.</p>
    </section>
  );
}
