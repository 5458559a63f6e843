// A headless Chromium whose pages report every error, every violation of the Content-Security-Policy and every
// violation of the rules of accessibility (axe).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { PASSWORD } from "./seed.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Answers that the test provokes are reported by the browser too. */
const EXPECTED = /^Failed to load resource/;

export const LAYOUTS = [
  { name: "desktop-light", colorScheme: "light", viewport: { width: 1280, height: 860 } },
  { name: "desktop-dark", colorScheme: "dark", viewport: { width: 1280, height: 860 } },
  { name: "phone-light", colorScheme: "light", viewport: { width: 390, height: 800 } },
  { name: "phone-dark", colorScheme: "dark", viewport: { width: 390, height: 800 } },
];

export class Browser {
  constructor(chrome, address) {
    this.chrome = chrome;
    this.address = address;
    this.problems = [];
  }

  static async launch(address) {
    // A container has no user namespaces and little shared memory.
    const args = ["--no-sandbox", "--disable-dev-shm-usage"];
    return new Browser(await chromium.launch({ executablePath: process.env.CHROMIUM, args }), address);
  }

  /** A device: its tabs share cookies and storage. */
  async device(layout = LAYOUTS[0]) {
    const options = { colorScheme: layout.colorScheme, viewport: layout.viewport, locale: "en-GB", timezoneId: "Europe/Berlin", reducedMotion: "reduce" };
    const context = await this.chrome.newContext(options);
    context.setDefaultTimeout(15_000);
    await context.addInitScript(() =>
      document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)),
    );
    return context;
  }

  async tab(context) {
    const tab = await context.newPage();
    tab.on("pageerror", (error) => this.problems.push(`${tab.url()}: ${error.stack ?? error}`));
    tab.on("console", (message) => {
      const isProblem = ["error", "warning"].includes(message.type()) && !EXPECTED.test(message.text());
      if (isProblem) this.problems.push(`${tab.url()}: ${message.text()}`);
    });
    return tab;
  }

  /** A tab in which the user is logged in, on this page of the console. */
  async loggedIn(email, path = "", layout = LAYOUTS[0], password = PASSWORD) {
    const tab = await this.tab(await this.device(layout));
    await tab.goto(`${this.address}/console${path}`);
    await logIn(tab, email, password);
    return tab;
  }

  assertNoProblem(where) {
    assert.deepEqual(this.problems, [], where);
  }

  close() {
    return this.chrome.close();
  }
}

export async function logIn(tab, email, password = PASSWORD) {
  await tab.fill("input[name=email]", email);
  await tab.fill("input[name=password]", password);
  await tab.click("button[type=submit]");
  await tab.waitForSelector("#content h1");
}

/** Waits until the page has loaded what it shows. */
export async function settled(tab) {
  await tab.waitForFunction(() => document.querySelector("h1") && !document.querySelector(".loading"));
}

export async function text(tab, selector, expected) {
  await tab.waitForFunction(
    ([selector, expected]) => [...document.querySelectorAll(selector)].some((element) => element.textContent.includes(expected)),
    [selector, expected],
  );
}

/** The rules of WCAG 2.2 A and AA, and those that axe calls best practice. */
export async function assertAccessible(tab, where) {
  await tab.evaluate(axe);
  const violations = await tab.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  });
  assert.deepEqual(violations, [], where);
}

/** Nothing is cut off: the page itself does not scroll sideways. */
export async function assertFits(tab, where) {
  const [content, width] = await tab.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= width, `${where}: ${content} pixels of content in ${width}`);
}
