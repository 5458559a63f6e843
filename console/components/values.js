// Values from the log and from rows. They may contain anything, and are shown as text only.

import { html } from "../app/html.js";
import { link } from "../app/router.js";

const NUMBER = new Intl.NumberFormat();

/** @param {number} number */
export function formatNumber(number) {
  return NUMBER.format(number);
}

/** @param {{ value: import("../app/model.js").Value }} props */
export function Value({ value }) {
  if (value === null || value === undefined) return html`<span class="muted">none</span>`;
  if (typeof value === "boolean") return html`<span>${value ? "yes" : "no"}</span>`;
  if (Array.isArray(value)) return value.length ? html`<span>${value.join(", ")}</span>` : html`<span class="muted">none</span>`;
  if (typeof value === "object") return html`<span class="muted">erased</span>`;
  return html`<span class="text-value">${value}</span>`;
}

/** @param {{ id: string }} props */
export function Id({ id }) {
  return html`<code class="id">${id}</code>`;
}

/**
 * Who did something: a link for a user, text for all else.
 * @param {{ actor: string, linked?: boolean }} props
 */
export function Actor({ actor, linked = true }) {
  const user = /^user-(.+)$/.exec(actor)?.[1];
  if (!user || !linked) return html`<${Id} id=${actor} />`;
  return html`<a class="id" href=${link(`/users/${user}`)}>${actor}</a>`;
}

/** @param {{ position: number, linked?: boolean }} props */
export function Position({ position, linked = true }) {
  const text = formatNumber(position);
  return linked ? html`<a href=${link(`/log?position=${position}`)} class="number">${text}</a>` : html`<span class="number">${text}</span>`;
}

const TONES = /** @type {Record<string, string>} */ ({
  active: "good", current: "good", delivered: "good", live: "good", succeeded: "good", yes: "good",
  failing: "bad", halted: "bad", failed: "bad", unreadable: "bad", suspended: "bad", ahead_of_log: "bad",
  "catching up": "warn", waiting: "warn", building: "warn", stopped: "warn", unknown: "warn", dropping: "warn",
});

/** @param {{ state: string, tone?: string }} props */
export function Badge({ state, tone = TONES[state] ?? "plain" }) {
  return html`<span class=${`badge ${tone}`}>${state.replaceAll("_", " ")}</span>`;
}
