// The user as of any position of the log, chosen with a slider. Between two events of the user nothing changes, so one
// request for each event is enough.

import { useEffect, useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { replaceQuery } from "../../app/router.js";
import { Section } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { Time } from "../../components/time.js";
import { formatNumber } from "../../components/values.js";
import { Facts } from "./facts.js";

/** @typedef {import("../../app/model.js").User} User */
/** @typedef {import("../../app/model.js").HistoryEvent} HistoryEvent */

const COMPARED = /** @type {const} */ (["email", "username", "is_active", "email_verified", "roles"]);

/**
 * @param {User} then
 * @param {User | null} now
 */
function differences(then, now) {
  return new Set(now ? COMPARED.filter((field) => JSON.stringify(then[field]) !== JSON.stringify(now[field])) : []);
}

/** @param {{ path: string, events: HistoryEvent[], current: User | null, start: number | null }} props */
export function AsOf({ path, events, current, start }) {
  const first = events[0]?.position ?? 0, last = events.at(-1)?.position ?? 0;
  const clamp = (/** @type {number} */ position) => Math.min(Math.max(position, first), last);
  const [position, setPosition] = useState(clamp(start ?? last));
  useEffect(() => replaceQuery({ as_of: position === last ? undefined : position }), [position, last]);
  const event = events.findLast((candidate) => candidate.position <= position);
  if (!event || first === last) return null;
  const index = events.indexOf(event);
  const step = (/** @type {number} */ to) => setPosition(clamp(events[to]?.position ?? position));
  return html`<${Section} title="As of a position" note=${`Event ${index + 1} of ${events.length}`} className="as-of">
    <div class="card slider-card">
      <div class="slider">
        <button type="button" class="button" onClick=${() => step(index - 1)} disabled=${index === 0}>Earlier</button>
        <input type="range" min=${first} max=${last} value=${position} aria-label="Position of the log"
          aria-valuetext=${`Position ${position}, after ${event.type}`}
          onInput=${(/** @type {Event} */ input) => setPosition(Number(/** @type {HTMLInputElement} */ (input.currentTarget).value))} />
        <button type="button" class="button" onClick=${() => step(index + 1)} disabled=${index === events.length - 1}>Later</button>
      </div>
      <${Marks} events=${events} first=${first} last=${last} />
      <p class="slider-caption">Position <strong class="number">${formatNumber(position)}</strong>, after <strong>${event.type}</strong> <${Time} at=${event.at} /></p>
    </div>
    <${UserAt} path=${path} event=${event} current=${current} />
  <//>`;
}

/** @param {{ events: HistoryEvent[], first: number, last: number }} props */
function Marks({ events, first, last }) {
  return html`<svg class="marks" viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true">
    ${events.map(({ position }) => html`<rect key=${position} x=${((position - first) / (last - first)) * 994} y="0" width="6" height="6" />`)}
  </svg>`;
}

/** @param {{ path: string, event: HistoryEvent, current: User | null }} props */
function UserAt({ path, event, current }) {
  const user = useResource(
    async (signal) => /** @type {User} */ (await getJson(path, { signal, query: { as_of: event.position } })), [path, event.position],
  );
  return html`<${Loaded} resource=${user} lines=${3} missing="Erased at this position">${(/** @type {User} */ value) =>
    html`<${Facts} user=${value} changed=${differences(value, current)} />`}<//>`;
}
