// The last attempts to deliver to a webhook, with their latency.

import { useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { MoreButton } from "../../components/more_button.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Table } from "../../components/table.js";
import { Time } from "../../components/time.js";
import { Badge, formatNumber } from "../../components/values.js";

/** @typedef {import("../../app/model.js").Attempt} Attempt */
/** @typedef {{ deliveries: Attempt[], next?: number }} AttemptPage */

const PAGE_SIZE = 50;

/** @param {Attempt[]} attempts */
function columns(attempts) {
  const slowest = Math.max(1, ...attempts.map(({ latency_ms: latency }) => latency));
  return /** @type {import("../../components/table.js").Column<Attempt>[]} */ ([
    { title: "Time", show: (attempt) => html`<${Time} at=${attempt.at} />` },
    { title: "Result", show: (attempt) => html`<${Badge} state=${attempt.delivered ? "delivered" : "failed"} />` },
    { title: "Answer", show: (attempt) => attempt.error ?? `status ${attempt.status}` },
    { title: "Latency", show: (attempt) => html`<${Latency} attempt=${attempt} slowest=${slowest} />` },
    { title: "Event", show: (attempt) => `${attempt.type}${attempt.replay ? " (replay)" : ""}` },
    { title: "Position", className: "right", show: (attempt) => formatNumber(attempt.position) },
    { title: "Attempt", className: "right", show: (attempt) => attempt.attempt },
  ]);
}

/** @param {{ attempt: Attempt, slowest: number }} props */
function Latency({ attempt, slowest }) {
  return html`<span class="latency">
    <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class=${attempt.delivered ? "bar" : "bar bad"} width=${Math.max(2, (attempt.latency_ms / slowest) * 100)} height="6" rx="1" /></svg>
    <span class="number">${formatNumber(attempt.latency_ms)} ms</span>
  </span>`;
}

/** @param {{ path: string, round: string }} props */
export function Attempts({ path, round }) {
  const [more, setMore] = useState(/** @type {AttemptPage[]} */ ([]));
  const load = async (/** @type {number | undefined} */ before) =>
    /** @type {AttemptPage} */ (await getJson(`${path}/deliveries`, { query: { limit: PAGE_SIZE, before } }));
  const first = useResource(() => load(undefined), [path, round]);
  return html`<${Loaded} resource=${first} lines=${4}>${(/** @type {AttemptPage} */ page) => {
    const pages = [page, ...more];
    const attempts = pages.flatMap(({ deliveries }) => deliveries);
    const next = pages.at(-1)?.next;
    if (attempts.length === 0) return html`<${EmptyState} title="No attempt yet" />`;
    return html`
      <${Table} label="Attempts" columns=${columns(attempts)} rows=${attempts} rowKey=${(/** @type {Attempt} */ row) => row.number} />
      ${next && html`<${MoreButton} load=${() => load(next).then((found) => setMore([...more, found]))} />`}
    `;
  }}<//>`;
}
