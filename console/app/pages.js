// The pages of the console, in the order of the navigation.

import { html } from "./html.js";
import { hasAnyPage, may } from "./roles.js";
import { EventsPage } from "../pages/events/page.js";
import { LogPage } from "../pages/log/page.js";
import { OverviewPage } from "../pages/overview/page.js";
import { ProjectionsPage } from "../pages/projections/page.js";
import { TokensPage } from "../pages/tokens/page.js";
import { UserPage } from "../pages/user/page.js";
import { UsersPage } from "../pages/users/page.js";
import { WebhookPage } from "../pages/webhook/page.js";
import { WebhooksPage } from "../pages/webhooks/page.js";

/** @typedef {import("./model.js").Me} Me */
/** @typedef {{ me: Me, query: URLSearchParams, rest: string[] }} Arrival */

/**
 * @param {string} path
 * @param {string} title
 * @param {import("./roles.js").Permission | null} permission
 * @param {(arrival: Arrival) => any} show
 */
function page(path, title, permission, show) {
  const isVisible = (/** @type {Me} */ me) => (permission ? may(me, permission) : hasAnyPage(me));
  return { path, title, permission, isVisible, show };
}

export const PAGES = [
  page("/", "Overview", null, ({ me }) => html`<${OverviewPage} me=${me} />`),
  page("/users", "Users", "users", ({ me, query, rest: [id] }) =>
    id ? html`<${UserPage} me=${me} id=${id} query=${query} key=${id} />` : html`<${UsersPage} query=${query} />`),
  page("/events", "Events", "events", ({ me, query }) => html`<${EventsPage} me=${me} query=${query} />`),
  page("/projections", "Read models", "projections", () => html`<${ProjectionsPage} />`),
  page("/webhooks", "Webhooks", "webhooks", ({ me, rest: [id] }) =>
    id ? html`<${WebhookPage} id=${id} key=${id} />` : html`<${WebhooksPage} me=${me} />`),
  page("/log", "Log", "log", ({ query }) => html`<${LogPage} query=${query} key=${query.get("position") ?? ""} />`),
  page("/tokens", "Machine tokens", "tokens", () => html`<${TokensPage} />`),
];
