// Confirmations of changes to a read model.

import { write } from "../../app/api.js";
import { html } from "../../app/html.js";
import { ActionDialog } from "../../components/dialog.js";

/** @typedef {import("../../app/model.js").ProjectionVersion} ProjectionVersion */
/** @typedef {{ name: string, version: ProjectionVersion | null, reload: () => void, close: () => void }} Props */

/**
 * @param {Props} props
 * @param {string} path
 * @param {(form: FormData) => unknown} [body]
 */
function action({ name, reload }, path, body) {
  return async (/** @type {FormData} */ form) => {
    await write("POST", `/projections/${name}/${path}`, body ? { json: body(form) } : {});
    reload();
  };
}

/** @param {Props} props */
export function RebuildDialog(props) {
  return html`<${ActionDialog} title=${`Rebuild ${props.name}?`} confirm="Rebuild" close=${props.close} action=${action(props, "rebuild")}>
    <p>A new version is built from the log beside the live one, which is served meanwhile. When it has caught up, its rows are compared with those of the live version, and it takes over. The previous version is kept for a rollback.</p>
  <//>`;
}

/** @param {Props} props */
export function CancelDialog(props) {
  return html`<${ActionDialog} title="Cancel the rebuild?" confirm="Cancel the rebuild" danger close=${props.close} action=${action(props, "cancel")}>
    <p>The version that is being built is dropped. The live one is not affected.</p>
  <//>`;
}

/** @param {Props} props */
export function RollbackDialog(props) {
  const to = props.version?.version;
  return html`<${ActionDialog} title=${`Roll back ${props.name} to version ${to}?`} confirm="Roll back" close=${props.close} action=${action(props, "rollback", () => ({ to }))}>
    <p>Queries read version ${to} at once. The version that is live now is kept.</p>
  <//>`;
}

/** @param {Props} props */
export function DropDialog(props) {
  const version = props.version?.version;
  return html`<${ActionDialog} title=${`Drop version ${version} of ${props.name}?`} confirm="Drop" danger close=${props.close} action=${action(props, "drop", () => ({ version }))}>
    <p>Its rows are deleted. It can be built again from the log.</p>
  <//>`;
}

/** @param {Props} props */
export function SkipDialog(props) {
  const position = (props.version?.position ?? 0) + 1;
  const body = (/** @type {FormData} */ form) => ({ position, reason: String(form.get("reason") ?? "") });
  return html`<${ActionDialog} title=${`Skip event ${position} in ${props.name}?`} confirm="Skip the event" danger close=${props.close} action=${action(props, "skip", body)}>
    <p>The read model continues without this event, and stays incomplete. The decision is recorded in the log.</p>
    <label class="field"><span>Reason</span><input name="reason" required maxlength="200" autocomplete="off" /></label>
  <//>`;
}
