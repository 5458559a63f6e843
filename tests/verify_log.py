#!/usr/bin/env python3
"""Verifies an export, or the proof of one event, of an Aegis log with a checkpoint and a key of your own.

    verify_log.py export KEY EXPORT.jsonl CHECKPOINT    every event of an export that starts at the first event
    verify_log.py proof KEY PROOF.json                  one event, as returned by GET /log/proof/{position}

Needs Python's standard library, and `cryptography` for Ed25519. docs/verify.md explains the steps.
"""

import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def check(condition, message):
    """Like `assert`, which `python3 -O` removes."""
    if not condition:
        raise SystemExit(message)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def canonical(event):
    """RFC 8785: sorted names, no spaces. Events contain no fractions, so this is exact."""
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def leaf_hash(text):
    """RFC 6962, section 2.1."""
    return sha256(b"\x00", text.encode())


def signed_head(note, key):
    """The size and root in a checkpoint, after verifying its signature (c2sp.org/tlog-checkpoint)."""
    name, _, public = key.strip().split("+", 2)
    public = base64.b64decode(public)
    body, signatures = note.split("\n\n", 1)
    key_id = sha256(name.encode(), b"\n", public)[:4]
    for line in signatures.splitlines():
        dash, signer, stamp = line.split(" ", 2)
        stamp = base64.b64decode(stamp)
        if (dash, signer) == ("\u2014", name) and stamp[:4] == key_id:
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(stamp[4:], (body + "\n").encode())
            origin, size, root = body.split("\n")[:3]
            check(origin == name, f"a checkpoint of {origin}, not of {name}")
            return int(size), base64.b64decode(root)
    raise ValueError("no signature by that key")


def check_export(size, root, lines):
    subtrees = []  # (height, hash) of the complete subtrees, largest first
    position = 0
    for position, line in zip(range(1, size + 1), lines):
        event = json.loads(line)["event"]
        check(event["position"] == position, f"position {position}: found {event['position']} instead")
        subtrees.append((0, leaf_hash(canonical(event))))
        while len(subtrees) > 1 and subtrees[-1][0] == subtrees[-2][0]:
            height, right = subtrees.pop()
            subtrees[-1] = (height + 1, sha256(b"\x01", subtrees[-1][1], right))
    check(position == size, f"position {position + 1}: the event is missing")
    computed = subtrees.pop()[1]
    while subtrees:
        computed = sha256(b"\x01", subtrees.pop()[1], computed)
    check(computed == root, f"the first {size} events differ from those that the checkpoint was signed for")
    return f"{size} events verified"


def check_proof(size, root, answer):
    index, last, computed = answer["position"] - 1, size - 1, leaf_hash(answer["event"])
    check(json.loads(answer["event"])["position"] == answer["position"], "a different event")
    for step in map(base64.b64decode, answer["proof"]):
        check(last > 0, "the proof is too long")
        if index & 1 or index == last:
            computed = sha256(b"\x01", step, computed)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            computed = sha256(b"\x01", computed, step)
        index, last = index >> 1, last >> 1
    check(last == 0 and computed == root, "the proof does not lead to the signed root")
    return f"the event at position {answer['position']} is one of {size}"


def main(what, key, subject, checkpoint=None):
    with open(key) as file:
        key = file.read()
    with open(subject) as file:
        if what == "proof":
            answer = json.load(file)
            return check_proof(*signed_head(answer["checkpoint"], key), answer)
        with open(checkpoint) as note:
            return check_export(*signed_head(note.read(), key), file)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
