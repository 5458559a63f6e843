// An administrator without a pointer: logs in, searches, opens a user, deactivates them, and reactivates them.

import assert from "node:assert/strict";
import { settled, text } from "./browser.mjs";

/** Presses Tab until the focused element has this text or name. */
async function tabTo(tab, wanted) {
  for (let presses = 0; presses < 60; presses += 1) {
    const focused = await tab.evaluate(() => document.activeElement?.textContent?.trim() || document.activeElement?.getAttribute("name") || "");
    if (focused === wanted) return;
    await tab.keyboard.press("Tab");
  }
  assert.fail(`the focus does not reach ${wanted}`);
}

async function hasVisibleFocus(tab) {
  const outline = await tab.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus is visible");
}

export async function byKeyboard(browser, admin, { users }) {
  const user = users[9];
  const tab = await browser.tab(await browser.device());
  await tab.goto(`${browser.address}/console/users`);
  await tab.waitForSelector("input[name=email]:focus");
  await tab.keyboard.type(admin.email);
  await tab.keyboard.press("Tab");
  await tab.keyboard.type(admin.password);
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("#content h1");
  await tab.waitForSelector("input[type=search]");

  await tab.keyboard.press("/");
  await tab.waitForSelector("input[type=search]:focus");
  await tab.keyboard.type(user.email.slice(0, 8));
  await tab.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await tabTo(tab, user.username);
  await hasVisibleFocus(tab);
  await tab.keyboard.press("Enter");
  await text(tab, "h1", user.username);
  await settled(tab);
  await tab.waitForSelector("h1:focus");

  await tabTo(tab, "Deactivate");
  await hasVisibleFocus(tab);
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("dialog[open]");
  await tab.keyboard.press("Escape");
  await tab.waitForSelector("dialog[open]", { state: "detached" });
  await tab.waitForFunction(() => document.activeElement?.textContent === "Deactivate");
  await tab.keyboard.press("Enter");
  await tabTo(tab, "reason");
  await tab.keyboard.type("left the company");
  await tab.keyboard.press("Enter");
  await text(tab, ".subtitle .badge", "deactivated");
  await text(tab, ".timeline", "left the company");

  await tabTo(tab, "Reactivate");
  await tab.keyboard.press("Enter");
  await tabTo(tab, "reason");
  await tab.keyboard.press("Enter");
  await text(tab, ".subtitle .badge", "active");

  // The slider: the user as of the first event.
  await tab.focus("input[type=range]");
  await tab.keyboard.press("Home");
  await text(tab, ".slider-caption", "UserRegistered");
  await tab.context().close();
}
