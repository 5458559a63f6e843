// A front end in headless Chromium against a running service: the page of `examples/browser`, from sign-up to
// logout. Needs CHROMIUM (the program), PAGE (the address of the page) and AEGIS_ADDRESS.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const api = `${process.env.AEGIS_ADDRESS}/api/v1`;
const page_url = `${process.env.PAGE}/?api=${encodeURIComponent(api)}`;
const [email, username] = ["grace@example.com", "grace"];
const [password, changed] = ["seven green elephants dance", "nine purple umbrellas sing"];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // A container has no user namespaces and little shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

/** A tab with the page, in a context: tabs of one context share their storage, contexts are devices. */
async function open(context) {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => assert.fail(`the page failed: ${error}`));
  await tab.goto(page_url);
  return tab;
}

async function fill(tab, form, fields) {
  for (const [name, value] of Object.entries(fields)) await tab.fill(`#${form} [name=${name}]`, value);
  await tab.click(`#${form} button`);
}

async function state(tab, expected) {
  await tab.waitForFunction((text) => document.getElementById("state").textContent === text, expected);
}

async function logIn(tab, secret) {
  await fill(tab, "log-in", { email, password: secret });
  await state(tab, `logged in as ${username}`);
}

const stored = (tab) => tab.evaluate(() => localStorage.getItem("aegis.refresh_token"));
const refreshed = (tab) => tab.evaluate(() => window.client.refresh());
/** The error of an action of the client, or `null`. */
const outcome = (tab, action) =>
  tab.evaluate(
    (source) => eval(source)(window.client).then(() => null, (error) => ({ status: error.status, error: error.oauthError })),
    action.toString(),
  );

async function steps() {
  const laptop = await browser.newContext();
  const first = await open(laptop);

  await fill(first, "sign-up", { email, username, password: "password1" });
  await first.waitForFunction(() => document.getElementById("error").textContent.includes("strong password"));
  await fill(first, "sign-up", { email, username, password });
  await state(first, `signed up as ${username}`);
  await logIn(first, password);

  // Eight refreshes at once with the same token: all succeed, and give the same successor.
  const token = await stored(first);
  const successors = await first.evaluate(
    (token) => Promise.all(Array.from({ length: 8 }, () => window.client.exchange(token))),
    token,
  );
  assert.equal(new Set(successors.map((answer) => answer.refresh_token)).size, 1);
  assert.notEqual(successors[0].refresh_token, token);
  await refreshed(first);

  // Two tabs refresh at the same time, again and again, and neither is logged out.
  const second = await open(laptop);
  await state(second, `logged in as ${username}`);
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([refreshed(first), refreshed(second)]);
    assert.equal((await first.evaluate(() => window.client.me())).username, username);
    assert.equal((await second.evaluate(() => window.client.me())).username, username);
  }

  // The service answers a refresh, and the answer is lost.
  let lost = 0;
  await first.route("**/auth/token", async (route) => {
    if (lost > 0) return route.continue();
    lost += 1;
    const answer = await route.fetch();
    assert.equal(answer.status(), 200);
    return route.abort("connectionreset");
  });
  await refreshed(first);
  assert.equal(lost, 1);
  await first.unroute("**/auth/token");
  assert.equal((await first.evaluate(() => window.client.me())).username, username);

  // A change of the password ends the sessions of other devices, and not this one.
  const phone = await browser.newContext();
  const other = await open(phone);
  await logIn(other, password);
  await fill(first, "password", { current: "wrong", next: changed });
  await first.waitForFunction(() => document.getElementById("error").textContent !== "");
  await fill(first, "password", { current: password, next: changed });
  await state(first, "the password is changed");
  await first.click("#show");
  await state(first, `logged in as ${username}`);
  await other.click("#show");
  await state(other, "logged out");
  assert.equal(await stored(other), null);
  // The other tab of this device goes on with the session that they share.
  assert.equal((await second.evaluate(() => window.client.me())).username, username);
  const refused = await outcome(other, (client) => client.logIn("grace@example.com", "seven green elephants dance"));
  assert.deepEqual(refused, { status: 400, error: "invalid_grant" });

  // The sessions are listed, and one of them is ended from here.
  await logIn(other, changed);
  await first.click("#list");
  await first.waitForFunction(() => document.querySelectorAll("#sessions li").length === 2);
  await first.click("#sessions li:has-text('another session') button");
  await first.waitForFunction(() => document.querySelectorAll("#sessions li").length === 1);
  await other.click("#show");
  await state(other, "logged out");

  // Log out: the tokens are void, also in the other tab.
  const last = await stored(first);
  await first.click("#log-out");
  await state(first, "logged out");
  await state(second, "logged out");
  const reused = await first.evaluate(
    (token) => window.client.exchange(token).then(() => null, (error) => ({ status: error.status, error: error.oauthError })),
    last,
  );
  assert.deepEqual(reused, { status: 400, error: "invalid_grant" });
}

try {
  await steps();
} finally {
  await browser.close();
}
