// Webhooks to which nothing is delivered at present.

import { html } from "../../app/html.js";
import { Section } from "../../components/page.js";
import { Loaded } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { WEBHOOK_COLUMNS } from "../webhooks/columns.js";

/** @typedef {import("../../app/model.js").Webhook} Webhook */

/**
 * @param {{ webhooks: import("../../components/resource.js").Resource<{ webhooks: Webhook[], next?: string }>, isAdministrator: boolean }} props
 */
export function Endpoints({ webhooks, isAdministrator }) {
  return html`<${Section} title="Webhooks in trouble" note=${isAdministrator ? "" : "Of your own"}>
    <${Loaded} resource=${webhooks} lines=${3}>${(/** @type {{ webhooks: Webhook[], next?: string }} */ { webhooks: all, next }) => {
      const troubled = all.filter(({ state }) => state !== "active");
      if (troubled.length === 0) return html`<${EmptyState} title=${next ? "None among the first" : "All webhooks receive their events"} />`;
      return html`<${Table} label="Webhooks in trouble" columns=${WEBHOOK_COLUMNS} rows=${troubled} rowKey=${(/** @type {Webhook} */ row) => row.id} />`;
    }}<//>
  <//>`;
}
