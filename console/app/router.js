// Paths of the console and the history of the browser. Links are ordinary links; clicks on those of the console are
// handled here, so that no page is loaded twice.

import { useEffect, useState } from "../vendor/hooks.js";

const BASE = "/console";

/** @typedef {{ path: string, query: URLSearchParams }} Place */

/** @returns {Place} */
function current() {
  const path = location.pathname.slice(BASE.length).replace(/\/+$/, "");
  return { path: path || "/", query: new URLSearchParams(location.search) };
}

/**
 * The address of a page, such as `/users/17`.
 * @param {string} path
 */
export function link(path) {
  return path === "/" ? BASE : BASE + path;
}

/** @param {string} path */
export function navigate(path) {
  history.pushState(null, "", link(path));
  dispatchEvent(new PopStateEvent("popstate"));
}

/**
 * Replaces the query of the current address, so that it is a deep link to what is shown.
 * @param {Record<string, string | number | undefined>} values
 */
export function replaceQuery(values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== "") query.set(name, String(value));
  const text = query.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

/** @param {MouseEvent} event */
function followLink(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const anchor = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.hasAttribute("download")) return;
  const isOfConsole = anchor.pathname === BASE || anchor.pathname.startsWith(`${BASE}/`);
  if (anchor.origin !== location.origin || !isOfConsole || anchor.hash) return;
  event.preventDefault();
  navigate(anchor.pathname.slice(BASE.length) + anchor.search || "/");
}

/** The current place; renders again when it changes. */
export function usePlace() {
  const [place, setPlace] = useState(current);
  useEffect(() => {
    const update = () => setPlace(current());
    addEventListener("popstate", update);
    document.addEventListener("click", followLink);
    return () => {
      removeEventListener("popstate", update);
      document.removeEventListener("click", followLink);
    };
  }, []);
  return place;
}
