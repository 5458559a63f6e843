// The steps of a verification and its result.

import { html } from "../../app/html.js";
import { Badge } from "../../components/values.js";

/** @param {{ steps: import("./proofs.js").Step[], valid: string, refused: string }} props */
export function Steps({ steps, valid, refused }) {
  const isValid = steps.every((step) => step.isValid);
  return html`
    <p class=${isValid ? "notice good verdict" : "notice bad verdict"} role="status">${isValid ? valid : refused}</p>
    <ol class="steps card">
      ${steps.map((step, index) => html`<li key=${index} class=${step.isValid ? "step" : "step refused"}>
        <div class="step-head"><strong>${step.title}</strong><${Badge} state=${step.isValid ? "valid" : "refused"} tone=${step.isValid ? "good" : "bad"} /></div>
        <p class="muted">${step.detail}</p>
        ${step.hash && html`<code class="hash">${step.hash}</code>`}
      </li>`)}
    </ol>
  `;
}
