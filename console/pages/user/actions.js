// What administrators do to a user, each after a confirmation.

import { useState } from "../../vendor/hooks.js";
import { write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { ROLES } from "../../app/roles.js";
import { ActionDialog } from "../../components/dialog.js";
import { EraseDialog } from "./erase_dialog.js";

/** @typedef {import("../../app/model.js").User} User */
/** @typedef {import("../../app/model.js").HistoryEvent} HistoryEvent */
/** @typedef {{ user: User, path: string, close: () => void, reload: () => void }} ActionProps */

const DIALOGS = { deactivate: DeactivateDialog, reactivate: ReactivateDialog, unlock: UnlockDialog, roles: RolesDialog, sessions: SessionsDialog, erase: EraseDialog };

/** @param {HistoryEvent[]} history */
function isLocked(history) {
  return history.findLast(({ type }) => type === "UserLocked" || type === "UserUnlocked")?.type === "UserLocked";
}

/** @param {{ user: User, path: string, history: HistoryEvent[], reload: () => void }} props */
export function Actions({ user, path, history, reload }) {
  const [open, setOpen] = useState(/** @type {keyof typeof DIALOGS | null} */ (null));
  const Chosen = open && DIALOGS[open];
  const button = (/** @type {keyof typeof DIALOGS} */ name, /** @type {string} */ title, className = "button") =>
    html`<button type="button" class=${className} onClick=${() => setOpen(name)}>${title}</button>`;
  return html`
    ${user.is_active ? button("deactivate", "Deactivate") : button("reactivate", "Reactivate")}
    ${isLocked(history) && button("unlock", "Unlock")}
    ${button("roles", "Roles")}
    ${button("sessions", "Log out everywhere")}
    ${button("erase", "Erase", "button danger-outline")}
    ${Chosen && html`<${Chosen} user=${user} path=${path} reload=${reload} close=${() => setOpen(null)} />`}
  `;
}

function ReasonField() {
  return html`<label class="field"><span>Reason (optional, stored encrypted)</span><input name="reason" maxlength="200" autocomplete="off" /></label>`;
}

/** @param {FormData} form */
function reasonOf(form) {
  const reason = String(form.get("reason") ?? "").trim();
  return reason ? { reason } : {};
}

/** @param {ActionProps} props */
function DeactivateDialog({ user, path, close, reload }) {
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    await write("POST", `${path}/deactivate`, { json: reasonOf(form), key });
    reload();
  };
  return html`<${ActionDialog} title=${`Deactivate ${user.username}?`} confirm="Deactivate" danger close=${close} action=${action}>
    <p>Every token and session ends at once, and logins are refused. It can be undone.</p><${ReasonField} />
  <//>`;
}

/** @param {ActionProps} props */
function ReactivateDialog({ user, path, close, reload }) {
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    await write("POST", `${path}/reactivate`, { json: reasonOf(form), key });
    reload();
  };
  return html`<${ActionDialog} title=${`Reactivate ${user.username}?`} confirm="Reactivate" close=${close} action=${action}>
    <p>The user can log in again. Old tokens stay void.</p><${ReasonField} />
  <//>`;
}

/** @param {ActionProps} props */
function UnlockDialog({ user, path, close, reload }) {
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    await write("POST", `${path}/unlock`, { key });
    reload();
  };
  return html`<${ActionDialog} title=${`Unlock ${user.username}?`} confirm="Unlock" close=${close} action=${action}>
    <p>The delay after failed logins ends.</p>
  <//>`;
}

/** @param {ActionProps} props */
function SessionsDialog({ user, path, close, reload }) {
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    await write("POST", `${path}/sessions/revoke`, { key });
    reload();
  };
  return html`<${ActionDialog} title=${`Log out ${user.username} everywhere?`} confirm="Log out everywhere" danger close=${close} action=${action}>
    <p>Every session ends, and every token is void at once.</p>
  <//>`;
}

/** @param {ActionProps} props */
function RolesDialog({ user, path, close, reload }) {
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    const chosen = new Set(form.getAll("roles").map(String));
    for (const role of ROLES) {
      const has = user.roles.includes(role);
      if (chosen.has(role) && !has) await write("PUT", `${path}/roles/${role}`, { key });
      if (!chosen.has(role) && has) await write("DELETE", `${path}/roles/${role}`, { key });
    }
    reload();
  };
  return html`<${ActionDialog} title=${`Roles of ${user.username}`} confirm="Save" close=${close} action=${action}>
    <fieldset class="choices"><legend>The loss of a role ends every token of the user.</legend>
      ${ROLES.map((role) => html`<label key=${role} class="choice"><input type="checkbox" name="roles" value=${role} defaultChecked=${user.roles.includes(role)} /> ${role}</label>`)}
    </fieldset>
  <//>`;
}
