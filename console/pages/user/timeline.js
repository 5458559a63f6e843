// What has happened to a user, field by field, newest first.

import { html } from "../../app/html.js";
import { Time } from "../../components/time.js";
import { Actor, Position, Value } from "../../components/values.js";

/** @typedef {import("../../app/model.js").HistoryEvent} HistoryEvent */

const FIELDS = /** @type {Record<string, string>} */ ({
  email: "E-mail", email_verified: "E-mail verified", username: "Username", password: "Password", is_active: "Active",
  roles: "Roles", is_locked: "Locked",
});

/** @param {{ events: HistoryEvent[] }} props */
export function Timeline({ events }) {
  return html`<ol class="timeline">
    ${events.toReversed().map((event) => html`<li key=${event.position}>
      <div class="timeline-head"><strong>${event.type}</strong><${Time} at=${event.at} /></div>
      ${event.changes.length > 0 && html`<ul class="changes">${event.changes.map((change) => html`<${Change} key=${change.field} change=${change} isFirst=${event.version === 1} />`)}</ul>`}
      ${event.reason && html`<p class="reason">Reason: <${Value} value=${event.reason} /></p>`}
      <p class="timeline-meta">
        <span>Position <${Position} position=${event.position} /></span>
        <span>version ${event.version}</span><span>by <${Actor} actor=${event.actor} /></span>
      </p>
    </li>`)}
  </ol>`;
}

/** @param {{ change: HistoryEvent["changes"][number], isFirst: boolean }} props */
function Change({ change, isFirst }) {
  const name = FIELDS[change.field] ?? change.field;
  if (change.field === "password") return html`<li><span class="change-field">${name}</span> ${isFirst ? "set" : "changed"}</li>`;
  if (isFirst) return html`<li><span class="change-field">${name}</span> <ins><${Value} value=${change.to} /></ins></li>`;
  return html`<li>
    <span class="change-field">${name}</span>${" "}
    <del><${Value} value=${change.from} /></del><span aria-hidden="true"> → </span><span class="visually-hidden">became</span><ins><${Value} value=${change.to} /></ins>
  </li>`;
}
