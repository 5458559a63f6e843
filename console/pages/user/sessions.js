// The open sessions of a user.

import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { Time } from "../../components/time.js";
import { Value } from "../../components/values.js";

/** @typedef {import("../../app/model.js").Session} Session */

/** @type {import("../../components/table.js").Column<Session>[]} */
const COLUMNS = [
  { title: "Last used", show: (session) => html`<${Time} at=${session.last_used_at} />` },
  { title: "Logged in", show: (session) => html`<${Time} at=${session.created_at} />` },
  { title: "Ends", show: (session) => html`<${Time} at=${session.expires_at} />` },
  { title: "Address", show: (session) => html`<${Value} value=${session.address} />` },
  { title: "User agent", className: "clip", show: (session) => html`<${Value} value=${session.user_agent} />` },
];

/** @param {{ path: string, version: number }} props */
export function Sessions({ path, version }) {
  const sessions = useResource(
    async (signal) => /** @type {{ sessions: Session[] }} */ (await getJson(`${path}/sessions`, { signal })), [path, version],
  );
  return html`<${Loaded} resource=${sessions} lines=${2}>${(/** @type {{ sessions: Session[] }} */ { sessions: rows }) =>
    rows.length
      ? html`<${Table} label="Open sessions" columns=${COLUMNS} rows=${rows} rowKey=${(/** @type {Session} */ row) => row.id} />`
      : html`<${EmptyState} title="No open session" />`}<//>`;
}
