// The session of the visitor. The access token exists in the memory of this module alone; the refresh token is in a
// cookie that scripts cannot read, and that is sent to the paths of the console only.

import { ApiError, readError } from "./api_error.js";

/** Renewed this long before it expires, so that no request is sent with a token that expires on its way. */
const RENEWAL_MARGIN_MS = 30_000;

/** @typedef {{ access_token: string, expires_in: number }} Tokens */

/** @type {{ token: string, expiresAt: number } | null} */
let access = null;
/** @type {Promise<void> | null} */
let renewal = null;
/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * Calls `listener` when the session has ended.
 * @param {() => void} listener
 */
export function onSessionEnd(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * @param {string} path
 * @param {URLSearchParams} [form]
 */
async function post(path, form) {
  const answer = await fetch(`/console/${path}`, { method: "POST", body: form ?? null, credentials: "same-origin" });
  if (!answer.ok) throw await readError(answer);
  return answer;
}

/** @param {Response} answer */
async function accept(answer) {
  const tokens = /** @type {Tokens} */ (await answer.json());
  access = { token: tokens.access_token, expiresAt: Date.now() + tokens.expires_in * 1000 };
}

/**
 * @param {string} email
 * @param {string} password
 */
export async function logIn(email, password) {
  await accept(await post("login", new URLSearchParams({ username: email, password })));
}

/** Ends the session, here and at the service. */
export async function logOut() {
  await post("logout");
  end();
}

function end() {
  access = null;
  for (const listener of listeners) listener();
}

/** Exchanges the cookie for a new access token; requests that need one at the same time share the exchange. */
function renew() {
  renewal ??= post("token")
    .then(accept)
    .catch((error) => {
      const isOver = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
      if (isOver) end();
      throw error;
    })
    .finally(() => {
      renewal = null;
    });
  return renewal;
}

/**
 * An access token that is valid for a while.
 * @param {string} [refused] a token that the service has just refused
 */
export async function accessToken(refused) {
  if (access && access.token === refused) access = null;
  if (!access || access.expiresAt - Date.now() < RENEWAL_MARGIN_MS) await renew();
  if (!access) throw new ApiError(401, "not_authenticated", "Not logged in");
  return access.token;
}
