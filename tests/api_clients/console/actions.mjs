// What administrators do: to users, webhooks, read models and machine tokens; and the live feed that shows it.

import assert from "node:assert/strict";
import { settled, text } from "./browser.mjs";

async function confirm(tab, opener, fill) {
  await tab.click(opener);
  await tab.waitForSelector("dialog[open]");
  if (fill) await fill();
  await tab.click("dialog[open] button[type=submit]");
}

const closed = (tab) => tab.waitForSelector("dialog[open]", { state: "detached" });

export async function everyAction(browser, admin, { users, webhooks }) {
  const tab = await browser.loggedIn(admin.email, "", undefined, admin.password);
  const open = async (path) => {
    await tab.goto(`${browser.address}/console${path}`);
    await settled(tab);
  };
  const feed = await browser.loggedIn(admin.email, "/events?type=UserErased", undefined, admin.password);
  await text(feed, ".feed-bar", "live");
  const before = await feed.locator(".events > li").count();

  await open(`/users/${users[10].id}`);
  await confirm(tab, "button:has-text('Roles')", () => tab.check("dialog input[value=auditor]"));
  await text(tab, ".facts", "auditor");
  await confirm(tab, "button:has-text('Log out everywhere')");
  await text(tab, ".timeline", "TokensRevoked");
  await tab.click("button:has-text('Erase')");
  assert.ok(await tab.isDisabled("dialog button[type=submit]"), "the username is to be typed");
  await tab.fill("dialog input", users[10].username);
  await tab.click("dialog button[type=submit]");
  await text(tab, "h1", "Erased user");

  await feed.waitForFunction((count) => document.querySelectorAll(".events > li").length === count + 1, before);
  await text(feed, ".events > li:first-child", users[10].id);
  await feed.click("text=Pause");
  await text(feed, ".feed-bar", "paused");
  await feed.context().close();

  await webhookActions(tab, open, webhooks);
  await readModelActions(tab, open);
  await tokenActions(tab, open);
  await tab.context().close();
}

async function webhookActions(tab, open, webhooks) {
  await open(`/webhooks/${webhooks.good.id}`);
  await text(tab, "table", "status 200");
  await confirm(tab, "button:has-text('Test')");
  await text(tab, "dialog", "The test event was delivered");
  await tab.click("dialog button:has-text('Done')");
  await confirm(tab, "button:has-text('Replay')", () => tab.fill("dialog input[name=from]", "1"));
  await closed(tab);
  await text(tab, "table", "(replay)");
  await confirm(tab, "button:has-text('Rotate the secret')");
  assert.match(await tab.textContent(".secret"), /^whsec_/);
  await tab.click("dialog button:has-text('Done')");

  await open(`/webhooks/${webhooks.gone.id}`);
  await text(tab, ".notice.bad", "the receiver answered 410");
  await confirm(tab, "button:has-text('Resume')");
  await closed(tab);
  await confirm(tab, "button:has-text('Delete')");
  await tab.waitForURL("**/console/webhooks");
  await tab.click("text=Register a webhook");
  await tab.fill("dialog input[name=url]", "http://127.0.0.1:9/events");
  await tab.click("dialog button[type=submit]");
  await text(tab, "dialog h2", "Secret of the webhook");
  await tab.click("dialog button:has-text('Done')");
}

async function readModelActions(tab, open) {
  await open("/projections");
  const section = "section:has(h2:text-is('webhooks'))";
  await confirm(tab, `${section} button:has-text('Rebuild')`);
  await closed(tab);
  await text(tab, section.replace(":has(h2:text-is('webhooks'))", ""), "rows were the same");
  await confirm(tab, `${section} button:has-text('Roll back to it')`);
  await closed(tab);
  await tab.waitForSelector(`${section} li:has-text('Version 1') .badge:text-is('live')`);
}

async function tokenActions(tab, open) {
  await open("/tokens");
  await confirm(tab, "text=Issue a token", async () => {
    await tab.fill("dialog input[name=name]", "nightly report");
    await tab.check("dialog input[value=auditor]");
  });
  await text(tab, "dialog h2", "The machine token");
  assert.match(await tab.textContent(".secret"), /^aegis_/);
  await tab.click("dialog button:has-text('Done')");
  await confirm(tab, "button[aria-label='Revoke nightly report']");
  await closed(tab);
  await tab.waitForSelector("tr:has-text('nightly report') .badge:text-is('revoked')");
}
