// One alert, with what may be done about it. What people wrote is shown as text.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { post } from "../api/client.ts";
import type { Alert } from "../api/types.ts";
import { isOpen, shelvedNow } from "../pure/alerts.ts";
import { measured } from "../pure/quantity.ts";
import { HOUR, parseTyped, toRfc3339, utc } from "../pure/time.ts";
import type { Attention } from "../pure/wall.ts";
import { breach, operatingState, title } from "../pure/words.ts";
import { now, serverNow } from "../state/server.ts";
import { recall, remember } from "../state/theme.ts";
import { AttentionMark, Dialog, When } from "./basics.tsx";

export function attentionOf(alert: Alert): Attention {
  if (!isOpen(alert)) return "none";
  if (alert.state === "provisional") return "provisional";
  return alert.level === "critical" ? "critical" : "warning";
}

/** State in words with its mark: never by colour alone. */
export function AlertState({ alert }: { alert: Alert }): VNode {
  return (
    <span class="alert-state" data-state={alert.state}>
      <AttentionMark attention={attentionOf(alert)} label={false} />
      {title(alert.state)}
    </span>
  );
}

export function Breach({ alert }: { alert: Alert }): VNode {
  return (
    <span class="num">
      <strong>{measured(alert.value, alert.unit ?? "")}</strong>
      {alert.limit !== null && (
        <>
          {" "}
          {breach(alert)} {measured(alert.limit, alert.unit ?? "")}
        </>
      )}
    </span>
  );
}

export function AlertCard({ alert, zone }: { alert: Alert; zone?: string | undefined }): VNode {
  return (
    <section class="panel alert-card" data-alert={attentionOf(alert)} aria-label={`Alert ${title(alert.rule)}`}>
      <h2>
        {title(alert.rule)} <AlertState alert={alert} /> <span class="muted">{alert.level}</span>
      </h2>
      <dl class="facts">
        <div class="fact">
          <dt>{alert.channel ? title(alert.channel) : "Value"}</dt>
          <dd>
            <Breach alert={alert} />
          </dd>
        </div>
        <div class="fact">
          <dt>First (UTC)</dt>
          <dd class="num">
            <When time={alert.first} zone={zone} />
          </dd>
        </div>
        <div class="fact">
          <dt>Last (UTC)</dt>
          <dd class="num">
            <When time={alert.last} zone={zone} />
          </dd>
        </div>
        <div class="fact">
          <dt>Operating state</dt>
          <dd>{operatingState(alert.operating_state)}</dd>
        </div>
        <div class="fact">
          <dt>Revision</dt>
          <dd class="num">{alert.revision}</dd>
        </div>
        <div class="fact">
          <dt>Records</dt>
          <dd class="num">{alert.seqs.length === 0 ? "\u2013" : alert.seqs.map((s) => `${s.epoch.slice(0, 8)}: ${s.first}\u2013${s.last}`).join(", ")}</dd>
        </div>
      </dl>
      {(alert.detail || alert.cause) && <p class="line">{[alert.cause ? title(alert.cause) : "", alert.detail ?? ""].filter(Boolean).join(": ")}</p>}
      <Notes alert={alert} />
      <Actions alert={alert} />
    </section>
  );
}

export function Notes({ alert }: { alert: Alert }): VNode {
  const { acknowledged: a, shelved: s } = alert;
  return (
    <div class="notes">
      {a && (
        <p>
          Acknowledged by <b>{a.by}</b> at <When time={a.at} />
          {a.note && <>: {a.note}</>}
        </p>
      )}
      {s && (
        <p>
          {shelvedNow(alert, now.value) ? "Shelved" : "Was shelved"} by <b>{s.by}</b> until <When time={s.until} />
          {s.note && <>: {s.note}</>}
        </p>
      )}
    </div>
  );
}

export function Actions({ alert, done }: { alert: Alert; done?(alert: Alert | null): void }): VNode {
  const open = useSignal<"" | "acknowledge" | "shelve" | "unshelve">("");
  const close = (): void => {
    open.value = "";
  };
  const path = `/alerts/${encodeURIComponent(alert.id)}`;
  const send = async (verb: string, body: Record<string, string>): Promise<void> => {
    const answer = await post<Alert | null>(`${path}/${verb}`, body);
    done?.(answer && typeof answer === "object" && "id" in answer ? answer : null);
  };
  const shelved = shelvedNow(alert, now.value);
  return (
    <span class="actions">
      <button type="button" disabled={alert.acknowledged !== null} onClick={() => (open.value = "acknowledge")}>
        Acknowledge
      </button>
      <button type="button" onClick={() => (open.value = shelved ? "unshelve" : "shelve")}>
        {shelved ? "Unshelve" : "Shelve"}
      </button>
      {open.value === "acknowledge" && (
        <Form title={`Acknowledge: ${title(alert.rule)} on ${alert.turbine}`} verb="Acknowledge" note close={close} send={(body) => send("acknowledge", body)} />
      )}
      {open.value === "shelve" && (
        <Form title={`Shelve: ${title(alert.rule)} on ${alert.turbine}`} verb="Shelve" note until close={close} send={(body) => send("shelve", body)} />
      )}
      {open.value === "unshelve" && (
        <Form title={`Unshelve: ${title(alert.rule)} on ${alert.turbine}`} verb="Unshelve" close={close} send={(body) => send("unshelve", body)} />
      )}
    </span>
  );
}

interface FormProps {
  title: string;
  verb: string;
  note?: boolean;
  until?: boolean;
  close(): void;
  send(body: Record<string, string>): Promise<void>;
}

const HOURS: readonly number[] = [1, 8, 24];

function Form(props: FormProps): VNode {
  const by = useSignal(recall("name") ?? "");
  const note = useSignal("");
  const until = useSignal(`${utc(serverNow() + 8 * HOUR).slice(0, 16)}`);
  const wrong = useSignal("");
  const busy = useSignal(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const body: Record<string, string> = { by: by.value.trim() };
    if (!body["by"]) {
      wrong.value = "Name: expected who does this";
      return;
    }
    if (props.note) body["note"] = note.value.trim();
    if (props.until) {
      const at = parseTyped(until.value);
      if (at === null || at <= serverNow()) {
        wrong.value = "Until: expected a time to come, like 2026-11-21 18:00";
        return;
      }
      body["until"] = toRfc3339(at);
    }
    busy.value = true;
    remember("name", body["by"]);
    try {
      await props.send(body);
      props.close();
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
      busy.value = false;
    }
  };
  return (
    <Dialog title={props.title} close={props.close}>
      <form onSubmit={(e) => void submit(e)}>
        <label class="row">
          Name
          <input name="by" required maxLength={80} autocomplete="name" value={by.value} onInput={(e) => (by.value = e.currentTarget.value)} />
        </label>
        {props.note && (
          <label class="row">
            Note
            <textarea name="note" rows={3} maxLength={1000} value={note.value} onInput={(e) => (note.value = e.currentTarget.value)} />
          </label>
        )}
        {props.until && (
          <>
            <label class="row">
              Until (UTC)
              <input name="until" class="num" value={until.value} onInput={(e) => (until.value = e.currentTarget.value)} />
            </label>
            <div class="presets" role="group" aria-label="For so long">
              {HOURS.map((h) => (
                <button type="button" key={h} onClick={() => (until.value = utc(serverNow() + h * HOUR).slice(0, 16))}>
                  {h} h
                </button>
              ))}
            </div>
          </>
        )}
        {wrong.value && (
          <p class="error" role="alert">
            {wrong.value}
          </p>
        )}
        <div class="buttons">
          <button type="submit" class="primary" disabled={busy.value}>
            {props.verb}
          </button>
          <button type="button" onClick={props.close}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
