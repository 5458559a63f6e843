// The webhooks: the visitor's own, and for administrators all.

import { useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { may } from "../../app/roles.js";
import { MoreButton } from "../../components/more_button.js";
import { Page } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { WEBHOOK_COLUMNS } from "./columns.js";
import { RegisterDialog } from "./register.js";

/** @typedef {import("../../app/model.js").Webhook} Webhook */
/** @typedef {{ webhooks: Webhook[], next?: string }} WebhookPageView */

/** @param {{ me: import("../../app/model.js").Me }} props */
export function WebhooksPage({ me }) {
  const [isOpen, setOpen] = useState(false);
  const [more, setMore] = useState(/** @type {WebhookPageView[]} */ ([]));
  const load = async (/** @type {string | undefined} */ after) => /** @type {WebhookPageView} */ (await getJson("/webhooks", { query: { after } }));
  const first = useResource(() => load(undefined), []);
  const isAdministrator = may(me, "administration");
  const register = html`<button type="button" class="button primary" onClick=${() => setOpen(true)}>Register a webhook</button>`;
  return html`<${Page} title="Webhooks" subtitle=${isAdministrator ? "Those of all users" : "Your own"} actions=${register}>
    <${Loaded} resource=${first} lines=${6}>${(/** @type {WebhookPageView} */ page) => {
      const pages = [page, ...more];
      const webhooks = pages.flatMap(({ webhooks: rows }) => rows);
      const next = pages.at(-1)?.next;
      if (webhooks.length === 0) return html`<${EmptyState} title="No webhook yet">A webhook receives events as they are appended.<//>`;
      return html`
        <${Table} label="Webhooks" columns=${WEBHOOK_COLUMNS} rows=${webhooks} rowKey=${(/** @type {Webhook} */ row) => row.id} />
        ${next && html`<${MoreButton} load=${() => load(next).then((found) => setMore([...more, found]))} />`}
      `;
    }}<//>
    ${isOpen && html`<${RegisterDialog} close=${() => setOpen(false)} reload=${first.reload} />`}
  <//>`;
}
