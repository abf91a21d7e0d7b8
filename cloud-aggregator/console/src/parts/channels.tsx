// A turbine's channels with their newest values: choose what the charts show.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import type { Channel, ChannelValue } from "../api/types.ts";
import { count } from "../pure/quantity.ts";
import { toMs, utc } from "../pure/time.ts";
import { title, valueText } from "../pure/words.ts";

interface Props {
  catalogue: readonly Channel[];
  values: ReadonlyMap<string, ChannelValue>;
  stale: boolean;
  chosen: readonly string[];
  most: number;
  choose(channels: readonly string[]): void;
}

export function Channels({ catalogue, values, stale, chosen, most, choose }: Props): VNode {
  const text = useSignal("");
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = catalogue.filter((c) => words.every((w) => `${c.name} ${title(c.name)} ${c.unit}`.toLowerCase().includes(w)));
  const toggle = (name: string): void => {
    if (chosen.includes(name)) choose(chosen.filter((c) => c !== name));
    else if (chosen.length < most) choose([...chosen, name]);
  };
  return (
    <aside class="channels panel" aria-label="Channels">
      <label class="field">
        <span class="hidden">Find a channel</span>
        <input type="search" placeholder={`Find among ${count(catalogue.length)} channels`} value={text.value} onInput={(e) => (text.value = e.currentTarget.value)} />
      </label>
      <ul class={stale ? "stale" : ""}>
        {shown.map((c) => {
          const value = values.get(c.name);
          const at = toMs(value?.time);
          return (
            <li key={c.id} title={at === null ? "no reading yet" : `${utc(at, true)} UTC`}>
              <label>
                <input type="checkbox" checked={chosen.includes(c.name)} disabled={!chosen.includes(c.name) && chosen.length >= most} onChange={() => toggle(c.name)} />
                <span>{title(c.name)}</span>
                <span class="num">{valueText(value && { ...value, unit: c.unit }, c.states)}</span>
              </label>
            </li>
          );
        })}
        {catalogue.length > 0 && shown.length === 0 && <li class="muted">No channel has that name.</li>}
      </ul>
    </aside>
  );
}
