// Modal dialogs: confirmation of what changes something, and secrets that are shown once.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { asApiError } from "../app/api_error.js";
import { html } from "../app/html.js";

/**
 * @typedef {object} DialogProps
 * @property {string} title
 * @property {() => void} close
 * @property {unknown} [children]
 */

/** @param {DialogProps} props */
export function Dialog({ title, close, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="dialog-title" onClose=${close}>
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * A form that does one thing. `action` gets its fields and an idempotency key, the same for each repetition. With
 * `keepOpen` the caller replaces it by what the action has given.
 * @param {DialogProps & {
 *   confirm: string, danger?: boolean, disabled?: boolean, keepOpen?: boolean,
 *   action: (form: FormData, key: string) => Promise<unknown>,
 * }} props
 */
export function ActionDialog({ title, close, children, confirm, danger = false, disabled = false, keepOpen = false, action }) {
  const [error, setError] = useState(/** @type {import("../app/api_error.js").ApiError | null} */ (null));
  const [isRunning, setRunning] = useState(false);
  const key = useRef(crypto.randomUUID());
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (isRunning) return;
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    setRunning(true);
    setError(null);
    try {
      await action(form, key.current);
      if (!keepOpen) close();
    } catch (failure) {
      const problem = asApiError(failure);
      // What was refused may be sent again with other fields.
      if (problem.status >= 400 && problem.status < 500) key.current = crypto.randomUUID();
      setError(problem);
      setRunning(false);
    }
  };
  return html`<${Dialog} title=${title} close=${close}>
    <form onSubmit=${submit}>
      ${children}
      ${error && html`<p class="notice bad" role="alert">${error.message}</p>`}
      <div class="dialog-actions">
        <button type="button" class="button" onClick=${close}>Cancel</button>
        <button type="submit" class=${`button ${danger ? "danger" : "primary"}`} disabled=${disabled || isRunning}>
          ${isRunning ? "Working…" : confirm}
        </button>
      </div>
    </form>
  <//>`;
}

/** @param {{ title: string, secret: string, note: string, close: () => void }} props */
export function SecretDialog({ title, secret, note, close }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(secret);
    setCopied(true);
  };
  return html`<${Dialog} title=${title} close=${close}>
    <p>${note}</p>
    <p class="secret"><code>${secret}</code></p>
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${copy}>${isCopied ? "Copied" : "Copy"}</button>
      <button type="button" class="button primary" onClick=${close}>Done</button>
    </div>
  <//>`;
}
