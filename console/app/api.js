// Requests to the API with the access token of the session.

import { ApiError, readError } from "./api_error.js";
import { apiPrefix } from "./page_settings.js";
import { accessToken } from "./session.js";

/** Codes of a 403 that concern the token, not the authority of its user. */
const VOID_TOKEN = new Set(["invalid_token", "token_revoked", "inactive_user"]);

/**
 * @typedef {object} RequestOptions
 * @property {Record<string, string | number | undefined>} [query] left out where undefined
 * @property {unknown} [json]
 * @property {string} [key] an idempotency key
 * @property {AbortSignal} [signal]
 * @property {string} [accept]
 */

/**
 * @param {string} method
 * @param {string} path below the prefix of the API
 * @param {RequestOptions} options
 * @returns {Promise<Response>}
 */
export async function request(method, path, options = {}) {
  const token = await accessToken();
  const answer = await send(method, path, options, token);
  if (answer.ok) return answer;
  const error = await readError(answer);
  if (!isVoid(error)) throw error;
  // A change of the password or a logout elsewhere voids the token; the session may still be open.
  const second = await send(method, path, options, await accessToken(token));
  if (!second.ok) throw await readError(second);
  return second;
}

/** @param {ApiError} error */
function isVoid(error) {
  return error.status === 401 || (error.status === 403 && VOID_TOKEN.has(error.code));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {RequestOptions} options
 * @param {string} token
 */
function send(method, path, { query, json, key, signal, accept }, token) {
  const url = new URL(apiPrefix.replace(/\/$/, "") + path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  const headers = new Headers({ authorization: `Bearer ${token}` });
  if (json !== undefined) headers.set("content-type", "application/json");
  if (key) headers.set("idempotency-key", key);
  if (accept) headers.set("accept", accept);
  const body = json === undefined ? null : JSON.stringify(json);
  return fetch(url, { method, headers, body, signal: signal ?? null, credentials: "omit", cache: "no-store" });
}

/**
 * @template T
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<T>}
 */
export async function getJson(path, options) {
  return (await request("GET", path, options)).json();
}

/**
 * @param {string} path
 * @param {RequestOptions} [options]
 */
export async function getText(path, options) {
  return (await request("GET", path, options)).text();
}

/**
 * Sends a write; the body of the answer, or null without one.
 * @param {string} method
 * @param {string} path
 * @param {RequestOptions} [options]
 */
export async function write(method, path, options) {
  const answer = await request(method, path, options);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}
