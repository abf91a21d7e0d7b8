// The list of alerts: what is open, how sure it is, and who has taken it on.

import { batch, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { get } from "../api/client.ts";
import type { Alert, Page } from "../api/types.ts";
import { Actions, AlertState, Breach, Notes, attentionOf } from "../parts/alert-card.tsx";
import { Choice, State, When } from "../parts/basics.tsx";
import { STATES, byUrgency, filterOf, merge, passes } from "../pure/alerts.ts";
import { count, plural } from "../pure/quantity.ts";
import { span, toMs } from "../pure/time.ts";
import { byId } from "../pure/wall.ts";
import { operatingState, title } from "../pure/words.ts";
import { farmOf, farms } from "../state/fleet.ts";
import { useResource } from "../state/resource.ts";
import { route, setQuery, turbineHref } from "../state/route.ts";
import { live, now, onEvent, serverNow } from "../state/server.ts";

const PAGE = 200;
/** New ones that wait to be shown; more than that are found by reloading. */
const FRESH_MAX = 1_000;

export function AlertsPage(): VNode {
  document.title = "Alerts \u2013 Windlass";
  useEffect(() => live.want({ topics: "alerts" }), []);
  const filter = filterOf(route.value.query);
  const shown = useSignal<Alert[]>([]);
  const fresh = useSignal<Alert[]>([]);
  const next = useSignal<string | null>(null);
  const more = useSignal<string | null>(null);
  const latest = useRef(filter);
  latest.current = filter;
  const key = JSON.stringify(filter);
  const ask = (cursor: string | null, signal?: AbortSignal): Promise<Page<Alert>> => get<Page<Alert>>("/alerts", { ...latest.current, limit: PAGE, cursor }, signal);
  const first = useResource(key, (s) => ask(null, s), { keep: false, everyMs: 20_000 }).value;
  const listed = useRef("");
  useEffect(() => {
    if (!first.data) return;
    const { items, next: cursor } = first.data;
    batch(() => {
      if (listed.current === first.key) {
        // Fetched again: what is shown stays in its place.
        take(items, true);
        return;
      }
      listed.current = first.key;
      shown.value = [...items].sort(byUrgency);
      fresh.value = [];
      next.value = cursor;
    });
  }, [first.data]);
  const take = (changes: readonly Alert[], withNew: boolean): void => {
    const at = serverNow();
    const known = merge(shown.peek(), changes, latest.current, at);
    shown.value = known.shown;
    if (!withNew) return;
    const waiting = merge(fresh.peek(), known.fresh, latest.current, at);
    fresh.value = [...waiting.shown, ...waiting.fresh].filter((a) => passes(a, latest.current, at)).slice(-FRESH_MAX);
  };
  useEffect(() => {
    // The first event names all that are open, also those on pages that were not loaded.
    let began = false;
    return onEvent<{ changed: Alert[] }>("alerts", (event) => {
      take(event.changed, began || next.peek() === null);
      began = true;
    });
  }, []);
  const change = (name: string, value: string): void => {
    const query = new URLSearchParams(route.value.query);
    if (value) query.set(name, value);
    else query.delete(name);
    setQuery(query, true);
  };
  const update = (id: string, answer: Alert | null): void => {
    if (answer) shown.value = shown.peek().map((a) => (a.id === id ? answer : a));
    else void get<Alert>(`/alerts/${encodeURIComponent(id)}`).then((a) => (shown.value = shown.peek().map((b) => (b.id === id ? a : b)))).catch(() => undefined);
  };
  const loadMore = async (): Promise<void> => {
    more.value = null;
    try {
      const page = await ask(next.value);
      const have = new Set(shown.peek().map((a) => a.id));
      batch(() => {
        shown.value = [...shown.peek(), ...page.items.filter((a) => !have.has(a.id)).sort(byUrgency)];
        next.value = page.next;
      });
    } catch (error) {
      more.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <div class="page alerts">
      <div class="toolbar">
        <h1>Alerts</h1>
        <Choice label="State" name="state" value={filter.state} options={STATES} choose={(v) => change("state", v)} />
        <label class="field">
          Farm
          <select value={filter.farm} onChange={(e) => change("farm", e.currentTarget.value)}>
            <option value="">all</option>
            {[...farms.value].sort((a, b) => byId(a.id, b.id)).map((f) => (
              <option key={f.id} value={f.id}>
                {f.id}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          Turbine
          <input size={10} value={filter.turbine} placeholder="all" onChange={(e) => change("turbine", e.currentTarget.value.trim())} />
        </label>
        <YesNo name="Acknowledged" value={filter.acknowledged} choose={(v) => change("acknowledged", v)} />
        <YesNo name="Shelved" value={filter.shelved} choose={(v) => change("shelved", v)} />
        <span class="num spread" role="status">
          {first.data ? `${plural(shown.value.length, "alert")}${next.value ? ", more to load" : ""}` : ""}
        </span>
        <button
          type="button"
          disabled={fresh.value.length === 0}
          onClick={() => {
            batch(() => {
              shown.value = [...fresh.value, ...shown.value].sort(byUrgency);
              fresh.value = [];
            });
          }}
        >
          {fresh.value.length === 0 ? "Up to date" : `Show ${count(fresh.value.length)} new`}
        </button>
      </div>
      <State of={first} empty={shown.value.length === 0 && "No alert passes the filter."} />
      {shown.value.length > 0 && <Table alerts={shown.value} update={update} />}
      {next.value && (
        <p>
          <button type="button" onClick={() => void loadMore()}>
            Load more
          </button>{" "}
          {more.value && <span class="error">{more.value}</span>}
        </p>
      )}
    </div>
  );
}

function YesNo({ name, value, choose }: { name: string; value: string; choose(value: string): void }): VNode {
  return (
    <label class="field">
      {name}
      <select value={value} onChange={(e) => choose(e.currentTarget.value)}>
        <option value="">all</option>
        <option value="false">no</option>
        <option value="true">yes</option>
      </select>
    </label>
  );
}

function Table({ alerts, update }: { alerts: readonly Alert[]; update(id: string, answer: Alert | null): void }): VNode {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th>State</th>
            <th>Turbine</th>
            <th>Rule</th>
            <th>Value and limit</th>
            <th>Operating state</th>
            <th>First (UTC)</th>
            <th>Lasted</th>
            <th>Rev.</th>
            <th>Notes</th>
            <th>
              <span class="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {alerts.map((a) => (
            <tr key={a.id} data-alert={attentionOf(a)} data-id={a.id}>
              <td>
                <AlertState alert={a} />
                <div class="muted small">{a.level}</div>
              </td>
              <td>
                <a href={turbineHref(a.turbine, `?alert=${encodeURIComponent(a.id)}`)}>{a.turbine}</a>
                <div class="muted small">{a.farm ?? ""}</div>
              </td>
              <td>
                {title(a.rule)}
                <div class="muted small">{a.channel ? title(a.channel) : ""}</div>
              </td>
              <td>
                <Breach alert={a} />
              </td>
              <td>{operatingState(a.operating_state)}</td>
              <td class="num">
                <When time={a.first} zone={farmOf(a.farm)?.zone} />
              </td>
              <td class="num">{lasted(a)}</td>
              <td class="num">{a.revision}</td>
              <td class="wrap">
                <Notes alert={a} />
              </td>
              <td>
                <Actions alert={a} done={(answer) => update(a.id, answer)} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function lasted(alert: Alert): string {
  const first = toMs(alert.first);
  const last = toMs(alert.last);
  if (first === null) return "\u2013";
  return span(Math.max(0, (last ?? now.value) - first));
}
