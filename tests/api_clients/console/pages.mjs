// Every page in light and dark, on a desktop and on a phone; and each page while it loads, empty, after an error.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { assertAccessible, assertFits, LAYOUTS, settled } from "./browser.mjs";

/** The pages, and what each asks the API for. */
function pages({ users, webhooks }) {
  return [
    { name: "overview", path: "", api: /\/(stats|projections|webhooks)(\?|$)/ },
    { name: "users", path: "/users", api: /\/api\/v1\/users\?/, empty: { users: [] } },
    { name: "user", path: `/users/${users[3].id}`, api: /\/users\/(?!me)[^/]+(\/events|\/logins|\/sessions)?(\?|$)/ },
    { name: "events", path: "/events", api: /\/events(\?|$)/, emptyPath: "/events?type=UserImported" },
    { name: "projections", path: "/projections", api: /\/projections$/ },
    { name: "webhooks", path: "/webhooks", api: /\/webhooks$/, empty: { webhooks: [] } },
    { name: "webhook", path: `/webhooks/${webhooks.good.id}`, api: /\/webhooks\/[^/]+$/ },
    { name: "log", path: "/log?position=20", api: /\/log\// },
    { name: "tokens", path: "/tokens", api: /\/tokens$/, empty: { tokens: [] } },
  ];
}

async function screenshot(tab, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await tab.screenshot({ path: `${folder}/${name}.png` });
}

async function look(tab, name) {
  await assertFits(tab, name);
  await assertAccessible(tab, name);
  await screenshot(tab, name);
}

export async function everyLayout(browser, admin, seeded) {
  for (const layout of LAYOUTS) {
    const start = await browser.tab(await browser.device(layout));
    await start.goto(`${browser.address}/console`);
    await start.waitForSelector("input[name=email]");
    await look(start, `login-${layout.name}`);
    const tab = await browser.loggedIn(admin.email, "", layout, admin.password);
    for (const { name, path } of pages(seeded)) {
      await tab.goto(`${browser.address}/console${path}`);
      await settled(tab);
      await look(tab, `${name}-${layout.name}`);
    }
    if (layout.name.startsWith("phone")) {
      await tab.click("text=Menu");
      await tab.waitForSelector("nav[aria-label=Pages] a:visible");
      await look(tab, `menu-${layout.name}`);
    }
    await start.context().close();
    await tab.context().close();
  }
}

export async function everyState(browser, admin, seeded) {
  const tab = await browser.loggedIn(admin.email, "", LAYOUTS[0], admin.password);
  const open = async (path) => tab.goto(`${browser.address}/console${path}`, { waitUntil: "commit" });
  for (const { name, path, api, empty } of pages(seeded)) {
    // Loading, until the answers are let through.
    let release;
    const released = new Promise((resolve) => (release = resolve));
    await tab.route(api, async (route) => {
      if (route.request().resourceType() === "document" || route.request().url().includes("/console/")) return route.continue();
      await released;
      return route.continue().catch(() => {});
    });
    await open(path);
    await tab.waitForSelector("#content .loading [class=visually-hidden]", { state: "attached" });
    await assertAccessible(tab, `${name}, loading`);
    release();
    await settled(tab);
    await tab.unroute(api);

    // An error, and a second attempt.
    await tab.route(api, (route) =>
      route.request().url().includes("/console/")
        ? route.continue()
        : route.fulfill({ status: 503, contentType: "application/json", headers: { "x-request-id": "0193" }, body: '{"detail":"The database is not reachable","code":"unavailable","request_id":"0193"}' }),
    );
    await open(path);
    await tab.waitForSelector(".state[role=alert]");
    assert.match(await tab.textContent(".state[role=alert]"), /The database is not reachable.*unavailable.*0193/s, name);
    await assertAccessible(tab, `${name}, error`);
    await tab.unroute(api);
    await tab.$$eval(".state[role=alert] button", (buttons) => buttons.forEach((button) => button.click()));
    await tab.waitForSelector(".state[role=alert]", { state: "detached" });
    await settled(tab);

    if (empty) {
      await tab.route(api, (route) =>
        route.request().url().includes("/console/") ? route.continue() : route.fulfill({ json: empty }));
      await open(path);
      await tab.waitForSelector(".state");
      await assertAccessible(tab, `${name}, empty`);
      await tab.unroute(api);
    }
  }
  for (const { name, emptyPath } of pages(seeded).filter((page) => page.emptyPath)) {
    await open(emptyPath);
    await tab.waitForSelector(".state");
    await assertAccessible(tab, `${name}, empty`);
  }
  await tab.goto(`${browser.address}/console/nothing`);
  await tab.waitForSelector("text=There is no such page");
  for (const path of ["/users/0193e2b4-0000-7000-8000-000000000001", "/webhooks/0193e2b4-0000-7000-8000-000000000001"]) {
    await tab.goto(`${browser.address}/console${path}`);
    await tab.waitForSelector("text=There is no such");
  }
  await tab.context().close();
}
