// Totals of users, and charts of the last days.

import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { DayChart } from "../../components/chart.js";
import { Loaded, useResource } from "../../components/resource.js";
import { formatNumber } from "../../components/values.js";
import { lastDays, fillDays } from "./days.js";

const DAYS = 30;
const REFRESH_MS = 60_000;

export function Figures() {
  const days = lastDays(DAYS, new Date());
  const stats = useResource(
    async (signal) => /** @type {import("../../app/model.js").Stats} */ (await getJson("/stats", { signal, query: { from: days[0] } })),
    [days[0]], REFRESH_MS,
  );
  return html`<${Loaded} resource=${stats} lines=${6}>${(/** @type {import("../../app/model.js").Stats} */ value) =>
    html`<${Charts} stats=${value} days=${days} />`}<//>`;
}

/** @param {{ stats: import("../../app/model.js").Stats, days: string[] }} props */
function Charts({ stats, days }) {
  const filled = fillDays(days, stats);
  const total = (/** @type {number[]} */ values) => formatNumber(values.reduce((sum, value) => sum + value, 0));
  const figures = /** @type {const} */ ([
    ["Active users", stats.active], ["Registered ever", stats.registered], ["Deactivated", stats.deactivated],
    ["Erased", stats.erased], ["Counted up to position", stats.position],
  ]);
  return html`
    <dl class="figures">
      ${figures.map(([name, value]) => html`<div class="figure" key=${name}><dt>${name}</dt><dd>${formatNumber(value)}</dd></div>`)}
    </dl>
    <div class="charts">
      <${DayChart} title="Sign-ups a day" summary=${`${total(filled.registered)} in ${days.length} days`} days=${days} values=${filled.registered} />
      <${DayChart} title="Logins a day" summary=${`${total(filled.logins)} in ${days.length} days`} days=${days} values=${filled.logins} />
      <${DayChart} title="Failed logins a day" summary=${`${total(filled.failed)} in ${days.length} days`} days=${days} values=${filled.failed} colour="--chart-bad" />
      <${DayChart} title="Active users" summary=${`${formatNumber(stats.active)} now`} days=${days} values=${filled.active} kind="line" />
    </div>
  `;
}
