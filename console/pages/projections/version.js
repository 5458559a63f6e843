// One version of a read model.

import { html } from "../../app/html.js";
import { formatDuration, Time } from "../../components/time.js";
import { Badge, formatNumber } from "../../components/values.js";

/** @param {{ version: import("../../app/model.js").ProjectionVersion, act: (name: "rollback" | "drop" | "skip") => void }} props */
export function Version({ version, act }) {
  const isBuilding = version.role === "building";
  return html`
    <div class="version-head">
      <strong>Version ${version.version}</strong>
      <${Badge} state=${version.role} /> ${version.state !== "current" || version.role === "live" ? html`<${Badge} state=${version.state} />` : null}
      <span class="actions">
        ${version.role === "kept" && html`<button type="button" class="button small" onClick=${() => act("rollback")}>Roll back to it</button>`}
        ${version.role === "kept" && html`<button type="button" class="button small" onClick=${() => act("drop")}>Drop</button>`}
        ${version.state === "halted" && html`<button type="button" class="button small" onClick=${() => act("skip")}>Skip the event</button>`}
      </span>
    </div>
    ${isBuilding && html`<div class="progress">
      <progress max="100" value=${version.percent ?? 0} aria-label=${`Rebuild of version ${version.version}`}></progress>
      <span class="number">${(version.percent ?? 0).toFixed(1)} %</span>
      <span class="muted">${version.eta_seconds === undefined ? "time left unknown" : `${formatDuration(version.eta_seconds)} left`}</span>
    </div>`}
    <dl class="inline-facts">
      <div><dt>Position</dt><dd class="number">${formatNumber(version.position)}</dd></div>
      <div><dt>Lag</dt><dd class="number">${formatNumber(version.lag)} events, ${formatDuration(version.lag_seconds)}</dd></div>
      <div><dt>Rate</dt><dd class="number">${formatNumber(version.rate)} events/s</dd></div>
      <div><dt>Code</dt><dd class="number">${version.fold}</dd></div>
      <div><dt>Requested</dt><dd><${Time} at=${version.since} /> by <code class="id">${version.by}</code></dd></div>
      ${version.differed !== undefined && html`<div><dt>Compared</dt><dd><${Badge} state=${version.differed ? "rows differed" : "rows were the same"} tone=${version.differed ? "warn" : "good"} /></dd></div>`}
    </dl>
    ${version.error && html`<p class="notice bad">${version.error}</p>`}
  `;
}
