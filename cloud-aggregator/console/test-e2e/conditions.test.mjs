// What the console does where it is used: too many clients, a machine that sleeps, a second operator, the keyboard alone,
// small and large screens, and hours of live updates in which nothing may jump.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser } from "./browser.mjs";
import { BOUND_MS, Stage, until } from "./stage.mjs";

/** As many live streams as the service serves. */
const CLIENTS_MAX = 256;
const PAGES = ["/", "/alerts", "/turbine/T001", "/proof/T001", "/platform"];

let stage;
let browser;

before(async () => {
  stage = await Stage.open();
  stage.startGateways();
  browser = await Browser.open();
  await until("four turbines are live", async () => {
    const { items } = await stage.get("/turbines");
    return items.filter((t) => t.fresh === "live").length === 4;
  });
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

const at = (path, base = stage.url) => browser.page(base + path);
const text = async (locator) => ((await locator.textContent()) ?? "").replace(/\s+/g, " ").trim();
const lively = (id) => {
  const look = document.querySelector(`.tile[data-id="${id}"]`)?.dataset.look;
  return look !== undefined && !["never", "stale"].includes(look);
};

test("an alert that another operator acknowledges is acknowledged in every open page, without its being fetched again", async () => {
  const alert = await until("an open alert of T002", async () => (await stage.get("/alerts?turbine=T002")).items[0]);
  const list = await at("/alerts");
  const card = await at(`/turbine/T002?alert=${alert.id}`);
  const row = list.locator(`tr[data-id="${alert.id}"]`);
  await row.waitFor();
  await card.locator(".alert-card").waitFor();
  const asked = [];
  for (const page of [list, card]) {
    // What is fetched from now on is not answered: only the live stream can bring it.
    await page.route(/\/api\/v1\/alerts/, (route) => asked.push(route.request().url()));
  }
  await stage.post(`/alerts/${alert.id}/acknowledge`, { by: "Kim", note: "<b>crew is on its way</b>" });
  for (const place of [row.locator(".notes"), card.locator(".alert-card .notes")]) {
    await place.getByText("Acknowledged by Kim").waitFor();
    assert.match(await text(place), /<b>crew is on its way<\/b>/);
  }
  assert.equal(await row.getByRole("button", { name: "Acknowledge" }).isDisabled(), true);
  await list.close();
  await card.close();
});

test("more browsers than the service serves: the page says so, shows data all the same, and is live again when there is room", async () => {
  const abort = new AbortController();
  const streams = await Promise.all(
    Array.from({ length: CLIENTS_MAX }, () => fetch(`${stage.url}/api/v1/live?topics=pipeline`, { signal: abort.signal })),
  );
  assert.deepEqual(new Set(streams.map((s) => s.status)), new Set([200]));
  const page = await at("/");
  await page.locator(".strip .chip.caution").waitFor();
  assert.match(await text(page.locator(".strip .chip.caution")), /256 live clients are connected already/);
  assert.match(await text(page.locator(".connection")), /Polling/);
  await page.waitForFunction(lively, "T001");
  await page.locator('.tile[data-id="T001"]').hover();
  // The age of what is shown falls each time the list is fetched.
  const ages = () => page.evaluate(() => Number(/Age of data ([\d.]+) s/.exec(document.querySelector(".chosen").textContent)?.[1] ?? NaN));
  let before = NaN;
  await until("a second list", async () => {
    const now = await ages();
    const fell = now < before;
    before = now;
    return fell;
  });
  const turbine = await at("/turbine/T001");
  await turbine.waitForFunction(() => Number(document.querySelector(".plot")?.dataset.points) > 4);
  assert.match(await text(turbine.locator(".connection")), /Polling/);
  abort.abort();
  for (const one of [page, turbine]) {
    await one.locator(".strip .chip.caution").waitFor({ state: "detached" });
    await one.locator(".connection", { hasText: /^Live$/ }).waitFor();
    await one.close();
  }
});

test("a stream that dies without a word: the page notices, says so, and is live again once bytes flow", async () => {
  const link = await stage.consoleLink();
  const page = await at("/", `http://127.0.0.1:${link.port}`);
  await page.waitForFunction(lively, "T001");
  link.silent = true;
  await page.getByTestId("gone").waitFor();
  link.mend();
  await page.getByTestId("gone").waitFor({ state: "detached" });
  await page.locator(".connection", { hasText: /^Live$/ }).waitFor();
  await page.close();
  link.close();
});

test("a page that was frozen while the fleet changed shows the newest state when it wakes", async () => {
  const page = await at("/");
  await page.waitForFunction(lively, "T003");
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
  stage.cut("south");
  await until("T003 is silent", async () => (await stage.get("/turbines/T003")).fresh === "stale");
  await cdp.send("Page.setWebLifecycleState", { state: "active" });
  await page.waitForFunction(() => document.querySelector('.tile[data-id="T003"]').dataset.look === "stale");
  stage.heal("south");
  await page.waitForFunction(lively, "T003");
  await page.locator(".connection", { hasText: /^Live$/ }).waitFor();
  await page.close();
});

/** Everything that can be worked with, but what is reached by arrow keys from its group's one stop. */
const controls = () => {
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]");
  const seen = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: false }) && !e.disabled && !e.closest("[inert]");
  const byArrows = (e) => e.id === "main" || e.matches(".tile") || (e.type === "radio" && !e.checked);
  return [...all].filter((e) => seen(e) && !byArrows(e)).map((e) => {
    e.dataset.reach ??= String(document.querySelectorAll("[data-reach]").length);
    return [e.dataset.reach, (e.getAttribute("aria-label") ?? e.textContent ?? "").trim().slice(0, 40) || e.outerHTML.slice(0, 80)];
  });
};

test("every control of every page is reached with Tab, has a name, and shows that it has the focus", async () => {
  for (const path of [...PAGES, "/turbine/T002?channels=gearbox_oil_pressure"]) {
    const page = await at(path);
    await page.locator("main h1").first().waitFor();
    if (path.startsWith("/turbine")) await page.locator(".plot canvas").first().waitFor();
    const reached = new Set();
    let wanted = [];
    for (let n = 0; n < 900; n += 1) {
      if (n % 20 === 0) {
        wanted = await page.evaluate(controls);
        if (wanted.length > 0 && wanted.every(([id]) => reached.has(id))) break;
      }
      await page.keyboard.press("Tab");
      const found = await page.evaluate(() => {
        const e = document.activeElement;
        if (!e || e === document.body) return null;
        const shows = e.type === "radio" ? (e.nextElementSibling ?? e) : e;
        const style = getComputedStyle(shows);
        return { id: e.dataset.reach ?? null, ring: style.outlineStyle !== "none" || style.boxShadow !== "none", what: e.outerHTML.slice(0, 120) };
      });
      if (!found) continue;
      assert.ok(found.ring, `${path}: the focus cannot be seen on ${found.what}`);
      if (found.id !== null) reached.add(found.id);
    }
    const missed = wanted.filter(([id]) => !reached.has(id)).map(([, name]) => name);
    assert.deepEqual(missed, [], `${path}: not reached with Tab`);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a[href], input, select, textarea")]
        .filter((e) => e.checkVisibility() && !(e.textContent || e.getAttribute("aria-label") || e.title || e.labels?.length || e.placeholder))
        .map((e) => e.outerHTML.slice(0, 120)),
    );
    assert.deepEqual(nameless, [], path);
    await page.close();
  }
});

test("a laptop and a control room's screen, light and dark: nothing is cut off to the side, and text can be read", async () => {
  for (const [width, height] of [[1366, 768], [2560, 1440]]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const path of PAGES) {
        const page = await at(path);
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
        await page.locator("main h1").first().waitFor();
        if (path === "/") {
          await page.locator('.tile[data-id="T002"]').hover();
          const links = page.locator(".chosen .links");
          await links.waitFor();
          const [inner, outer] = [await links.boundingBox(), await page.locator(".chosen").boundingBox()];
          assert.ok(inner.y + inner.height <= outer.y + outer.height, `${width} x ${height}: the chosen turbine's links are cut off`);
        }
        const found = await page.evaluate(() => {
          const root = document.scrollingElement;
          const channel = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          const light = (c) => {
            const [r, g, b] = c.match(/[\d.]+/g).map(Number);
            return 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
          };
          const style = getComputedStyle(document.body);
          const [a, b] = [light(style.color), light(style.backgroundColor)];
          return { over: root.scrollWidth - root.clientWidth, contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
        });
        assert.equal(found.over, 0, `${path} at ${width} x ${height}: wider than the screen`);
        assert.ok(found.contrast >= 7, `${path} ${colorScheme}: contrast ${found.contrast}`);
        await page.close();
      }
    }
  }
});

// The sum of layout shifts of which a reader sees at most a line of small text move; the usual bound for a good page is 0.1.
const SHIFT_MAX = 0.01;

test("nothing jumps while data come: next to no layout shift in many live updates of each page", async () => {
  for (const path of PAGES) {
    const page = await at(path);
    await page.locator("main h1").first().waitFor();
    if (path === "/") await page.waitForFunction(lively, "T001");
    if (path.startsWith("/turbine")) await page.waitForFunction(() => Number(document.querySelector(".plot")?.dataset.points) > 0);
    if (path.startsWith("/proof")) await page.locator("#coverage").waitFor();
    if (path === "/platform") await page.getByRole("region", { name: "Partitions and snapshots" }).waitFor();
    await page.evaluate(() => {
      window.moved = [];
      new PerformanceObserver((list) => {
        for (const e of list.getEntries()) window.moved.push(`${e.value}: ${e.sources.map((s) => (s.node?.outerHTML ?? s.node?.textContent ?? "").slice(0, 120)).join(" | ")}`);
      }).observe({ type: "layout-shift" });
      window.ticks = 0;
      new MutationObserver(() => (window.ticks += 1)).observe(document.querySelector("header .clock"), { subtree: true, characterData: true, childList: true });
    });
    // The header's clock counts seconds: as many live updates as that have come.
    await page.waitForFunction(() => window.ticks >= 12, undefined, { timeout: BOUND_MS });
    const moved = await page.evaluate(() => window.moved);
    const sum = moved.reduce((all, m) => all + Number.parseFloat(m), 0);
    assert.ok(sum < SHIFT_MAX, `${path}: ${sum} of ${moved.join("; ")}`);
    await page.close();
  }
});

test("the first paint, measured", async () => {
  const page = await at("/");
  await page.waitForFunction(lively, "T001");
  const fcp = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  const all = await page.evaluate(() => performance.getEntriesByType("resource").reduce((sum, e) => sum + e.transferSize, 0));
  console.error(`first contentful paint of the wall ${Math.round(fcp)} ms, ${Math.round(all / 1024)} KiB transferred`);
  assert.ok(fcp > 0);
  await page.close();
});

test("no page erred, and nothing broke the content security policy", () => {
  assert.deepEqual(browser.wrongs, []);
});
