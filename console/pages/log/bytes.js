// Bytes and base64, and SHA-256 by WebCrypto.

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * @param {string} base64
 * @returns {Bytes}
 */
export function decode(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** @param {Bytes} bytes */
export function encode(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** @param {Bytes[]} parts */
export function join(...parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return new Uint8Array(new TextEncoder().encode(text));
}

/** @param {Bytes[]} parts */
export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
}

/**
 * @param {Bytes} one
 * @param {Bytes} other
 */
export function isEqual(one, other) {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}
