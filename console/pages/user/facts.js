// The facts about a user.

import { html } from "../../app/html.js";
import { Time } from "../../components/time.js";
import { Position, Value } from "../../components/values.js";

/** @typedef {import("../../app/model.js").User} User */

/**
 * `changed` names the facts that differ from those of now.
 * @param {{ user: User, changed?: Set<string> }} props
 */
export function Facts({ user, changed = new Set() }) {
  const facts = /** @type {[string, string, any][]} */ ([
    ["email", "E-mail", html`<${Value} value=${user.email} />`],
    ["username", "Username", html`<${Value} value=${user.username} />`],
    ["is_active", "Active", html`<${Value} value=${user.is_active} />`],
    ["email_verified", "E-mail verified", html`<${Value} value=${user.email_verified} />`],
    ["roles", "Roles", html`<${Value} value=${user.roles} />`],
    ["created_at", "Registered", html`<${Time} at=${user.created_at} />`],
    ["version", "Version", html`<span class="number">${user.version}</span>`],
    ["position", "Last event", html`<${Position} position=${user.position} />`],
  ]);
  return html`<dl class="facts card">
    ${facts.map(([field, title, value]) => html`<div key=${field} class=${`fact ${field === "email" ? "wide" : ""} ${changed.has(field) ? "changed" : ""}`}>
      <dt>${title}${changed.has(field) && html`<span class="visually-hidden">, differs from now</span>`}</dt><dd>${value}</dd>
    </div>`)}
  </dl>`;
}
