// Events, newest first. Each opens to show its data.

import { html } from "../../app/html.js";
import { link } from "../../app/router.js";
import { Time } from "../../components/time.js";
import { Actor, Id, Position } from "../../components/values.js";

/** @typedef {import("../../app/model.js").AegisEvent} AegisEvent */

/** A UUID, or an imported ObjectId. */
export const USER_ID = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24})$/;

/** @param {{ events: AegisEvent[], isPersonal: boolean }} props */
export function EventList({ events, isPersonal }) {
  return html`<ol class="events" aria-label="Events, newest first">
    ${events.map((event) => html`<li key=${event.position}><${Event} event=${event} isPersonal=${isPersonal} /></li>`)}
  </ol>`;
}

/** @param {{ event: AegisEvent, isPersonal: boolean }} props */
function Event({ event, isPersonal }) {
  const isUser = isPersonal && USER_ID.test(event.subject);
  return html`<details class="event">
    <summary>
      <span class="event-position number">${event.position}</span>
      <span class="event-type">${event.type}</span>
      <span class="event-subject id">${event.subject}</span>
      <span class="event-time"><${Time} at=${event.time} /></span>
    </summary>
    <div class="event-body">
      <dl class="inline-facts">
        <div><dt>Position</dt><dd><${Position} position=${event.position} linked=${isPersonal} /></dd></div>
        <div><dt>Subject</dt><dd>${isUser ? html`<a class="id" href=${link(`/users/${event.subject}`)}>${event.subject}</a>` : html`<${Id} id=${event.subject} />`}</dd></div>
        <div><dt>Actor</dt><dd><${Actor} actor=${event.actor} linked=${isPersonal} /></dd></div>
        <div><dt>Event id</dt><dd><${Id} id=${event.id} /></dd></div>
      </dl>
      <pre class="json" tabindex="0" aria-label="Data of the event">${JSON.stringify(event.data, null, 2)}</pre>
    </div>
  </details>`;
}
