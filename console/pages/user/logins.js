// The logins of a user, newest first.

import { useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { Time } from "../../components/time.js";
import { Badge, Position, Value } from "../../components/values.js";
import { MoreButton } from "../../components/more_button.js";

/** @typedef {import("../../app/model.js").Login} Login */
/** @typedef {{ logins: Login[], next?: number }} LoginPage */

const PAGE_SIZE = 20;

/** @param {Login} login */
function failures({ succeeded, failures: before, count, reason }) {
  if (succeeded) return before ? `${before} failed before` : "";
  const why = (reason ?? "").replaceAll("_", " ");
  return count ? `${why}, ${count} attempts` : why;
}

/** @type {import("../../components/table.js").Column<Login>[]} */
const COLUMNS = [
  { title: "Time", show: (login) => html`<${Time} at=${login.at} />` },
  { title: "Result", show: (login) => html`<${Badge} state=${login.succeeded ? "succeeded" : "failed"} />` },
  { title: "Details", show: failures },
  { title: "Address", show: (login) => html`<${Value} value=${login.address} />` },
  { title: "User agent", className: "clip", show: (login) => html`<${Value} value=${login.user_agent} />` },
  { title: "Position", className: "right", show: (login) => html`<${Position} position=${login.position} />` },
];

/** @param {{ path: string }} props */
export function Logins({ path }) {
  const [more, setMore] = useState(/** @type {LoginPage[]} */ ([]));
  const load = async (/** @type {number | undefined} */ before) =>
    /** @type {LoginPage} */ (await getJson(`${path}/logins`, { query: { limit: PAGE_SIZE, before } }));
  const first = useResource(() => load(undefined), [path]);
  return html`<${Loaded} resource=${first} lines=${4}>${(/** @type {LoginPage} */ page) => {
    const pages = [page, ...more];
    const logins = pages.flatMap(({ logins: rows }) => rows);
    const next = pages.at(-1)?.next;
    if (logins.length === 0) return html`<${EmptyState} title="No login is recorded" />`;
    return html`
      <${Table} label="Logins" columns=${COLUMNS} rows=${logins} rowKey=${(/** @type {Login} */ row) => row.number} />
      ${next && html`<${MoreButton} load=${() => load(next).then((found) => setMore([...more, found]))} />`}
    `;
  }}<//>`;
}
