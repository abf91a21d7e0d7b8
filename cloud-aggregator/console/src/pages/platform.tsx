// The platform: how fresh and how complete the fleet's data are, and what the pipeline set aside.

import { useSignal } from "@preact/signals";
import type { ComponentChildren, VNode } from "preact";
import { useEffect } from "preact/hooks";
import { get } from "../api/client.ts";
import type { Coverage, DeadLetter, Page, Pipeline } from "../api/types.ts";
import { Ago, Fact, Notice, State, When } from "../parts/basics.tsx";
import { ABSENT, count, fixed, latency } from "../pure/quantity.ts";
import { whyText } from "../pure/timeline.ts";
import { DAY, span, toRfc3339 } from "../pure/time.ts";
import { byId } from "../pure/wall.ts";
import { title } from "../pure/words.ts";
import { useResource } from "../state/resource.ts";
import { proofHref } from "../state/route.ts";
import { contact, live, onEvent, serverNow } from "../state/server.ts";

export function PlatformPage(): VNode {
  document.title = "Platform \u2013 Windlass";
  useEffect(() => live.want({ topics: "pipeline,alerts" }), []);
  const fetched = useResource("/pipeline", (s) => get<Pipeline>("/pipeline", {}, s), { everyMs: 10_000 }).value;
  const pushed = useSignal<Pipeline | null>(null);
  useEffect(() => onEvent<Pipeline>("pipeline", (p) => (pushed.value = p)), []);
  useEffect(() => {
    pushed.value = null;
  }, [fetched.data]);
  const p = pushed.value ?? fetched.data;
  return (
    <div class="page platform" data-contact={contact.value}>
      <h1>Platform</h1>
      {!p && <State of={fetched} />}
      {p && (
        <>
          <dl class="facts wide">
            <Fact name="Version">{p.version}</Fact>
            <Fact name="Up for">
              <Ago time={p.started} />
            </Fact>
            <Fact name="Ingest">{connected(p)}</Fact>
            <Fact name="Records a second">{fixed(p.ingest.rate, 1)}</Fact>
            <Fact name="Lag, all partitions">{count(p.partitions.reduce((n, x) => n + x.lag, 0))}</Fact>
            <Fact name="Last lake cut">
              <Ago time={p.lake.last_cut} />
            </Fact>
            <Fact name="Lake's lag">{count(p.lake.lag)}</Fact>
          </dl>
          <div class="cards">
            <Counts pipeline={p} />
            <Freshness pipeline={p} />
            <Partitions pipeline={p} />
            <Sinks pipeline={p} />
            <Incomplete pipeline={p} />
          </div>
        </>
      )}
      <DeadLetters />
    </div>
  );
}

function connected(p: Pipeline): string {
  const c = p.ingest.connected;
  if (typeof c === "number") return `${count(c)} connected`;
  return c === null ? ABSENT : c ? "connected" : "not connected";
}

function Card({ name, children, wide = false }: { name: string; children: ComponentChildren; wide?: boolean }): VNode {
  return (
    <section class={wide ? "panel wide" : "panel"} aria-label={name}>
      <h2>{name}</h2>
      {children}
    </section>
  );
}

/** Counts that should be zero in a fleet without trouble. */
const TROUBLE = new Set(["dead_letters", "evicted_readings", "late_readings", "suspect_readings"]);

function Counts({ pipeline }: { pipeline: Pipeline }): VNode {
  return (
    <Card name="Counts">
      <table>
        <tbody>
          {Object.entries(pipeline.counts).map(([name, n]) => (
            <tr key={name} data-trouble={TROUBLE.has(name) && (n ?? 0) > 0}>
              <th scope="row">{title(name)}</th>
              <td class="num right">{count(n)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Freshness({ pipeline }: { pipeline: Pipeline }): VNode {
  const list = [...pipeline.freshness].sort((a, b) => b.stale - a.stale || byId(a.farm, b.farm));
  return (
    <Card name="Freshness by farm">
      {list.length === 0 ? (
        <Notice kind="empty">No farm has reported yet.</Notice>
      ) : (
        <table>
          <thead>
            <tr>
              <th>Farm</th>
              <th class="right">Median</th>
              <th class="right">99 %</th>
              <th class="right">Stale turbines</th>
            </tr>
          </thead>
          <tbody>
            {list.map((f) => (
              <tr key={f.farm} data-trouble={f.stale > 0}>
                <td>{f.farm}</td>
                <td class="num right">{latency(f.p50_ms)}</td>
                <td class="num right">{latency(f.p99_ms)}</td>
                <td class="num right">{count(f.stale)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function Partitions({ pipeline }: { pipeline: Pipeline }): VNode {
  return (
    <Card name="Partitions and snapshots" wide>
      <table>
        <thead>
          <tr>
            <th>Partition</th>
            <th class="right">Head</th>
            <th class="right">Committed</th>
            <th class="right">Lag</th>
            <th class="right time">Log time (UTC)</th>
            <th class="right">Snapshot at</th>
            <th class="right">Age</th>
            <th class="right">Logic</th>
          </tr>
        </thead>
        <tbody>
          {pipeline.partitions.map((p) => (
            <tr key={p.partition}>
              <td class="num">{p.partition}</td>
              <td class="num right">{count(p.head)}</td>
              <td class="num right">{count(p.committed)}</td>
              <td class="num right">{count(p.lag)}</td>
              <td class="num right">
                <When time={p.log_time} />
              </td>
              <td class="num right">{count(p.snapshot_position)}</td>
              <td class="num right">{p.snapshot_age_s === null ? ABSENT : span(p.snapshot_age_s * 1000)}</td>
              <td class="num right">{p.logic_version ?? ABSENT}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Sinks({ pipeline }: { pipeline: Pipeline }): VNode {
  return (
    <Card name="Sinks">
      {pipeline.sinks.length === 0 ? (
        <Notice kind="empty">No sink runs in this process.</Notice>
      ) : (
        <table>
          <thead>
            <tr>
              <th>Sink</th>
              <th class="right">Lag</th>
            </tr>
          </thead>
          <tbody>
            {pipeline.sinks.map((s) => (
              <tr key={s.name}>
                <td>{title(s.name)}</td>
                <td class="num right">{count(s.lag)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function Incomplete({ pipeline }: { pipeline: Pipeline }): VNode {
  const list = [...pipeline.incomplete].sort((a, b) => b.missing_seqs - a.missing_seqs || b.lost_seqs - a.lost_seqs || byId(a.turbine, b.turbine));
  return (
    <Card name="Incomplete turbines" wide>
      {list.length === 0 ? (
        <Notice kind="empty">Every turbine is complete as far as it has reported.</Notice>
      ) : (
        <table>
          <thead>
            <tr>
              <th>Turbine</th>
              <th class="right">Holes</th>
              <th class="right">Missing seqs</th>
              <th class="right">Lost seqs</th>
              <th>Missing ranges</th>
            </tr>
          </thead>
          <tbody>
            {list.slice(0, 100).map((t) => (
              <IncompleteRow key={t.turbine} {...t} />
            ))}
          </tbody>
        </table>
      )}
      {list.length > 100 && <p class="muted">The worst 100 of {count(list.length)}.</p>}
    </Card>
  );
}

function IncompleteRow({ turbine, holes, missing_seqs, lost_seqs }: Pipeline["incomplete"][number]): VNode {
  const open = useSignal(false);
  const path = `/turbines/${encodeURIComponent(turbine)}/coverage`;
  const range = (): { from: string; to: string } => ({ from: toRfc3339(serverNow() - 30 * DAY), to: toRfc3339(serverNow()) });
  const coverage = useResource(open.value ? path : null, (s) => get<Coverage>(path, range(), s)).value;
  return (
    <tr>
      <td>
        <a href={proofHref(turbine)}>{turbine}</a>
      </td>
      <td class="num right">{count(holes)}</td>
      <td class="num right">{count(missing_seqs)}</td>
      <td class="num right">{count(lost_seqs)}</td>
      <td class="num wrap">
        <button type="button" class="quiet" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
          {open.value ? "Hide" : "Show"}
        </button>
        {open.value && coverage.error && <span class="error">{coverage.error}</span>}
        {open.value && coverage.data && (
          <ul>
            {coverage.data.missing.length === 0 && <li>none in the last 30 days</li>}
            {coverage.data.missing.slice(0, 20).map((m, i) => (
              <li key={i}>{whyText(m)}</li>
            ))}
          </ul>
        )}
      </td>
    </tr>
  );
}

function DeadLetters(): VNode {
  const reason = useSignal("");
  const asked = reason.value;
  const letters = useResource(`/dead-letters ${asked}`, (s) => get<Page<DeadLetter>>("/dead-letters", { reason: asked, limit: 100 }, s), { everyMs: 15_000 }).value;
  const items = letters.data?.items ?? [];
  const reasons = [...new Set([...items.map((d) => d.reason), ...(asked ? [asked] : [])])].sort();
  return (
    <section class="panel" aria-label="Dead letters">
      <div class="toolbar">
        <h2>Dead letters</h2>
        <label class="field">
          Reason
          <select value={asked} onChange={(e) => (reason.value = e.currentTarget.value)}>
            <option value="">all</option>
            {reasons.map((r) => (
              <option key={r} value={r}>
                {title(r)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <State of={letters} empty={items.length === 0 && "Nothing was refused."} />
      {items.length > 0 && (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>At (UTC)</th>
                <th>Reason</th>
                <th>Detail</th>
                <th>Stage</th>
                <th>Gateway</th>
                <th>Turbine</th>
                <th>Epoch / seq</th>
                <th class="right">Readings</th>
              </tr>
            </thead>
            <tbody>
              {items.map((d) => (
                <tr key={d.id}>
                  <td class="num">
                    <When time={d.at} />
                  </td>
                  <td>{title(d.reason)}</td>
                  <td class="wrap">{d.detail}</td>
                  <td>{d.stage}</td>
                  <td>{d.gateway ?? ABSENT}</td>
                  <td>{d.turbine ?? ABSENT}</td>
                  <td class="num">{d.epoch ? `${d.epoch.slice(0, 8)} / ${d.seq ?? "?"}` : ABSENT}</td>
                  <td class="num right">{count(d.readings)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
