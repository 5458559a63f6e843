// Proves that an event is in the log.

import { useEffect, useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { asApiError } from "../../app/api_error.js";
import { html } from "../../app/html.js";
import { replaceQuery } from "../../app/router.js";
import { Section } from "../../components/page.js";
import { ErrorState, LoadingState } from "../../components/states.js";
import { verifyInclusion } from "./proofs.js";
import { Steps } from "./steps.js";

/** @typedef {import("../../app/model.js").InclusionProof} InclusionProof */

/** @param {string} event */
function formatted(event) {
  try {
    return JSON.stringify(JSON.parse(event), null, 2);
  } catch {
    return event;
  }
}

/** @param {{ verifierKey: string, start: number | null, size: number }} props */
export function Inclusion({ verifierKey, start, size }) {
  const [position, setPosition] = useState(start);
  const [result, setResult] = useState(/** @type {{ steps: import("./proofs.js").Step[], proof: InclusionProof } | null} */ (null));
  const [error, setError] = useState(/** @type {import("../../app/api_error.js").ApiError | null} */ (null));
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (position === null) return undefined;
    const abort = new AbortController();
    setResult(null);
    setError(null);
    replaceQuery({ position });
    /** @type {Promise<InclusionProof>} */ (getJson(`/log/proof/${position}`, { signal: abort.signal }))
      .then(async (proof) => ({ proof, steps: await verifyInclusion(proof, position, verifierKey) }))
      .then((found) => abort.signal.aborted || setResult(found), (failure) => abort.signal.aborted || setError(asApiError(failure)));
    return () => abort.abort();
  }, [position, verifierKey, round]);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    setPosition(Number(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("position")));
    setRound((before) => before + 1);
  };
  return html`<${Section} title="Is an event in the log?">
    <form class="filters" onSubmit=${submit}>
      <label class="field"><span>Position</span><input name="position" type="number" min="1" max=${size} required defaultValue=${start ?? ""} /></label>
      <button type="submit" class="button primary">Verify in this browser</button>
    </form>
    ${error && html`<${ErrorState} error=${error} missing="There is no event at this position" />`}
    ${position !== null && !result && !error && html`<${LoadingState} lines=${5} />`}
    ${result && html`
      <${Steps} steps=${result.steps} valid=${`Event ${position} is in the log, unchanged.`} refused="The proof is refused. Do not trust this log." />
      <details class="event"><summary>The event as it was hashed</summary><pre class="json" tabindex="0" aria-label="The event as it was hashed">${formatted(result.proof.event)}</pre></details>
    `}
  <//>`;
}
