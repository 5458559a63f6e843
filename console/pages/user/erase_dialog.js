// The confirmation of an erasure, which cannot be undone: the username has to be typed.

import { useState } from "../../vendor/hooks.js";
import { write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { ActionDialog } from "../../components/dialog.js";

/** @param {import("./actions.js").ActionProps} props */
export function EraseDialog({ user, path, close, reload }) {
  const [typed, setTyped] = useState("");
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    await write("POST", `${path}/erase`, { json: { reason: form.get("reason") }, key });
    reload();
  };
  return html`<${ActionDialog} title=${`Erase ${user.username}?`} confirm="Erase permanently" danger disabled=${typed !== user.username} close=${close} action=${action}>
    <p>The key of the user's personal data is destroyed. <strong>This cannot be undone.</strong></p>
    <label class="field"><span>Reason</span>
      <select name="reason"><option value="request">The user asked for it</option><option value="policy">Policy</option><option value="other">Other</option></select>
    </label>
    <label class="field"><span>Type the username <strong>${user.username}</strong> to confirm</span>
      <input value=${typed} autocomplete="off" spellcheck="false" onInput=${(/** @type {Event} */ event) => setTyped(/** @type {HTMLInputElement} */ (event.currentTarget).value)} />
    </label>
  <//>`;
}
