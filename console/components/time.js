// Times: local, with UTC on hover and for assistive technology.

import { html } from "../app/html.js";

const WITH_DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** @param {{ at: string }} props */
export function Time({ at }) {
  const date = new Date(at);
  const utc = Number.isNaN(date.getTime()) ? at : `${date.toISOString().replace("T", " ").replace("Z", "")} UTC`;
  const local = Number.isNaN(date.getTime()) ? at : WITH_DATE.format(date);
  return html`<time datetime=${at} title=${utc}>${local}</time>`;
}

/**
 * A day in UTC, such as `2026-11-30`.
 * @param {string} day
 */
export function formatDay(day) {
  const [year, month, date] = day.split("-").map(Number);
  return DAY.format(new Date(year ?? 0, (month ?? 1) - 1, date));
}

/**
 * A duration in its two largest units.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  if (seconds < 1) return "0 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.round((seconds % 86_400) / 3600)} h`;
}
