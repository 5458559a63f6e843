// Proves that nothing was changed since a checkpoint that the visitor has kept.

import { useState } from "../../vendor/hooks.js";
import { getJson, getText } from "../../app/api.js";
import { asApiError } from "../../app/api_error.js";
import { html } from "../../app/html.js";
import { Section } from "../../components/page.js";
import { parseCheckpoint } from "./checkpoint.js";
import { verifyConsistency } from "./proofs.js";
import { Steps } from "./steps.js";

/** @typedef {import("../../app/model.js").ConsistencyProof} ConsistencyProof */

/**
 * @param {string} kept
 * @param {string} key
 */
async function verify(kept, key) {
  const from = parseCheckpoint(kept).size;
  const current = await getText("/log/checkpoint");
  const to = parseCheckpoint(current).size;
  if (from > to) throw new Error(`Your checkpoint is of ${from} events, and the log has ${to}: it was truncated, or restored from a backup, or the checkpoint is of another log.`);
  const proof = /** @type {ConsistencyProof} */ (await getJson("/log/consistency", { query: { from, to } }));
  return verifyConsistency(proof, kept, current, key);
}

/** @param {{ verifierKey: string }} props */
export function Consistency({ verifierKey }) {
  const [steps, setSteps] = useState(/** @type {import("./proofs.js").Step[] | null} */ (null));
  const [error, setError] = useState("");
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const kept = String(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("checkpoint"));
    setSteps(null);
    setError("");
    try {
      setSteps(await verify(kept, verifierKey));
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : asApiError(failure).message);
    }
  };
  return html`<${Section} title="Was anything changed since your checkpoint?">
    <form class="stacked" onSubmit=${submit}>
      <label class="field"><span>A checkpoint that you have kept elsewhere</span>
        <textarea name="checkpoint" rows="5" required spellcheck="false" placeholder="aegis/0193…"></textarea>
      </label>
      <button type="submit" class="button primary">Verify in this browser</button>
    </form>
    <div role="alert">${error && html`<p class="notice bad">${error}</p>`}</div>
    ${steps && html`<${Steps} steps=${steps} valid="Nothing before your checkpoint was changed, removed or inserted." refused="The log does not continue your checkpoint. Do not trust it." />`}
  <//>`;
}
