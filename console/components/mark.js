// The mark of the service, beside its name.

import { html } from "../app/html.js";

export function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path class="mark-shield" d="M16 2 4 6.500v8.300c0 7.300 5.100 12.700 12 15.200 6.900-2.500 12-7.900 12-15.200V6.500z" />
    <path class="mark-check" d="m10.500 16 4 4 7.500-8" />
  </svg>`;
}
