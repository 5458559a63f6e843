// The read models and their versions.

import { useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { Page, Section } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { formatNumber } from "../../components/values.js";
import { CancelDialog, DropDialog, RebuildDialog, RollbackDialog, SkipDialog } from "./dialogs.js";
import { Version } from "./version.js";

/** @typedef {import("../../app/model.js").Projection} Projection */
/** @typedef {import("../../app/model.js").ProjectionVersion} ProjectionVersion */

const REFRESH_MS = 5000;
const REFRESH_WHILE_BUILDING_MS = 1000;
const DIALOGS = { rebuild: RebuildDialog, cancel: CancelDialog, rollback: RollbackDialog, drop: DropDialog, skip: SkipDialog };
/** @typedef {keyof typeof DIALOGS} DialogName */

export function ProjectionsPage() {
  const [isBuilding, setBuilding] = useState(false);
  const projections = useResource(
    async (signal) => {
      const value = /** @type {{ projections: Projection[] }} */ (await getJson("/projections", { signal }));
      setBuilding(value.projections.some(({ versions }) => versions.some(({ role }) => role !== "live" && role !== "kept")));
      return value;
    },
    [], isBuilding ? REFRESH_WHILE_BUILDING_MS : REFRESH_MS,
  );
  return html`<${Page} title="Read models" subtitle="A rebuild reads the whole log into a new version beside the live one, compares the rows, and takes over when it has caught up.">
    <${Loaded} resource=${projections} lines=${8}>${(/** @type {{ projections: Projection[] }} */ value) =>
      value.projections.map((projection) => html`<${ReadModel} key=${projection.name} projection=${projection} reload=${projections.reload} />`)}<//>
  <//>`;
}

/** @param {{ projection: Projection, reload: () => void }} props */
function ReadModel({ projection, reload }) {
  const [open, setOpen] = useState(/** @type {{ name: DialogName, version: ProjectionVersion | null } | null} */ (null));
  const Chosen = open && DIALOGS[open.name];
  const isBuilding = projection.versions.some(({ role }) => role === "building");
  const actions = isBuilding
    ? html`<button type="button" class="button" onClick=${() => setOpen({ name: "cancel", version: null })}>Cancel the rebuild</button>`
    : html`<button type="button" class="button" onClick=${() => setOpen({ name: "rebuild", version: null })}>Rebuild</button>`;
  return html`<${Section} title=${projection.name} note=${`Head ${formatNumber(projection.head)}`} actions=${actions}>
    <p class="muted owner">${projection.owner ? html`Maintained by <code class="id">${projection.owner}</code>` : "No node maintains it at present"}</p>
    <ul class="versions">
      ${projection.versions.toReversed().map((version) => html`<li key=${version.version} class="card">
        <${Version} version=${version} act=${(/** @type {DialogName} */ name) => setOpen({ name, version })} />
      </li>`)}
    </ul>
    ${open && html`<${Chosen} name=${projection.name} version=${open.version} reload=${reload} close=${() => setOpen(null)} />`}
  <//>`;
}
