// The session of the console: deep links survive the login, tokens are in no storage, tabs share the session, and a
// logout ends it.

import assert from "node:assert/strict";
import { logIn, settled, text } from "./browser.mjs";

/** Everything that scripts of the page can read and that outlives it. */
const stored = (tab) =>
  tab.evaluate(async () => {
    const databases = await indexedDB.databases();
    const all = { local: { ...localStorage }, session: { ...sessionStorage }, databases, cookie: document.cookie, caches: await caches.keys() };
    return JSON.stringify(all);
  });

export async function sessionIsSafe(browser, admin, { users }) {
  const device = await browser.device();
  const tab = await browser.tab(device);
  const address = `${browser.address}/console/users/${users[3].id}?as_of=19`;
  await tab.goto(address);
  await tab.fill("input[name=email]", admin.email);
  await tab.fill("input[name=password]", "wrong");
  await tab.click("button[type=submit]");
  await text(tab, "[role=alert]", "Incorrect email or password");
  await logIn(tab, admin.email, admin.password);
  await text(tab, "h1", users[3].username);
  assert.equal(new URL(tab.url()).pathname, new URL(address).pathname);

  await tab.selectOption(".visitor select", "dark");
  assert.equal(await stored(tab), '{"local":{"aegis-console-theme":"dark"},"session":{},"databases":[],"cookie":"","caches":[]}');
  await tab.selectOption(".visitor select", "system");
  const [cookie, ...others] = await device.cookies();
  assert.deepEqual(others, []);
  const { name, path, httpOnly, sameSite } = cookie;
  assert.deepEqual({ name, path, httpOnly, sameSite }, { name: "aegis-console", path: "/console", httpOnly: true, sameSite: "Strict" });

  // The cookie is sent to the paths of the console alone, and no address contains a token.
  const requests = [];
  tab.on("request", (request) => requests.push(request));
  await tab.reload();
  await text(tab, "h1", users[3].username);
  await settled(tab);
  for (const request of requests) {
    const headers = await request.allHeaders();
    const url = new URL(request.url());
    if (!url.pathname.startsWith("/console")) assert.equal(headers.cookie, undefined, request.url());
    assert.doesNotMatch(url.search, /token|eyJ/);
  }

  // Three tabs at once renew the session together.
  const tabs = await Promise.all([1, 2, 3].map(() => browser.tab(device)));
  await Promise.all(tabs.map((other) => other.goto(`${browser.address}/console/log`)));
  await Promise.all(tabs.map((other) => other.waitForSelector("text=Checkpoint")));

  await tab.click(".visitor button");
  await tab.waitForSelector("input[name=email]");
  assert.deepEqual(await device.cookies(), []);
  await tabs[0].goto(`${browser.address}/console/tokens`);
  await tabs[0].waitForSelector("input[name=email]");
  // A tab that was open has a token whose session has ended.
  await tabs[1].click("nav >> text=Users");
  await tabs[1].waitForSelector("input[name=email]");
  await device.close();
}
