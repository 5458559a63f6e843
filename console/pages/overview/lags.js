// The lag of each read model.

import { html } from "../../app/html.js";
import { link } from "../../app/router.js";
import { Section } from "../../components/page.js";
import { Loaded } from "../../components/resource.js";
import { Table } from "../../components/table.js";
import { formatDuration } from "../../components/time.js";
import { Badge, formatNumber } from "../../components/values.js";

/** @typedef {import("../../app/model.js").Projection} Projection */

/** @param {Projection} projection */
function live(projection) {
  return projection.versions.find(({ version }) => version === projection.live);
}

/** @type {import("../../components/table.js").Column<Projection>[]} */
const COLUMNS = [
  { title: "Read model", show: ({ name }) => html`<a href=${link("/projections")}>${name}</a>` },
  { title: "State", show: (projection) => html`<${Badge} state=${live(projection)?.state ?? "unknown"} />` },
  { title: "Lag", className: "right", show: (projection) => `${formatNumber(live(projection)?.lag ?? 0)} events` },
  { title: "Age", className: "right", show: (projection) => formatDuration(live(projection)?.lag_seconds ?? 0) },
  { title: "Position", className: "right", show: (projection) => formatNumber(live(projection)?.position ?? 0) },
];

/** @param {{ projections: import("../../components/resource.js").Resource<{ projections: Projection[] }> }} props */
export function Lags({ projections }) {
  const head = projections.value?.projections[0]?.head;
  return html`<${Section} title="Read models" note=${head === undefined ? "" : `Head of the log: ${formatNumber(head)}`}>
    <${Loaded} resource=${projections} lines=${3}>${(/** @type {{ projections: Projection[] }} */ { projections: rows }) =>
      html`<${Table} label="Read models" columns=${COLUMNS} rows=${rows} rowKey=${(/** @type {Projection} */ row) => row.name} />`}<//>
  <//>`;
}
