// The web console in headless Chromium, against a running service. Needs CHROMIUM (the program), AEGIS_ADDRESS,
// AEGIS_ADMIN_EMAIL and AEGIS_ADMIN_PASSWORD. With SCREENSHOTS, a folder, every page is kept there as an image. Arguments name
// the parts that run; by default all.

import { Browser } from "./browser.mjs";
import { everyAction } from "./actions.mjs";
import { byKeyboard } from "./keyboard.mjs";
import { proofsAreVerified } from "./log.mjs";
import { everyLayout, everyState } from "./pages.mjs";
import { everyRole } from "./roles.mjs";
import { receiver, seed } from "./seed.mjs";
import { sessionIsSafe } from "./session.mjs";

const address = process.env.AEGIS_ADDRESS;
const admin = { email: process.env.AEGIS_ADMIN_EMAIL, password: process.env.AEGIS_ADMIN_PASSWORD };
const received = await receiver();
const browser = await Browser.launch(address);

try {
  const seeded = await seed(address, admin, received.url);
  const parts = {
    session: () => sessionIsSafe(browser, admin, seeded),
    roles: () => everyRole(browser, seeded.accounts),
    pages: () => everyLayout(browser, admin, seeded),
    states: () => everyState(browser, admin, seeded),
    keyboard: () => byKeyboard(browser, admin, seeded),
    log: () => proofsAreVerified(browser, seeded.accounts),
    actions: () => everyAction(browser, admin, seeded),
  };
  const chosen = process.argv.slice(2);
  for (const [name, run] of Object.entries(parts)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    const started = Date.now();
    await run();
    browser.assertNoProblem(name);
    console.log(`console: ${name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
} finally {
  await browser.close();
  received.close();
}
