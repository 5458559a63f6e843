// Machine tokens.

import { useState } from "../../vendor/hooks.js";
import { getJson, write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { ROLES } from "../../app/roles.js";
import { ActionDialog, SecretDialog } from "../../components/dialog.js";
import { MoreButton } from "../../components/more_button.js";
import { Page } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { formatDay, Time } from "../../components/time.js";
import { Actor, Badge, Value } from "../../components/values.js";

/** @typedef {import("../../app/model.js").MachineToken} MachineToken */
/** @typedef {{ tokens: MachineToken[], next?: number }} TokenPage */

export function TokensPage() {
  const [isIssuing, setIssuing] = useState(false);
  const [revoked, setRevoked] = useState(/** @type {MachineToken | null} */ (null));
  const [more, setMore] = useState(/** @type {TokenPage[]} */ ([]));
  const load = async (/** @type {number | undefined} */ after) => /** @type {TokenPage} */ (await getJson("/tokens", { query: { after } }));
  const first = useResource(() => load(undefined), []);
  const reload = () => {
    setMore([]);
    first.reload();
  };
  const issue = html`<button type="button" class="button primary" onClick=${() => setIssuing(true)}>Issue a token</button>`;
  return html`<${Page} title="Machine tokens" subtitle="For programs that act for no user" actions=${issue}>
    <${Loaded} resource=${first} lines=${5}>${(/** @type {TokenPage} */ page) => {
      const pages = [page, ...more];
      const tokens = pages.flatMap(({ tokens: rows }) => rows);
      const next = pages.at(-1)?.next;
      if (tokens.length === 0) return html`<${EmptyState} title="No machine token yet" />`;
      return html`
        <${Table} label="Machine tokens" columns=${columns(setRevoked)} rows=${tokens} rowKey=${(/** @type {MachineToken} */ row) => row.id} />
        ${next && html`<${MoreButton} load=${() => load(next).then((found) => setMore([...more, found]))} />`}
      `;
    }}<//>
    ${isIssuing && html`<${IssueDialog} close=${() => setIssuing(false)} reload=${reload} />`}
    ${revoked && html`<${RevokeDialog} token=${revoked} close=${() => setRevoked(null)} reload=${reload} />`}
  <//>`;
}

/** @param {(token: MachineToken) => void} revoke */
function columns(revoke) {
  return /** @type {import("../../components/table.js").Column<MachineToken>[]} */ ([
    { title: "Name", show: (token) => html`<span class="text-value">${token.name}</span>` },
    { title: "State", show: (token) => html`<${Badge} state=${token.state} />` },
    { title: "Roles", show: (token) => token.roles.join(", ") },
    { title: "Last used", show: (token) => (token.last_used_on ? formatDay(token.last_used_on) : html`<span class="muted">never</span>`) },
    { title: "Expires", show: (token) => (token.expires_at ? html`<${Time} at=${token.expires_at} />` : html`<${Value} value=${null} />`) },
    { title: "Issued", show: (token) => html`<${Time} at=${token.issued_at} />` },
    { title: "By", className: "wide-only", show: (token) => html`<${Actor} actor=${token.issued_by} />` },
    {
      title: "Actions",
      show: (token) => token.state === "active" &&
        html`<button type="button" class="button small" aria-label=${`Revoke ${token.name}`} onClick=${() => revoke(token)}>Revoke</button>`,
    },
  ]);
}

/** @param {{ close: () => void, reload: () => void }} props */
function IssueDialog({ close, reload }) {
  const [secret, setSecret] = useState("");
  const action = async (/** @type {FormData} */ form, /** @type {string} */ key) => {
    const expires = String(form.get("expires") ?? "");
    const json = { name: String(form.get("name")).trim(), roles: form.getAll("roles").map(String), ...(expires ? { expires_at: new Date(`${expires}T00:00:00`).toISOString() } : {}) };
    const issued = await write("POST", "/tokens", { json, key });
    reload();
    setSecret(issued.token ?? "");
  };
  if (secret) return html`<${SecretDialog} title="The machine token" secret=${secret} note="Store it now: it is not shown again." close=${close} />`;
  return html`<${ActionDialog} title="Issue a machine token" confirm="Issue" close=${close} action=${action} keepOpen>
    <label class="field"><span>Name (not personal: it is stored in the log)</span><input name="name" required maxlength="64" autocomplete="off" /></label>
    <fieldset class="choices"><legend>Roles</legend>
      ${ROLES.map((role) => html`<label key=${role} class="choice"><input type="checkbox" name="roles" value=${role} /> ${role}</label>`)}
    </fieldset>
    <label class="field"><span>Expires (optional)</span><input name="expires" type="date" /></label>
  <//>`;
}

/** @param {{ token: MachineToken, close: () => void, reload: () => void }} props */
function RevokeDialog({ token, close, reload }) {
  const action = async (/** @type {FormData} */ _, /** @type {string} */ key) => {
    await write("DELETE", `/tokens/${token.id}`, { key });
    reload();
  };
  return html`<${ActionDialog} title=${`Revoke ${token.name}?`} confirm="Revoke" danger close=${close} action=${action}>
    <p>The token is void at once, on every node. It cannot be undone.</p>
  <//>`;
}
