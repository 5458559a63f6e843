// Signed checkpoints of the log (c2sp.org/tlog-checkpoint) and the keys that verify them (c2sp.org/signed-note).

import { decode, isEqual, sha256, utf8 } from "./bytes.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {{ name: string, id: Bytes, key: Bytes }} VerifierKey */
/** @typedef {{ origin: string, size: number, root: Bytes, signed: string, signatures: { name: string, value: Bytes }[] }} Checkpoint */

const ED25519 = 0x01;
const ID_LENGTH = 4;

/**
 * @param {string} text one line, `name+hash+key`
 * @returns {VerifierKey}
 */
export function parseKey(text) {
  const [name, id, ...rest] = text.trim().split("+");
  if (!name || !id || rest.length === 0 || !/^[0-9a-f]{8}$/.test(id)) throw new Error("This is not a key: it should be one line, aegis/…+…+…");
  const bytes = decode(rest.join("+"));
  if (bytes[0] !== ED25519 || bytes.length !== 33) throw new Error("This is not an Ed25519 key");
  return { name, id: Uint8Array.from(id.match(/../g) ?? [], (byte) => parseInt(byte, 16)), key: bytes.slice(1) };
}

/**
 * @param {string} text
 * @returns {Checkpoint}
 */
export function parseCheckpoint(text) {
  const normalized = text.replaceAll("\r\n", "\n").replace(/^\s+/, "").replace(/\s*$/, "\n");
  const end = normalized.indexOf("\n\n");
  const [origin, size, root] = normalized.slice(0, end).split("\n");
  if (end < 0 || !origin || !size || !root || !/^[1-9]\d{0,15}$/.test(size)) throw new Error("This is not a checkpoint: it should begin with the name of the log, the number of events and the root");
  const lines = normalized.slice(end + 2).split("\n").filter(Boolean);
  const signatures = lines.map((line) => {
    const [, name, value] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    if (!name || !value) throw new Error("A signature line of the checkpoint is damaged");
    return { name, value: decode(value) };
  });
  return { origin, size: Number(size), root: decode(root), signed: normalized.slice(0, end + 1), signatures };
}

/**
 * Whether the four bytes that name a key are those of the key.
 * @param {VerifierKey} key
 */
export async function isKeyConsistent({ name, id, key }) {
  const hash = await sha256(utf8(`${name}\n`), Uint8Array.of(ED25519), key);
  return isEqual(hash.slice(0, ID_LENGTH), id);
}

/**
 * Whether the key has signed the checkpoint.
 * @param {Checkpoint} checkpoint
 * @param {VerifierKey} verifier
 */
export async function isSigned(checkpoint, { name, id, key }) {
  if (checkpoint.origin !== name) return false;
  const signature = checkpoint.signatures.find((line) => line.name === name && isEqual(line.value.slice(0, ID_LENGTH), id));
  if (!signature) return false;
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature.value.slice(ID_LENGTH), utf8(checkpoint.signed));
}
