// The console in a real browser, before the real service with real agents: with data, without, stale, and with the
// service gone and back. The tests are acts of one play: each begins where the one before it ended.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser } from "./browser.mjs";
import { Stage, until } from "./stage.mjs";

const MARKUP = `<img src=x onerror="document.title='run'"><b>seen</b>`;

let stage;
let browser;

before(async () => {
  stage = await Stage.open();
  browser = await Browser.open();
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

const at = (path) => browser.page(stage.url + path);
const tile = (page, id) => page.locator(`.tile[data-id="${id}"]`);
const text = async (locator) => ((await locator.textContent()) ?? "").replace(/\s+/g, " ").trim();

test("a fleet that has not reported: tiles that were never seen, dashes and no zeros", async () => {
  const page = await at("/");
  await page.waitForSelector(".tile");
  assert.equal(await page.locator(".tile").count(), 5);
  assert.equal(await page.locator('.tile[data-look="never"]').count(), 5);
  for (const value of await page.locator(".tile .value").allTextContents()) assert.equal(value, "\u2013");
  assert.match(await text(page.locator(".summary .facts")), /Power\u2013/);
  await page.close();
});

test("empty pages say that they are empty", async () => {
  const alerts = await at("/alerts");
  await alerts.getByText("No alert passes the filter.").waitFor();
  await alerts.close();
  const platform = await at("/platform");
  await platform.getByText("Nothing was refused.").waitFor();
  await platform.getByText("Every turbine is complete as far as it has reported.").waitFor();
  await platform.close();
  const turbine = await at("/turbine/T001");
  await turbine.getByText("No reading in this range.").waitFor();
  assert.match(await text(turbine.locator(".identity")), /Never seen/);
  await turbine.close();
  const proof = await at("/proof/T001");
  await proof.locator(".lanes").waitFor();
  await proof.close();
});

test("what does not exist is named", async () => {
  const turbine = await at("/turbine/T999");
  const notice = turbine.locator(".notice.error").first();
  await notice.waitFor();
  assert.match(await text(notice), /T999/);
  await turbine.close();
});

test("a fleet at work: live tiles with power, the silent one beside them", async () => {
  stage.startGateways();
  const page = await at("/");
  for (const id of ["T001", "T002", "T003", "T004"]) {
    await page.waitForFunction((name) => {
      const found = document.querySelector(`.tile[data-id="${name}"]`);
      return found && !["never", "stale"].includes(found.dataset.look) && /\d/.test(found.querySelector(".value").textContent);
    }, id);
  }
  assert.equal(await tile(page, "T005").getAttribute("data-look"), "never");
  assert.match(await text(page.locator(".connection")), /Live/);
  await page.locator(".summary .fact", { hasText: /^Live of 54$/ }).waitFor();
  assert.match(await text(page.locator(".summary .fact").first()), /^Power[\d ]/);
  await page.close();
});

test("an alert reaches the wall, the list, and its chart with value and limit", async () => {
  const wall = await at("/");
  await wall.waitForFunction(() => ["warning", "critical", "provisional"].includes(document.querySelector('.tile[data-id="T002"]')?.dataset.alert));
  await wall.close();
  const list = await at("/alerts");
  const row = list.locator("tr[data-id]").filter({ hasText: "Gearbox oil pressure low" }).first();
  await row.waitFor();
  const words = await text(row);
  assert.match(words, /T002/);
  assert.match(words, /bar < \d/);
  await row.getByRole("link", { name: "T002" }).click();
  const card = list.locator(".alert-card");
  await card.waitFor();
  assert.match(await text(card), /Operating state/);
  assert.match(await text(card), /Revision ?\d/);
  await list.locator(".chart .keys", { hasText: "Gearbox oil pressure" }).waitFor();
  await list.waitForFunction(() => [...document.querySelectorAll(".plot")].every((p) => Number(p.dataset.points) > 0 && p.querySelector("canvas")));
  await list.close();
});

test("acknowledged with the keyboard alone; a name and a note with markup are text", async () => {
  const page = await at("/alerts");
  const row = page.locator("tr[data-id]").filter({ hasText: "T002" }).first();
  const button = row.getByRole("button", { name: "Acknowledge" });
  await button.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.closest("dialog") !== null), true, "the focus is in the dialog");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Acknowledge", "the focus is back");
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.keyboard.type(MARKUP);
  await page.keyboard.press("Tab");
  await page.keyboard.type(MARKUP);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await row.locator(".notes", { hasText: "Acknowledged by" }).waitFor();
  const check = async () => {
    const notes = await text(page.locator(".notes", { hasText: "Acknowledged by" }).first());
    assert.equal(notes.split(MARKUP).length, 3, notes);
    assert.equal(await page.locator("main img").count(), 0);
    assert.doesNotMatch(await page.title(), /run/);
  };
  await check();
  await page.reload();
  await page.locator(".notes", { hasText: "Acknowledged by" }).first().waitFor();
  await check();
  await page.close();
});

test("shelved with an expiry; an expiry in the past is refused before it is sent", async () => {
  const page = await at("/alerts");
  const row = page.locator("tr[data-id]").filter({ hasText: "T002" }).first();
  await row.getByRole("button", { name: "Shelve", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Ada");
  await dialog.getByLabel("Note").fill("spare part is on its way");
  await dialog.getByLabel("Until").fill("2001-01-01 00:00");
  await dialog.getByRole("button", { name: "Shelve" }).click();
  await dialog.getByText("expected a time to come").waitFor();
  await dialog.getByRole("button", { name: "8 h" }).click();
  await dialog.getByRole("button", { name: "Shelve" }).click();
  await dialog.waitFor({ state: "detached" });
  await row.locator(".notes", { hasText: "Shelved by Ada until" }).waitFor();
  await row.getByRole("button", { name: "Unshelve" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Unshelve" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await row.getByRole("button", { name: "Shelve", exact: true }).waitFor();
  await page.close();
});

test("a turbine live: the chart grows, a channel is added, the range is in the address, the export has its readings", async () => {
  const page = await at("/turbine/T001");
  const plot = page.locator(".plot").first();
  await plot.locator("canvas").waitFor();
  await page.waitForFunction(() => Number(document.querySelector(".plot")?.dataset.points) > 4);
  const before = Number(await plot.getAttribute("data-points"));
  await page.waitForFunction((n) => Number(document.querySelector(".plot")?.dataset.points) > n, before);
  await page.getByPlaceholder(/Find among 300 channels/).fill("rotor speed");
  await page.getByRole("checkbox", { name: /Rotor speed/ }).check();
  await page.locator(".keys", { hasText: "Rotor speed" }).waitFor();
  assert.match(page.url(), /channels=[^&]*rotor_speed/);
  const href = await page.getByRole("link", { name: "Export CSV" }).getAttribute("href");
  // Readings of the newest seconds are on their way to the lake.
  const csv = await until("the export has readings of active power", async () => {
    const body = await (await fetch(stage.url + href)).text();
    return /active_power/.test(body) ? body : null;
  });
  assert.match(csv.split("\n")[0], /channel/);
  await page.getByRole("button", { name: "Earlier" }).click();
  await page.waitForURL(/from=.*&to=|to=.*&from=/);
  await page.goBack();
  await page.waitForFunction(() => !location.search.includes("from="));
  await page.close();
});

test("proof: lanes in words and bars, and what the turbine was doing at a moment, with how sure that is", async () => {
  const turbine = await stage.get("/turbines/T001");
  const page = await at(`/proof/T001?at=${encodeURIComponent(turbine.event_time)}`);
  await page.locator("[data-testid=at] .verdict").waitFor();
  const answer = await text(page.locator("[data-testid=at]"));
  assert.match(answer, /\+0[12]:00 at the site/);
  assert.match(answer, /Active power/);
  assert.match(answer, /Exact|recorded loss|Incomplete|Provisional/);
  await page.locator('.lane[data-lane="state"] .piece').first().waitFor();
  await page.locator("#events").waitFor();
  assert.ok((await page.locator(".lanes .lane").count()) === 6);
  assert.equal(await text(page.locator('.lane[data-lane="clock"] .none')), "as sent: no evidence against the clock");
  await page.close();
});

test("platform: partitions, freshness, and refused bytes shown as text", async () => {
  await stage.garbage("<img src=x onerror=document.title='run'>");
  const page = await at("/platform");
  const letters = page.getByRole("region", { name: "Dead letters" });
  await letters.locator("tbody tr").first().waitFor();
  assert.match(await text(letters), /<img src=x onerror=document.title='run'>/);
  assert.equal(await letters.locator("img").count(), 0);
  assert.doesNotMatch(await page.title(), /run/);
  const health = page.getByRole("region", { name: "Partitions and snapshots" });
  assert.equal(await health.locator("tbody tr").count(), 2);
  const freshness = page.getByRole("region", { name: "Freshness by farm" });
  assert.match(await text(freshness), /north/);
  await page.close();
});

test("the wall with the keyboard alone", async () => {
  const page = await at("/");
  await page.waitForSelector('.tile[data-id="T003"]');
  await page.keyboard.press("Tab");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Skip to the page/);
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search");
  await page.keyboard.type("south");
  await page.waitForFunction(() => document.querySelectorAll(".tile").length === 2);
  await page.keyboard.press("Enter");
  const first = await page.evaluate(() => document.activeElement.dataset.id);
  await page.keyboard.press("ArrowRight");
  const second = await page.evaluate(() => document.activeElement.dataset.id);
  assert.deepEqual([first, second].sort(), ["T003", "T004"]);
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(ring, "none", "the focus is visible");
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/turbine/${second}`));
  await page.close();
});

test("light and dark: chosen by the system, toggled, remembered", async () => {
  const page = await at("/platform");
  await page.emulateMedia({ colorScheme: "dark" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole("button", { name: "Use the light theme" }).click();
  const light = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  assert.equal(await ground(), light);
  await page.getByRole("button", { name: "Use the dark theme" }).click();
  assert.equal(await ground(), dark);
  await page.close();
});

test("a farm's link is cut: its tiles turn stale and keep their values, one alarm, and nothing moves", async () => {
  const page = await at("/?q=T00");
  await page.waitForFunction(() => ["T003", "T004"].every((id) => !["never", "stale"].includes(document.querySelector(`.tile[data-id="${id}"]`)?.dataset.look)));
  const box = await page.locator(".tiles").boundingBox();
  stage.cut("south");
  await page.waitForFunction(() => ["T003", "T004"].every((id) => document.querySelector(`.tile[data-id="${id}"]`)?.dataset.look === "stale"));
  const strip = page.locator(".strip .chip.alarm", { hasText: "Farm south" });
  await strip.waitFor();
  assert.match(await text(strip), /Farm south: link down .*2 turbines without data/);
  await page.waitForFunction(() => document.querySelectorAll(".strip .chip.alarm").length === 1);
  assert.deepEqual(await page.locator(".tiles").boundingBox(), box, "the tiles stand where they stood");
  assert.equal(await tile(page, "T001").getAttribute("data-alert"), "none");
  const stale = await stage.get("/turbines/T003");
  assert.equal(stale.fresh, "stale");
  await tile(page, "T003").hover();
  const chosen = await text(page.locator(".chosen"));
  assert.match(chosen, /Stale; was/);
  assert.match(chosen, /Power ?\d/);
  assert.match(chosen, /Newest reading \d+ .* ago/);
  await page.close();
  const turbine = await at("/turbine/T003");
  await turbine.locator('.identity[data-fresh="stale"]').waitFor();
  assert.match(await text(turbine.locator(".identity")), /Stale; was/);
  await turbine.close();
});

test("the service goes: every page says since when and of when; it comes back: all is fetched again", async () => {
  const pages = {};
  for (const path of ["/", "/alerts", "/turbine/T001", "/proof/T001", "/platform"]) pages[path] = await at(path);
  await pages["/"].waitForFunction(() => !["never", "stale"].includes(document.querySelector('.tile[data-id="T001"]')?.dataset.look));
  await pages["/alerts"].locator("tr[data-id]").first().waitFor();
  await pages["/platform"].getByRole("region", { name: "Partitions and snapshots" }).waitFor();
  await stage.kill("cloud");
  for (const page of Object.values(pages)) {
    const banner = page.getByTestId("gone");
    await banner.waitFor();
    assert.match(await text(banner), /No connection to the service since \d\d:\d\d:\d\d UTC\. ?Showing data of \d\d:\d\d:\d\d UTC/);
  }
  assert.ok((await pages["/alerts"].locator("tr[data-id]").count()) > 0, "what was shown stays");
  // The wall ages by itself; thirty seconds on the page's clock.
  await pages["/"].waitForFunction(() => document.querySelector('.tile[data-id="T001"]')?.dataset.look === "stale");
  await stage.startCloud();
  for (const page of Object.values(pages)) await page.getByTestId("gone").waitFor({ state: "detached" });
  await pages["/"].waitForFunction(() => document.querySelector('.tile[data-id="T001"]')?.dataset.look === "run" || document.querySelector('.tile[data-id="T001"]')?.dataset.look === "limited");
  for (const page of Object.values(pages)) await page.close();
});

test("a browser that slept has the newest state after it wakes", async () => {
  const page = await at("/");
  await page.waitForSelector('.tile[data-id="T003"][data-look="stale"]');
  await page.context().setOffline(true);
  await page.getByTestId("gone").waitFor();
  stage.heal("south");
  await until("T003 is live again", async () => (await stage.get("/turbines/T003")).fresh === "live");
  await page.context().setOffline(false);
  await page.getByTestId("gone").waitFor({ state: "detached" });
  await page.waitForFunction(() => !["never", "stale"].includes(document.querySelector('.tile[data-id="T003"]')?.dataset.look));
  await page.close();
});

test("no page erred, and nothing broke the content security policy", () => {
  assert.deepEqual(browser.wrongs, []);
});
