// What an open wall costs: 1,800 live turbines on a real service, for as long as asked, in a headless Chromium with one
// tab. Prints JSON. Nothing is asserted: whether a limit is met depends on the machine.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";
import { PROFILE, Stage, freePort, until } from "./stage.mjs";
import { Tab } from "./tab.mjs";

const HELP =
  "npm run measure:wall -- [--minutes 10] [--turbines 1800] [--channels 12] [--every 1]   (WINDLASS_BIN names the built programs)\n" +
  "--channels: only the first so many of the profile; --every: seconds between two reports of a turbine, more of them for a slow machine\n" +
  "With 1,800 turbines, twelve channels and one second it writes 16 GB an hour into the folder of temporary files.";
const FARM_TURBINES = 150;
/** Memory of the tab after an hour of live wall, MB. */
const LIMIT_MB = 100;
const MINUTE_MS = 60_000;
const METHOD =
  "A wall in a window of 1366 x 768 pixels, the only tab of a headless Chromium without GPU. memory_mb is RssAnon + VmSwap of the renderer's process in " +
  "/proc (what Chromium's task manager calls memory footprint); rss_mb adds the pages of the browser's file and of shared memory; " +
  "heap_mb is JSHeapUsedSize as it was, without a forced collection. fcp_ms is first-contentful-paint of a cold page; all_live_ms " +
  "from there until every turbine's tile shows live data. layout_shift is the sum since all are live; load is the machine's load average over a minute.";

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    turbines: { type: "string", default: "1800" },
    channels: { type: "string", default: "12" },
    every: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});
const minutes = Number(options.minutes);
const turbines = Number(options.turbines);
const every = Number(options.every);
if (options.help || !(minutes > 0) || !(turbines > 0) || !(every > 0)) {
  console.error(HELP);
  process.exit(options.help ? 0 : 1);
}

/** A service with a fleet that one process plays. */
class Fleet extends Stage {
  async prepare() {
    const [broker, metrics, console_] = [await freePort(), await freePort(), await freePort()];
    this.broker = broker;
    this.url = `http://127.0.0.1:${console_}`;
    for (const name of ["cloud", "load", "mosquitto"]) mkdirSync(join(this.root, name));
    this.size = ["--scenario", this.scenario(), "--profiles", this.root, "--channels", options.channels];
    execFileSync(join(this.bin, "windlass-fleet"), ["load", ...this.size, "--write-fleet", join(this.root, "cloud")]);
    this.writeCloud({ broker, metrics, console: console_, stale: 30, external: true });
    // As in the field: the embedded broker is made for a few gateways.
    const config = join(this.root, "mosquitto/mosquitto.conf");
    writeFileSync(config, `listener ${broker} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n`);
    this.start("mosquitto", installed("mosquitto"), ["-c", config]);
  }

  /** Farms of turbines whose channels report every so many seconds; gives the scenario's path. */
  scenario() {
    const profile = readFileSync(PROFILE, "utf8");
    writeFileSync(join(this.root, "onshore-3mw.toml"), profile.replace('period = "1s"', `period = "${every}s"`));
    let text = 'name = "wall"\nseed = 1\n';
    for (let first = 0, farm = 1; first < turbines; first += FARM_TURBINES, farm += 1) {
      const id = `F${String(farm).padStart(2, "0")}`;
      text += `\n[[farm]]\nid = "${id}"\nzone = "Europe/Berlin"\nprofile = "onshore-3mw"\nturbines = ${Math.min(FARM_TURBINES, turbines - first)}\nprefix = "${id}T"\n`;
    }
    const path = join(this.root, "scenario.toml");
    writeFileSync(path, text);
    return path;
  }

  /** A service or a load that has ended makes no live wall. */
  check() {
    for (const [name, child] of this.processes) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${name} has ended:\n${this.log(name)}`);
    }
  }

  play() {
    this.start("load", "windlass-fleet", ["load", ...this.size, "--broker", `127.0.0.1:${this.broker}`]);
  }
}

function installed(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  const found = folders.map((dir) => join(dir, name)).find((file) => existsSync(file));
  if (!found) throw new Error(`no ${name} on this machine: \`cargo xtask setup\` installs it`);
  return found;
}

const mb = (bytes) => Math.round(bytes / 1e4) / 100;

/** The renderer that has worked most: there are spare ones. */
async function renderer(tab) {
  const { processInfo } = await tab.ask("SystemInfo.getProcessInfo");
  const all = processInfo.filter((p) => p.type === "renderer").sort((a, b) => b.cpuTime - a.cpuTime);
  return { pid: all[0].id, cpu_s: Math.round(all[0].cpuTime * 10) / 10 };
}

function status(pid) {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const kb = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? NaN);
  return { memory_mb: mb((kb("RssAnon") + kb("VmSwap")) * 1024), rss_mb: mb(kb("VmRSS") * 1024), peak_rss_mb: mb(kb("VmHWM") * 1024) };
}

const LIVE = "document.querySelectorAll('.tile:not([data-look=never]):not([data-look=stale])').length";
/** Runs before the page: counts what moves and what goes wrong. */
const BEFORE = `
  window.shifts = 0;
  window.wrongs = [];
  addEventListener("error", (e) => wrongs.push(String(e.message)));
  addEventListener("unhandledrejection", (e) => wrongs.push(String(e.reason)));
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
`;

async function sample(tab, minute) {
  const { metrics } = await tab.send("Performance.getMetrics");
  const metric = (name) => metrics.find((m) => m.name === name)?.value ?? NaN;
  const { pid, cpu_s } = await renderer(tab);
  const heap = { heap_mb: mb(metric("JSHeapUsedSize")), heap_total_mb: mb(metric("JSHeapTotalSize")) };
  return { minute, live: await tab.evaluate(LIVE), ...status(pid), ...heap, nodes: metric("Nodes"), listeners: metric("JSEventListeners"), cpu_s, load: loadavg()[0] };
}

async function measure(stage) {
  const opened = performance.now();
  const tab = await Tab.open(stage.url, BEFORE, { width: 1366, height: 768 });
  try {
    await until("every tile is live", async () => (await tab.evaluate(LIVE)) >= turbines);
    const allLive = Math.round(performance.now() - opened);
    const fcp = await tab.evaluate('performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null');
    await tab.evaluate("shifts = 0");
    const samples = [await sample(tab, 0)];
    for (let minute = 1; minute <= minutes; minute += 1) {
      await new Promise((next) => setTimeout(next, MINUTE_MS));
      stage.check();
      samples.push(await sample(tab, minute));
      console.error(JSON.stringify(samples.at(-1)));
    }
    return {
      turbines,
      every_s: every,
      minutes,
      limit_mb: LIMIT_MB,
      memory_mb: samples.at(-1).memory_mb,
      memory_mb_most: Math.max(...samples.map((s) => s.memory_mb)),
      fcp_ms: fcp === null ? null : Math.round(fcp),
      all_live_ms: allLive,
      layout_shift: await tab.evaluate("shifts"),
      errors: await tab.evaluate("wrongs"),
      method: METHOD,
      samples,
    };
  } finally {
    await tab.close();
  }
}

const stage = await Fleet.open();
try {
  stage.play();
  await until(
    `${turbines} turbines are live`,
    async () => {
      const { items } = await stage.get("/farms?limit=1000");
      return items.reduce((sum, farm) => sum + farm.live, 0) >= turbines;
    },
    () => `${stage.log("cloud")}\n${stage.log("load")}`,
  );
  console.log(JSON.stringify(await measure(stage), null, 2));
} finally {
  await stage.close();
}
