// Search of users.

import { useEffect, useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { ROLES } from "../../app/roles.js";
import { link, replaceQuery } from "../../app/router.js";
import { Page } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { MoreButton } from "../../components/more_button.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { Time } from "../../components/time.js";
import { Badge } from "../../components/values.js";

/** @typedef {import("../../app/model.js").User} User */
/** @typedef {import("../../app/model.js").UserPage} UserPage */

const PAGE_SIZE = 50;
/** Typing is not searched for letter by letter. */
const TYPING_PAUSE_MS = 200;

/** @type {import("../../components/table.js").Column<User>[]} */
const COLUMNS = [
  { title: "Username", show: (user) => html`<a href=${link(`/users/${user.id}`)}>${user.username}</a>` },
  { title: "E-mail", show: (user) => html`<span class="text-value">${user.email}</span>` },
  { title: "State", show: (user) => html`<${Badge} state=${user.is_active ? "active" : "deactivated"} />` },
  { title: "Roles", show: (user) => user.roles.join(", ") },
  { title: "Registered", show: (user) => html`<${Time} at=${user.created_at} />` },
];

/** @param {{ query: URLSearchParams }} props */
export function UsersPage({ query }) {
  const [filters, setFilters] = useState({ q: query.get("q") ?? "", role: query.get("role") ?? "", active: query.get("active") ?? "" });
  const [sought, setSought] = useState(filters);
  useEffect(() => {
    const timer = setTimeout(() => setSought(filters), TYPING_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [filters]);
  // The address is a deep link, but without what may be a person's name or address.
  useEffect(() => replaceQuery({ role: sought.role, active: sought.active }), [sought]);
  const set = (/** @type {string} */ name) => (/** @type {Event} */ event) =>
    setFilters((before) => ({ ...before, [name]: /** @type {HTMLInputElement} */ (event.currentTarget).value }));
  return html`<${Page} title="Users">
    <form class="filters" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <label class="field grow"><span>Beginning of the e-mail address or username</span>
        <input type="search" value=${filters.q} onInput=${set("q")} placeholder="ada" maxlength="254" spellcheck="false" autocapitalize="none" autocomplete="off" />
      </label>
      <label class="field"><span>Role</span>
        <select value=${filters.role} onChange=${set("role")}>
          <option value="">Any</option>${ROLES.map((role) => html`<option key=${role} value=${role}>${role}</option>`)}
        </select>
      </label>
      <label class="field"><span>State</span>
        <select value=${filters.active} onChange=${set("active")}>
          <option value="">Any</option><option value="true">Active</option><option value="false">Deactivated</option>
        </select>
      </label>
    </form>
    <${Results} filters=${sought} key=${JSON.stringify(sought)} />
  <//>`;
}

/** @param {{ filters: { q: string, role: string, active: string } }} props */
function Results({ filters }) {
  const [more, setMore] = useState(/** @type {UserPage[]} */ ([]));
  const load = (/** @type {string | undefined} */ after, /** @type {AbortSignal | undefined} */ signal) =>
    getJson("/users", { query: { ...filters, q: filters.q.trim(), limit: PAGE_SIZE, after }, ...(signal ? { signal } : {}) })
      .then((page) => /** @type {UserPage} */ (page));
  const first = useResource((signal) => load(undefined, signal), [filters]);
  return html`<${Loaded} resource=${first} lines=${8}>${(/** @type {UserPage} */ page) => {
    const pages = [page, ...more];
    const users = pages.flatMap(({ users: found }) => found);
    const next = pages.at(-1)?.next;
    if (users.length === 0 && !next) return html`<${EmptyState} title="No user matches">Beginnings are compared in any case. With an @, the part before it is the whole local part.<//>`;
    return html`
      <${Table} label="Users" columns=${COLUMNS} rows=${users} rowKey=${(/** @type {User} */ user) => user.id} />
      ${next && html`<${MoreButton} load=${() => load(next, undefined).then((found) => setMore([...more, found]))} />`}
    `;
  }}<//>`;
}
