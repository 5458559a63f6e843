// Registers a webhook, and shows its secret once.

import { useState } from "../../vendor/hooks.js";
import { write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { eventTypes } from "../../app/page_settings.js";
import { ActionDialog, SecretDialog } from "../../components/dialog.js";

/** @param {{ close: () => void, reload: () => void }} props */
export function RegisterDialog({ close, reload }) {
  const [secret, setSecret] = useState("");
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    const description = String(form.get("description") ?? "").trim();
    const json = { url: String(form.get("url")).trim(), types: form.getAll("types").map(String), ...(description ? { description } : {}) };
    const webhook = await write("POST", "/webhooks", { json, key });
    reload();
    setSecret(webhook.secret ?? "");
  };
  if (secret) return html`<${SecretDialog} title="Secret of the webhook" secret=${secret} note="Deliveries are signed with it. Store it now: it is not shown again." close=${close} />`;
  return html`<${ActionDialog} title="Register a webhook" confirm="Register" close=${close} action=${action} keepOpen>
    <label class="field"><span>URL</span><input name="url" type="url" required placeholder="https://example.com/events" spellcheck="false" /></label>
    <label class="field"><span>Description (optional)</span><input name="description" maxlength="200" autocomplete="off" /></label>
    <label class="field"><span>Types (none chosen: all)</span>
      <select name="types" multiple size="6">${eventTypes.map((type) => html`<option key=${type} value=${type}>${type}</option>`)}</select>
    </label>
  <//>`;
}
