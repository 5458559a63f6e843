// How a webhook is shown in lists.

import { html } from "../../app/html.js";
import { link } from "../../app/router.js";
import { Badge, Id, formatNumber } from "../../components/values.js";
import { formatDuration } from "../../components/time.js";

/** @typedef {import("../../app/model.js").Webhook} Webhook */

const SUSPENSIONS = /** @type {Record<string, string>} */ ({
  failing: "not accepted for three days", gone: "the receiver answered 410", owner: "the owner may not read events any more",
});

/** @param {Webhook} webhook */
export function troubleOf(webhook) {
  if (webhook.suspended) return `suspended: ${SUSPENSIONS[webhook.suspended] ?? webhook.suspended}`;
  if (webhook.failing) return `${webhook.failing.error}, ${webhook.failing.attempts} attempts, next ${untilText(webhook.failing.next_attempt_at)}`;
  if (webhook.waiting) return `waits for the read model ${webhook.waiting}`;
  return webhook.unreadable ?? "";
}

/** @param {string} at */
function untilText(at) {
  const seconds = (Date.parse(at) - Date.now()) / 1000;
  return seconds > 0 ? `in ${formatDuration(seconds)}` : "now";
}

/** @type {import("../../components/table.js").Column<Webhook>[]} */
export const WEBHOOK_COLUMNS = [
  { title: "Webhook", show: (webhook) => html`<a href=${link(`/webhooks/${webhook.id}`)}>${webhook.description || webhook.id}</a>` },
  { title: "State", show: (webhook) => html`<${Badge} state=${webhook.state} />` },
  { title: "URL", className: "clip", show: (webhook) => html`<${Id} id=${webhook.url ?? "unreadable"} />` },
  { title: "Trouble", show: troubleOf },
  { title: "Delivered up to", className: "right", show: (webhook) => formatNumber(webhook.position) },
];
