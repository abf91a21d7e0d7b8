// One tab of a headless Chromium, worked over its debugging pipe.
// Invariant: no domain is switched on that keeps what the page fetches (a test driver's do), so what the tab's process
// holds is what the page makes it hold.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FLAGS, browserPath } from "./browser.mjs";

export class Tab {
  /** Opens `url`; `script` runs before the page's own. */
  static async open(url, script, { width, height }) {
    const tab = new Tab(width, height);
    const { targetInfos } = await tab.ask("Target.getTargets");
    const { targetId } = targetInfos.find((t) => t.type === "page");
    tab.session = (await tab.ask("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await tab.send("Page.enable");
    await tab.send("Page.addScriptToEvaluateOnNewDocument", { source: script });
    await tab.send("Page.navigate", { url });
    await tab.send("Performance.enable");
    return tab;
  }

  constructor(width, height) {
    this.profile = mkdtempSync(join(tmpdir(), "windlass-browser-"));
    const args = [...FLAGS, "--remote-debugging-pipe", `--window-size=${width},${height}`, `--user-data-dir=${this.profile}`, "about:blank"];
    // Tied to this process: it dies with it.
    this.child = spawn("setpriv", ["--pdeathsig", "KILL", "--", browserPath(), ...args], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.ended = new Promise((done) => this.child.once("exit", done));
    this.asked = new Map();
    let rest = "";
    this.child.stdio[4].setEncoding("utf8").on("data", (text) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop();
      for (const part of parts) this.take(JSON.parse(part));
    });
    void this.ended.then(() => {
      for (const { fail } of this.asked.values()) fail(new Error("the browser has ended"));
    });
  }

  take({ id, result, error }) {
    const one = this.asked.get(id);
    if (!one) return;
    this.asked.delete(id);
    if (error) one.fail(new Error(`${one.method}: ${error.message}`));
    else one.done(result);
  }

  /** A command to the browser, or to the session. */
  ask(method, params = {}, sessionId = undefined) {
    const id = (this.last = (this.last ?? 0) + 1);
    return new Promise((done, fail) => {
      this.asked.set(id, { done, fail, method });
      this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A command to the page. */
  send(method, params) {
    return this.ask(method, params, this.session);
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  async close() {
    this.child.kill("SIGTERM");
    await this.ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
