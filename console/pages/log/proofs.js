// Verification of proofs in the browser, step by step (RFC 6962 §2.1). `docs/verify.md` has the same in pseudocode.
// Positions stay below 2^53, so ordinary numbers are exact; bit operators are not used, as they end at 2^31.

import { decode, encode, isEqual, sha256, utf8 } from "./bytes.js";
import { isKeyConsistent, isSigned, parseCheckpoint, parseKey } from "./checkpoint.js";

/** @typedef {import("./bytes.js").Bytes} Bytes */
/** @typedef {import("../../app/model.js").InclusionProof} InclusionProof */
/** @typedef {import("../../app/model.js").ConsistencyProof} ConsistencyProof */
/** @typedef {{ title: string, isValid: boolean, detail: string, hash?: string }} Step */

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

const isOdd = (/** @type {number} */ number) => number % 2 === 1;
const half = (/** @type {number} */ number) => Math.floor(number / 2);

/**
 * The steps that the key and the signature of a checkpoint take.
 * @param {string} keyText
 * @param {string} checkpointText
 */
async function verifySignature(keyText, checkpointText) {
  const key = parseKey(keyText), checkpoint = parseCheckpoint(checkpointText);
  const isConsistent = await isKeyConsistent(key);
  const isAuthentic = await isSigned(checkpoint, key);
  const steps = /** @type {Step[]} */ ([
    { title: "The key has the name that it claims", isValid: isConsistent, detail: "First four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)" },
    { title: "The key has signed the checkpoint", isValid: isAuthentic, detail: `Ed25519, ${checkpoint.origin}, ${checkpoint.size} events` },
  ]);
  return { checkpoint, steps };
}

/**
 * Every step of an inclusion proof. It is valid if all of them are.
 * @param {InclusionProof} proof
 * @param {number} position the one that was asked for
 * @param {string} key
 */
export async function verifyInclusion(proof, position, key) {
  const { checkpoint, steps } = await verifySignature(key, proof.checkpoint);
  const root = decode(proof.root);
  steps.push({
    title: "The checkpoint states the size and the root of the proof", isValid: checkpoint.size === proof.size && isEqual(checkpoint.root, root),
    detail: `${proof.size} events`, hash: proof.root,
  });
  steps.push({ title: "The event is the one at this position", isValid: positionOf(proof.event) === position && proof.position === position, detail: `Position ${position}` });
  let hash = await sha256(LEAF, utf8(proof.event));
  steps.push({ title: "The leaf is the hash of the event", isValid: isEqual(hash, decode(proof.leaf)), detail: "SHA-256(0x00 ‖ event)", hash: encode(hash) });
  let node = position - 1, last = proof.size - 1, level = 0;
  for (const sibling of proof.proof.map(decode)) {
    level += 1;
    const isRight = isOdd(node) || node === last;
    const isPossible = last > 0;
    hash = isRight ? await sha256(NODE, sibling, hash) : await sha256(NODE, hash, sibling);
    if (isRight) while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    const detail = isRight ? "SHA-256(0x01 ‖ sibling ‖ own)" : "SHA-256(0x01 ‖ own ‖ sibling)";
    steps.push({ title: `Step ${level}: joined with the ${isRight ? "left" : "right"} sibling`, isValid: isPossible, detail, hash: encode(hash) });
    [node, last] = [half(node), half(last)];
  }
  const isRoot = last === 0 && isEqual(hash, root);
  steps.push({ title: "The last hash is the root that was signed", isValid: isRoot, detail: isRoot ? "The event is in the log" : "It is another hash", hash: encode(hash) });
  return steps;
}

/** @param {string} event */
function positionOf(event) {
  try {
    return JSON.parse(event).position;
  } catch {
    return null;
  }
}

/**
 * Every step of a consistency proof from a checkpoint that the visitor has kept to one of now.
 * @param {ConsistencyProof} proof
 * @param {string} kept
 * @param {string} current
 * @param {string} key
 */
export async function verifyConsistency(proof, kept, current, key) {
  const own = await verifySignature(key, kept), now = await verifySignature(key, current);
  const [ownSignature, nowSignature] = [own.steps[1], now.steps[1]];
  const steps = /** @type {Step[]} */ ([
    own.steps[0], { ...ownSignature, title: "The key has signed your checkpoint" }, { ...nowSignature, title: "The key has signed the current checkpoint" },
  ]);
  const { size: from, root: fromRoot } = own.checkpoint, { size: to, root: toRoot } = now.checkpoint;
  steps.push({ title: "The proof leads from your checkpoint to the current one", isValid: proof.from === from && proof.to === to && from <= to, detail: `${from} to ${to} events` });
  const [before, after] = await walk(from, to, fromRoot, proof.proof.map(decode));
  steps.push({ title: "The proof leads to the root of your checkpoint", isValid: before !== null && isEqual(before, fromRoot), detail: `${from} events`, hash: before ? encode(before) : "" });
  steps.push({ title: "The proof leads to the root of the current checkpoint", isValid: after !== null && isEqual(after, toRoot), detail: `${to} events`, hash: after ? encode(after) : "" });
  return steps;
}

/**
 * The two roots that a consistency proof leads to; null if it is malformed.
 * @param {number} from
 * @param {number} to
 * @param {Bytes} root
 * @param {Bytes[]} proof
 * @returns {Promise<[Bytes | null, Bytes | null]>}
 */
async function walk(from, to, root, proof) {
  if (from > to) return [null, null];
  if (from === to) return proof.length === 0 ? [root, root] : [null, null];
  const hashes = Number.isInteger(Math.log2(from)) ? [root, ...proof] : proof;
  let [node, last] = [from - 1, to - 1];
  while (isOdd(node)) [node, last] = [half(node), half(last)];
  const [first, ...rest] = hashes;
  if (!first) return [null, null];
  let [before, after] = [first, first];
  for (const hash of rest) {
    if (last === 0) return [null, null];
    if (isOdd(node) || node === last) {
      before = await sha256(NODE, hash, before);
      after = await sha256(NODE, hash, after);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      after = await sha256(NODE, after, hash);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? [before, after] : [null, null];
}
