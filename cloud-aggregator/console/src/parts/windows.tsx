// The window behind an alert: what was said of it, revision by revision, and how sure each word was.

import type { VNode } from "preact";
import { get } from "../api/client.ts";
import type { Alert, Page, WindowRow } from "../api/types.ts";
import { count, measured } from "../pure/quantity.ts";
import { toMs, toRfc3339 } from "../pure/time.ts";
import { whyText } from "../pure/timeline.ts";
import { LENGTHS } from "../pure/windows.ts";
import { title } from "../pure/words.ts";
import { useResource } from "../state/resource.ts";
import { State, When } from "./basics.tsx";

/** Revisions of one window: more than that are rare, and the first ones say the least. */
const REVISIONS_MAX = 100;

const VERDICTS: Readonly<Record<string, string>> = { exact: "Exact", recorded_loss: "With recorded loss", provisional: "Provisional" };

export function AlertWindow({ alert, path, zone }: { alert: Alert; path: string; zone: string | undefined }): VNode | null {
  const start = toMs(alert.window?.start);
  const kind = alert.window?.kind ?? "";
  const known = start !== null && alert.channel !== null && LENGTHS.includes(kind);
  const key = known ? `${path}/windows ${alert.channel} ${kind} ${start}` : null;
  const answer = useResource(
    key,
    (s) => {
      // Windows that start at this moment: longer ones begin every minute.
      const range = { from: toRfc3339(start ?? 0), to: toRfc3339((start ?? 0) + 1_000) };
      return get<Page<WindowRow>>(`${path}/windows`, { channels: alert.channel, window: kind, revisions: true, limit: REVISIONS_MAX, ...range }, s);
    },
    { everyMs: 10_000, keep: false },
  ).value;
  // What was said of windows stands beside the alert: without it the alert is all there.
  if (!known || (answer.error && !answer.data)) return null;
  const rows = answer.data?.items ?? [];
  return (
    <section class="panel window" aria-label="The alert's window">
      <h2>
        Window{" "}
        <span class="num muted">
          <When time={alert.window?.start} zone={zone} /> to <When time={alert.window?.end} zone={zone} /> UTC, {kind}
        </span>
      </h2>
      <State of={answer} empty={rows.length === 0 && "Nothing was said of this window yet."} />
      {rows.length > 0 && (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Revision</th>
                <th>Verdict</th>
                <th>Value</th>
                <th>Least and greatest</th>
                <th>Readings</th>
                <th>Late</th>
                <th>Said at (UTC)</th>
                <th>Missing</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row, i) => (
                <tr key={i} data-verdict={row.verdict}>
                  <td class="num">{row.partial ? "added later" : row.revision}</td>
                  <td>{VERDICTS[row.verdict] ?? title(row.verdict)}</td>
                  <td class="num">{measured(row.value, row.unit)}</td>
                  <td class="num">{row.min === null ? "\u2013" : `${measured(row.min, row.unit)} \u2026 ${measured(row.max, row.unit)}`}</td>
                  <td class="num">
                    {count(row.n)}
                    {row.bad > 0 ? `, ${count(row.bad)} of bad quality` : ""}
                  </td>
                  <td class="num">{count(row.late)}</td>
                  <td class="num">
                    <When time={row.log_time} zone={zone} millis />
                  </td>
                  <td class="wrap">{row.missing.map(whyText).join("; ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
