// What can be done about a webhook.

import { useState } from "../../vendor/hooks.js";
import { write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { navigate } from "../../app/router.js";
import { ActionDialog, Dialog, SecretDialog } from "../../components/dialog.js";

/** @typedef {import("../../app/model.js").Webhook} Webhook */
/** @typedef {{ path: string, webhook: Webhook, reload: () => void, close: () => void }} Props */

/** @param {Props} props */
export function TestDialog({ path, reload, close }) {
  const [result, setResult] = useState(/** @type {{ delivered: boolean, status: number | null, error: string | null, latency_ms: number } | null} */ (null));
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    setResult(await write("POST", `${path}/test`, { key }));
    reload();
  };
  if (result) {
    return html`<${Dialog} title=${result.delivered ? "The test event was delivered" : "The test event was not delivered"} close=${close}>
      <p class=${result.delivered ? "notice good" : "notice bad"} role="status">${result.error ?? `Status ${result.status}`}, after ${result.latency_ms} ms</p>
      <div class="dialog-actions"><button type="button" class="button primary" onClick=${close}>Done</button></div>
    <//>`;
  }
  return html`<${ActionDialog} title="Send a test event?" confirm="Send" close=${close} action=${action} keepOpen>
    <p>One event of the type <code>WebhookTest</code> is sent at once, beside normal delivery.</p>
  <//>`;
}

/** @param {Props} props */
export function ReplayDialog({ path, webhook, reload, close }) {
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    await write("POST", `${path}/replay`, { json: { from: Number(form.get("from")), to: Number(form.get("to")) }, key });
    reload();
  };
  return html`<${ActionDialog} title="Replay events?" confirm="Replay" close=${close} action=${action}>
    <p>Events of these positions that match the types are delivered again, before normal delivery continues.</p>
    <div class="field-row">
      <label class="field"><span>From position</span><input name="from" type="number" min="1" max=${webhook.position} required /></label>
      <label class="field"><span>To position</span><input name="to" type="number" min="1" max=${webhook.position} required defaultValue=${webhook.position} /></label>
    </div>
  <//>`;
}

/** @param {Props} props */
export function ResumeDialog({ path, reload, close }) {
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    await write("POST", `${path}/resume`, { key });
    reload();
  };
  return html`<${ActionDialog} title="Resume delivery?" confirm="Resume" close=${close} action=${action}>
    <p>Delivery is retried at once from where it stopped.</p>
  <//>`;
}

/** @param {Props} props */
export function RotateDialog({ path, reload, close }) {
  const [secret, setSecret] = useState("");
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    const webhook = await write("POST", `${path}/rotate-secret`, { key });
    reload();
    setSecret(webhook.secret ?? "");
  };
  if (secret) return html`<${SecretDialog} title="New secret of the webhook" secret=${secret} note="For 24 hours deliveries are signed with both. Store it now: it is not shown again." close=${close} />`;
  return html`<${ActionDialog} title="Rotate the secret?" confirm="Rotate" close=${close} action=${action} keepOpen>
    <p>A new secret is made. For 24 hours deliveries are signed with the previous one too.</p>
  <//>`;
}

/** @param {Props} props */
export function DeleteDialog({ path, close }) {
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    await write("DELETE", path, { key });
    navigate("/webhooks");
  };
  return html`<${ActionDialog} title="Delete the webhook?" confirm="Delete" danger close=${close} action=${action}>
    <p>Nothing more is delivered, and its attempts are deleted.</p>
  <//>`;
}
