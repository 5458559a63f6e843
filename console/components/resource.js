// Data of a page: loaded, loaded again, and shown in each of its states.

import { useCallback, useEffect, useRef, useState } from "../vendor/hooks.js";
import { asApiError } from "../app/api_error.js";
import { html } from "../app/html.js";
import { ErrorState, LoadingState, NoPermission } from "./states.js";

/** @typedef {import("../app/api_error.js").ApiError} ApiError */
/**
 * @template T
 * @typedef {{ value: T | null, error: ApiError | null, isLoading: boolean, reload: () => void }} Resource
 */

/**
 * Loads when `keys` change, and again every `interval` milliseconds. What was loaded stays while it is loaded again.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {readonly unknown[]} keys
 * @param {number} [interval]
 * @returns {Resource<T>}
 */
export function useResource(load, keys, interval) {
  const [state, setState] = useState(
    /** @type {{ value: T | null, error: ApiError | null, isLoading: boolean }} */ ({ value: null, error: null, isLoading: true }),
  );
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  const key = JSON.stringify(keys);
  const shown = useRef(key);
  useEffect(() => {
    const abort = new AbortController();
    const isSame = shown.current === key;
    shown.current = key;
    setState((before) => ({ value: isSame ? before.value : null, error: isSame ? before.error : null, isLoading: true }));
    latest.current(abort.signal).then(
      (value) => abort.signal.aborted || setState({ value, error: null, isLoading: false }),
      (error) => abort.signal.aborted || setState((before) => ({ value: before.value, error: asApiError(error), isLoading: false })),
    );
    return () => abort.abort();
  }, [key, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => {
    if (!interval) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && reload(), interval);
    return () => clearInterval(timer);
  }, [interval, reload]);
  return { ...state, reload };
}

/**
 * Shows a resource: while it is loading, after an error, and what was loaded.
 * @template T
 * @param {{ resource: Resource<T>, children: (value: T) => unknown, missing?: string, lines?: number }} props
 * @returns {any}
 */
export function Loaded({ resource, children, missing, lines }) {
  const { value, error, reload } = resource;
  if (error?.isForbidden) return html`<${NoPermission} />`;
  if (error && (value === null || error.isMissing)) return html`<${ErrorState} error=${error} retry=${reload} missing=${missing} />`;
  if (value === null) return html`<${LoadingState} lines=${lines} />`;
  return html`
    ${error && html`<p class="notice warning" role="status">Shown as loaded before. ${error.message}</p>`}
    ${children(value)}
  `;
}
