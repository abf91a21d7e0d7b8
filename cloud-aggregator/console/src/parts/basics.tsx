// Small parts that every page uses.

import type { ComponentChildren, VNode } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { ABSENT } from "../pure/quantity.ts";
import { inZone, knownZone, offsetText, span, toMs, utc } from "../pure/time.ts";
import type { Attention, Look } from "../pure/wall.ts";
import { ATTENTION_MARKS, ATTENTION_NAMES, LOOK_MARKS } from "../wall/marks.ts";
import { now } from "../state/server.ts";

export function Glyph({ path, kind = "mark", label }: { path: string; kind?: string; label?: string }): VNode {
  const named = label ? { role: "img" as const, "aria-label": label } : { "aria-hidden": "true" as const };
  return (
    <svg class={kind} viewBox="0 0 16 16" {...named}>
      <path d={path} fill-rule="evenodd" />
    </svg>
  );
}

export function LookMark({ look }: { look: Look }): VNode {
  return (
    <span class="look" data-look={look}>
      <Glyph path={LOOK_MARKS[look]} />
    </span>
  );
}

export function AttentionMark({ attention, label }: { attention: Attention; label?: boolean }): VNode | null {
  if (attention === "none") return null;
  return (
    <span class="attention" data-alert={attention}>
      <Glyph path={ATTENTION_MARKS[attention]} {...(label === false ? {} : { label: ATTENTION_NAMES[attention] })} />
    </span>
  );
}

/** A time in UTC; the site's time is its title. */
export function When({ time, zone, millis = false }: { time: string | null | undefined; zone?: string | undefined; millis?: boolean }): VNode {
  const ms = toMs(time);
  if (ms === null) return <span class="absent">{ABSENT}</span>;
  const site = zone && knownZone(zone) ? `${inZone(ms, zone)} ${offsetText(ms, zone)} (${zone})` : undefined;
  return (
    <time dateTime={time ?? ""} title={site}>
      {utc(ms, millis)}
    </time>
  );
}

/** How long ago, counting on. */
export function Ago({ time }: { time: string | null | undefined }): VNode {
  const ms = toMs(time);
  return <span class="num">{ms === null ? ABSENT : span(now.value - ms)}</span>;
}

export function Notice({ kind, children }: { kind: "empty" | "error" | "loading"; children: ComponentChildren }): VNode {
  return (
    <p class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
      {children}
    </p>
  );
}

/** Loading, refused, or empty: said in one line; null when there is something to show. */
export function State({ of, empty }: { of: { data: unknown; error: string | null; loading: boolean }; empty?: string | false }): VNode | null {
  if (of.error) return <Notice kind="error">{of.error}</Notice>;
  if (of.data === null) return <Notice kind="loading">{of.loading ? "Loading\u2026" : "No answer from the service yet."}</Notice>;
  return empty ? <Notice kind="empty">{empty}</Notice> : null;
}

/** A modal dialog: the browser keeps the focus inside, Escape closes, the focus returns to where it was. */
export function Dialog(props: { title: string; close(): void; wide?: boolean; children: ComponentChildren }): VNode {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.wide ? "wide" : ""}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        props.close();
      }}
    >
      <h2 id={id}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** One of a few: radio buttons that look like a bar. */
export function Choice<T extends string>(props: { label: string; name: string; value: T; options: readonly (readonly [T, string])[]; choose(value: T): void }): VNode {
  return (
    <fieldset class="choice">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <label key={value}>
          <input type="radio" name={props.name} value={value} checked={props.value === value} onChange={() => props.choose(value)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** A quantity with its name above it. */
export function Fact({ name, children, muted = false }: { name: string; children: ComponentChildren; muted?: boolean }): VNode {
  return (
    <div class={muted ? "fact muted" : "fact"}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
