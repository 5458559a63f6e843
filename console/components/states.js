// What a page shows when it has nothing to show: loading, empty, error, no permission.

import { html } from "../app/html.js";

/** @param {{ lines?: number }} props */
export function LoadingState({ lines = 4 }) {
  return html`<div class="loading" role="status">
    <span class="visually-hidden">Loading</span>
    ${Array.from({ length: lines }, (_, line) => html`<span class="skeleton" key=${line}></span>`)}
  </div>`;
}

/** @param {{ title: string, children?: unknown }} props */
export function EmptyState({ title, children }) {
  return html`<div class="state"><p class="state-title">${title}</p>${children && html`<p>${children}</p>`}</div>`;
}

/** @param {{ error: import("../app/api_error.js").ApiError, retry?: () => void, missing?: string | undefined }} props */
export function ErrorState({ error, retry, missing }) {
  const title = error.isMissing && missing ? missing : error.message;
  return html`<div class="state" role="alert">
    <p class="state-title">${title}</p>
    <p class="muted">
      ${error.status ? `Status ${error.status}, ${error.code}` : error.code}
      ${error.requestId && html`, request <code>${error.requestId}</code>`}
    </p>
    ${retry && html`<button type="button" class="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

export function NoPermission() {
  return html`<div class="state">
    <p class="state-title">You do not have permission to see this</p>
    <p>Your roles do not include it. An administrator can grant them.</p>
  </div>`;
}
