// What an open wall costs: 1,800 live turbines on a real service, for as long as asked, in a headless Chromium with one
// tab. Prints JSON. Nothing is asserted: whether a limit is met depends on the machine.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Browser } from "./browser.mjs";
import { Stage, freePort, until } from "./stage.mjs";

const HELP = "npm run measure:wall -- [--minutes 10] [--turbines 1800] [--channels 12]   (WINDLASS_BIN names the built programs)";
/** Memory of the tab after an hour of live wall, MB. */
const LIMIT_MB = 100;
const MINUTE_MS = 60_000;
const METHOD =
  "A wall of 1366 x 768 pixels, the only tab of a headless Chromium. memory_mb is RssAnon + VmSwap of the renderer's process in " +
  "/proc (what Chromium's task manager calls memory footprint); rss_mb adds the pages of the browser's file and of shared memory; " +
  "heap_mb is JSHeapUsedSize as it was, without a forced collection. fcp_ms is first-contentful-paint of a cold page; all_live_ms " +
  "from there until every turbine's tile shows live data. layout_shift is the sum since all are live.";

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    turbines: { type: "string", default: "1800" },
    channels: { type: "string", default: "12" },
    help: { type: "boolean", default: false },
  },
});
const minutes = Number(options.minutes);
const turbines = Number(options.turbines);
if (options.help || !(minutes > 0) || !(turbines > 0)) {
  console.error(HELP);
  process.exit(options.help ? 0 : 1);
}

/** A service with a fleet that one process plays. */
class Fleet extends Stage {
  async prepare() {
    const [broker, metrics, console_] = [await freePort(), await freePort(), await freePort()];
    this.broker = broker;
    this.url = `http://127.0.0.1:${console_}`;
    for (const name of ["cloud", "load"]) mkdirSync(join(this.root, name));
    this.size = ["--turbines", String(turbines), "--channels", options.channels];
    execFileSync(join(this.bin, "windlass-fleet"), ["load", ...this.size, "--write-fleet", join(this.root, "cloud")]);
    this.writeCloud({ broker, metrics, console: console_, stale: 30 });
  }

  play() {
    this.start("load", "windlass-fleet", ["load", ...this.size, "--broker", `127.0.0.1:${this.broker}`]);
  }
}

const mb = (bytes) => Math.round(bytes / 1e4) / 100;

/** The renderer that has worked most: there may be a spare one. */
async function renderer(browser) {
  const cdp = await browser.context.browser().newBrowserCDPSession();
  const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
  await cdp.detach();
  const all = processInfo.filter((p) => p.type === "renderer").sort((a, b) => b.cpuTime - a.cpuTime);
  return { pid: all[0].id, cpu_s: Math.round(all[0].cpuTime * 10) / 10 };
}

function status(pid) {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const kb = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? NaN);
  return { memory_mb: mb((kb("RssAnon") + kb("VmSwap")) * 1024), rss_mb: mb(kb("VmRSS") * 1024), peak_rss_mb: mb(kb("VmHWM") * 1024) };
}

async function sample(page, cdp, browser, minute) {
  const { metrics } = await cdp.send("Performance.getMetrics");
  const metric = (name) => metrics.find((m) => m.name === name)?.value ?? NaN;
  const process_ = await renderer(browser);
  const live = await page.evaluate(() => document.querySelectorAll(".tile:not([data-look=never]):not([data-look=stale])").length);
  const { used, total } = { used: mb(metric("JSHeapUsedSize")), total: mb(metric("JSHeapTotalSize")) };
  return { minute, live, ...status(process_.pid), heap_mb: used, heap_total_mb: total, nodes: metric("Nodes"), listeners: metric("JSEventListeners"), cpu_s: process_.cpu_s };
}

async function measure(stage, browser) {
  const page = browser.context.pages()[0] ?? (await browser.context.newPage());
  await page.addInitScript(() => {
    window.shifts = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.shifts += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  const opened = performance.now();
  await page.goto(stage.url);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable");
  const count = (n) => document.querySelectorAll(".tile:not([data-look=never]):not([data-look=stale])").length >= n;
  await page.waitForFunction(count, turbines, { polling: 200 });
  const allLive = Math.round(performance.now() - opened);
  const fcp = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null);
  await page.evaluate(() => (window.shifts = 0));
  const samples = [await sample(page, cdp, browser, 0)];
  for (let minute = 1; minute <= minutes; minute += 1) {
    await new Promise((next) => setTimeout(next, MINUTE_MS));
    samples.push(await sample(page, cdp, browser, minute));
    console.error(JSON.stringify(samples.at(-1)));
  }
  const shift = await page.evaluate(() => window.shifts);
  const most = Math.max(...samples.map((s) => s.memory_mb));
  return { turbines, minutes, limit_mb: LIMIT_MB, memory_mb: samples.at(-1).memory_mb, memory_mb_most: most, fcp_ms: fcp === null ? null : Math.round(fcp), all_live_ms: allLive, layout_shift: shift, errors: browser.wrongs, method: METHOD, samples };
}

const stage = await Fleet.open();
let browser;
try {
  stage.play();
  await until(`${turbines} turbines are live`, async () => {
    const { items } = await stage.get("/farms?limit=1000");
    return items.reduce((sum, farm) => sum + farm.live, 0) >= turbines;
  }, () => stage.log("load"));
  browser = await Browser.open();
  console.log(JSON.stringify(await measure(stage, browser), null, 2));
} finally {
  await browser?.close();
  await stage.close();
}
