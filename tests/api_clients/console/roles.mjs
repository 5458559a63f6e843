// What each role sees: the entries of the navigation, and a page without permission behind a deep link.

import assert from "node:assert/strict";
import { assertAccessible, settled } from "./browser.mjs";

const ENTRIES = {
  admin: ["Overview", "Users", "Events", "Read models", "Webhooks", "Log", "Machine tokens"],
  auditor: ["Overview", "Users", "Events", "Log"],
  operator: ["Overview", "Read models"],
  subscriber: ["Overview", "Events", "Webhooks"],
  none: [],
};
const PATHS = { Users: "/users", Events: "/events", "Read models": "/projections", Webhooks: "/webhooks", Log: "/log", "Machine tokens": "/tokens" };

export async function everyRole(browser, accounts) {
  for (const [role, entries] of Object.entries(ENTRIES)) {
    const tab = await browser.loggedIn(accounts[role].email);
    assert.deepEqual(await tab.locator("nav[aria-label=Pages] a").allTextContents(), entries, role);
    if (role === "none") await tab.waitForSelector("text=Your account has no role");
    for (const [title, path] of Object.entries(PATHS)) {
      await tab.goto(`${browser.address}/console${path}`);
      await tab.waitForSelector("#content h1");
      await settled(tab);
      const isRefused = (await tab.locator("text=You do not have permission to see this").count()) > 0;
      const isWithoutRole = (await tab.locator("text=Your account has no role").count()) > 0;
      assert.equal(isRefused || isWithoutRole, !entries.includes(title), `${role}: ${title}`);
    }
    await assertAccessible(tab, role);
    if (role === "auditor") await auditorChangesNothing(browser, tab, accounts);
    await tab.context().close();
  }
}

async function auditorChangesNothing(browser, tab, accounts) {
  await tab.goto(`${browser.address}/console/users/${accounts.none.id}`);
  await settled(tab);
  assert.equal(await tab.locator("button:has-text('Deactivate')").count(), 0);
}
