// The shell: header, the strip of alarms, and the page that the address names.

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Dialog, When } from "./parts/basics.tsx";
import { AlertsPage } from "./pages/alerts.tsx";
import { PlatformPage } from "./pages/platform.tsx";
import { ProofPage } from "./pages/proof.tsx";
import { TurbinePage } from "./pages/turbine.tsx";
import { WallPage } from "./pages/wall.tsx";
import { count } from "./pure/quantity.ts";
import { span, utcClock } from "./pure/time.ts";
import { alarmText } from "./pure/words.ts";
import { alarms, farms, rows } from "./state/fleet.ts";
import { navigate, route, setQuery, turbineHref } from "./state/route.ts";
import { contact, dataOf, downSince, liveRefused, now } from "./state/server.ts";
import { theme, toggleTheme } from "./state/theme.ts";

export function App(): VNode {
  return (
    <>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <Header />
      <Strip />
      <Main />
    </>
  );
}

function Main(): VNode {
  const { path } = route.value;
  const ref = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) ref.current?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);
  return (
    <main id="main" ref={ref} tabIndex={-1}>
      <Page path={path} />
    </main>
  );
}

function Page({ path }: { path: string }): VNode {
  const [, section = "", raw = ""] = path.split("/");
  let id = raw;
  try {
    id = decodeURIComponent(raw);
  } catch {
    // Not encoded: taken as it stands.
  }
  if (section === "") return <WallPage />;
  if (section === "alerts") return <AlertsPage />;
  if (section === "turbine" && id) return <TurbinePage key={id} id={id} />;
  if (section === "proof" && id) return <ProofPage key={id} id={id} />;
  if (section === "platform") return <PlatformPage />;
  document.title = "Not found \u2013 Windlass";
  return (
    <div class="page">
      <h1>There is no page {path}</h1>
      <p>
        <a href="/">To the wall</a>
      </p>
    </div>
  );
}

function Header(): VNode {
  const { path } = route.value;
  const open = farms.value.reduce((sum, farm) => sum + farm.alerts_open, 0);
  const link = (href: string, text: string, extra?: VNode | null): VNode => (
    <a href={href} aria-current={path === href ? "page" : undefined}>
      {text}
      {extra}
    </a>
  );
  return (
    <header>
      <a class="brand" href="/" aria-label="Windlass, wall">
        Windlass
      </a>
      <nav aria-label="Pages">
        {link("/", "Wall")}
        {link("/alerts", "Alerts", <span class={open > 0 ? "badge num" : "badge num none"}>{open > 0 ? count(open) : ""}</span>)}
        {link("/platform", "Platform")}
      </nav>
      <Search />
      <Connection />
      <time class="clock num" title="Time of the service, UTC">
        {utcClock(now.value)} UTC
      </time>
      <button type="button" class="quiet" onClick={toggleTheme} aria-label={`Use the ${theme.value === "dark" ? "light" : "dark"} theme`}>
        {theme.value === "dark" ? "Light" : "Dark"}
      </button>
    </header>
  );
}

/** Filters the wall; elsewhere it leads to a turbine. */
function Search(): VNode {
  const ref = useRef<HTMLInputElement>(null);
  const onWall = route.value.path === "/";
  const typed = useSignal("");
  useEffect(() => {
    const slash = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      const writing = target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || writing || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      ref.current?.focus();
      ref.current?.select();
    };
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  const filter = (text: string): void => {
    const query = new URLSearchParams(route.value.query);
    if (text) query.set("q", text);
    else query.delete("q");
    setQuery(query, true);
  };
  const go = (event: Event): void => {
    event.preventDefault();
    const text = (ref.current?.value ?? "").trim();
    const exact = [...rows.keys()].find((id) => id.toLowerCase() === text.toLowerCase());
    if (exact) navigate(turbineHref(exact));
    else if (!onWall) navigate(text ? `/?q=${encodeURIComponent(text)}` : "/");
    else document.querySelector<HTMLElement>(".tile[tabindex='0']")?.focus();
    typed.value = "";
  };
  return (
    <form class="search" role="search" onSubmit={go}>
      <label class="hidden" for="search">
        {onWall ? "Filter turbines by id, farm, gateway or state" : "Go to a turbine"}
      </label>
      <input
        id="search"
        ref={ref}
        type="search"
        autocomplete="off"
        spellcheck={false}
        placeholder={onWall ? "Filter: id, farm, state" : "Go to turbine"}
        aria-keyshortcuts="/"
        value={onWall ? (route.value.query.get("q") ?? "") : typed.value}
        onInput={(e) => (onWall ? filter(e.currentTarget.value) : (typed.value = e.currentTarget.value))}
        onKeyDown={(e) => {
          if (e.key !== "Escape") return;
          if (onWall) filter("");
          typed.value = "";
          e.currentTarget.blur();
        }}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

function Connection(): VNode {
  const state = contact.value;
  const text = state === "up" ? (liveRefused.value ? "Polling" : "Live") : state === "down" ? "No connection" : "Connecting";
  return (
    <span class="connection" data-contact={liveRefused.value && state === "up" ? "connecting" : state} role="status">
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

/** One line of fixed height: what is wrong with links and pipeline, or with the console's own connection. */
function Strip(): VNode {
  const open = useSignal(false);
  const list = alarms.value;
  const since = downSince.value;
  if (contact.value === "down" && since !== null) {
    const of = dataOf.value;
    return (
      <div class="strip gone" role="alert" data-testid="gone">
        <strong>No connection to the service since {utcClock(since)} UTC.</strong>
        <span>
          {of === null ? "There are no data yet." : `Showing data of ${utcClock(of)} UTC`}
          {of !== null && (
            <span class="num" aria-hidden="true">
              , {span(now.value - of)} old.
            </span>
          )}
        </span>
      </div>
    );
  }
  return (
    <div class={list.length > 0 ? "strip alarms" : "strip"} data-testid="strip">
      <span class="hidden" role="status">
        {list.length === 0 ? "No alarms of links or pipeline" : `${list.length} alarms: ${list.map((a) => a.farm ?? a.gateway ?? a.turbine ?? a.kind).join(", ")}`}
      </span>
      {liveRefused.value && <span class="chip caution">{liveRefused.value}</span>}
      {list.length === 0 ? (
        <span class="calm" aria-hidden="true">
          No alarms of links or pipeline
        </span>
      ) : (
        <>
          <button type="button" class="quiet all" onClick={() => (open.value = true)} aria-haspopup="dialog">
            {list.length === 1 ? "1 alarm" : `${count(list.length)} alarms`}
          </button>
          <ul>
            {list.slice(0, 6).map((alarm) => (
              <li key={alarm.id} class="chip alarm">
                {alarmText(alarm, now.value)}
              </li>
            ))}
          </ul>
        </>
      )}
      {open.value && (
        <Dialog title="Alarms of links and pipeline" wide close={() => (open.value = false)}>
          <table>
            <thead>
              <tr>
                <th>Since (UTC)</th>
                <th>Alarm</th>
              </tr>
            </thead>
            <tbody>
              {list.map((alarm) => (
                <tr key={alarm.id}>
                  <td class="num">
                    <When time={alarm.since} />
                  </td>
                  <td>{alarmText(alarm, now.value)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <div class="buttons">
            <button type="button" onClick={() => (open.value = false)}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
