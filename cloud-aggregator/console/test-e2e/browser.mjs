// A real browser with a profile of its own, whose pages keep account of what goes wrong in them.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { BOUND_MS } from "./stage.mjs";

export const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function browserPath() {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of names) if (existsSync(join(dir, name))) return join(dir, name);
  }
  throw new Error("no Chromium in the path: install it, for example with apt-get install chromium");
}

export class Browser {
  static async open() {
    const profile = mkdtempSync(join(tmpdir(), "windlass-browser-"));
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: browserPath(),
      headless: true,
      viewport: { width: 1366, height: 768 },
      args: FLAGS,
    });
    context.setDefaultTimeout(BOUND_MS);
    return new Browser(context, profile);
  }

  constructor(context, profile) {
    this.context = context;
    this.profile = profile;
    /** Errors of pages, dialogs, violated policies. */
    this.wrongs = [];
  }

  async page(url) {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.wrongs.push(`${page.url()}: ${error.stack ?? error.message}`));
    page.on("dialog", (dialog) => {
      this.wrongs.push(`${page.url()}: a dialog of the browser: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      const text = message.text();
      // A request that fails is the browser's to report and the test's to bring about.
      if (message.type() === "error" && !/net::ERR_|Failed to load resource/.test(text)) this.wrongs.push(`${page.url()}: ${text}`);
    });
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`));
    });
    await page.goto(url);
    return page;
  }

  async close() {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}
