// Proofs are verified in the browser: valid ones are accepted, and whatever is changed in one is refused.

import assert from "node:assert/strict";
import { settled, text } from "./browser.mjs";

const PROOF = /\/log\/proof\//;
const CONSISTENCY = /\/log\/consistency/;
const flip = (base64) => (base64.startsWith("A") ? "B" : "A") + base64.slice(1);

/** What an attacker who controls the service might change in a proof. */
const FORGERIES = {
  "another event": (proof) => ({ ...proof, event: proof.event.replace('"version":1', '"version":2') }),
  "another leaf": (proof) => ({ ...proof, leaf: flip(proof.leaf) }),
  "another sibling": (proof) => ({ ...proof, proof: [flip(proof.proof[0]), ...proof.proof.slice(1)] }),
  "a sibling too few": (proof) => ({ ...proof, proof: proof.proof.slice(0, -1) }),
  "a sibling too many": (proof) => ({ ...proof, proof: [...proof.proof, proof.proof[0]] }),
  "another root": (proof) => ({ ...proof, root: flip(proof.root) }),
  "another size": (proof) => ({ ...proof, size: proof.size - 1 }),
  "another checkpoint": (proof) => ({ ...proof, checkpoint: proof.checkpoint.replace(`\n${proof.size}\n`, `\n${proof.size + 1}\n`) }),
  "another signature": (proof) => ({ ...proof, checkpoint: proof.checkpoint.replace(/.{6}=?\n$/, "AAAAA=\n") }),
};

async function answerOf(tab, pattern, change, act) {
  await tab.route(pattern, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: change(await answer.json()) });
  });
  await act();
  await tab.unroute(pattern);
}

export async function proofsAreVerified(browser, accounts) {
  const tab = await browser.loggedIn(accounts.auditor.email, "/log?position=20");
  await text(tab, ".verdict.good", "Event 20 is in the log");
  assert.equal(await tab.locator(".step.refused").count(), 0);
  assert.ok((await tab.locator(".step").count()) > 8);

  for (const [name, forge] of Object.entries(FORGERIES)) {
    await answerOf(tab, PROOF, forge, async () => {
      await tab.goto(`${browser.address}/console/log?position=20`);
      await tab.waitForSelector(".verdict, .state[role=alert]").catch(() => assert.fail(`no verdict about ${name}`));
    });
    assert.equal(await tab.locator(".verdict.good").count(), 0, `${name} is refused`);
  }
  // The proof of another event.
  await tab.route(PROOF, async (route) => route.continue({ url: route.request().url().replace(/20$/, "21") }));
  await tab.goto(`${browser.address}/console/log?position=20`);
  await text(tab, ".verdict.bad", "refused");
  await tab.unroute(PROOF);

  await tab.goto(`${browser.address}/console/log?position=999999`);
  await text(tab, ".state[role=alert]", "There is no event at this position");
  await consistency(browser, tab);
  await tab.context().close();
}

async function consistency(browser, tab) {
  await tab.goto(`${browser.address}/console/log`);
  await settled(tab);
  const kept = await tab.textContent("pre[aria-label=Checkpoint]");
  const submit = async (checkpoint) => {
    await tab.fill("textarea[name=checkpoint]", checkpoint);
    await tab.click("form.stacked button");
  };
  await submit(kept);
  await text(tab, ".verdict.good", "Nothing before your checkpoint was changed");
  // The login of another user makes the log longer.
  await (await browser.loggedIn("operator@example.com")).context().close();
  await submit(kept);
  await tab.waitForFunction(() => document.querySelectorAll(".step").length === 6);
  await text(tab, ".verdict.good", "Nothing before your checkpoint was changed");
  const forge = (proof) => ({ ...proof, proof: proof.proof.map(flip) });
  await answerOf(tab, CONSISTENCY, forge, async () => {
    await submit(kept);
    await text(tab, ".verdict.bad", "does not continue your checkpoint");
  });
  await submit(kept.replace(/\n[^\n]{43}=\n/, `\n${"A".repeat(43)}=\n`));
  await text(tab, ".verdict.bad", "does not continue your checkpoint");
  await submit("nothing of the kind");
  await text(tab, ".notice.bad", "This is not a checkpoint");
  await tab.fill("input.mono", "aegis/other+00000000+AQID");
  await tab.press("input.mono", "Tab");
  await submit(kept);
  await text(tab, ".notice.bad", "not an Ed25519 key");
}
