"""Verifies access tokens with PyJWT and jose by the URL of the key set alone, before and after a rotation."""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import jwt

AEGIS = os.environ["AEGIS"]
ADA = {"email": "ada@example.com", "username": "ada", "password": "correct horse battery staple"}


def request(address, path, body=None, headers=None):
    made = urllib.request.Request(address + path, body, headers or {})
    with urllib.request.urlopen(made, timeout=30) as answer:
        return json.load(answer)


def log_in(address):
    form = urllib.parse.urlencode({"username": ADA["email"], "password": ADA["password"]}).encode()
    return request(address, "/api/v1/auth/login/access-token", form)["access_token"]


def started(service, log):
    """The address of the service once it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.poll() is None:
        found = re.search(r"listening.*?(127\.0\.0\.1:[1-9]\d*)", log.read_text())
        try:
            if found and request(f"http://{found[1]}", "/api/v1/health/ready"):
                return f"http://{found[1]}"
        except urllib.error.URLError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"the service does not start: {log.read_text()}")


def rotate(address, algorithm, variables):
    """Makes a new key sign, and the service load it, as a token that names it does."""
    command = [AEGIS, "keys", "rotate", "--signing", "--now", "--json"]
    rotated = json.loads(subprocess.run(command, env=variables, check=True, capture_output=True).stdout)
    header = json.dumps({"alg": algorithm, "kid": rotated["id"]}).encode()
    unsigned = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30."
    try:
        request(address, "/api/v1/users/me", headers={"Authorization": f"Bearer {unsigned}"})
        raise SystemExit("an unsigned token was accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error
    return rotated["id"]


def verify(client, url, algorithm, subject, tokens):
    for token in tokens:
        key = client.get_signing_key_from_jwt(token)
        assert jwt.decode(token, key, algorithms=[algorithm])["sub"] == subject
    script = Path(os.environ["JOSE"]) / "verify.mjs"
    subprocess.run(["node", script, url, algorithm, subject, *tokens], check=True)


def check(algorithm):
    with tempfile.TemporaryDirectory(prefix="aegis-jwks-") as name:
        log = Path(name) / "service.log"
        variables = {
            "PATH": os.environ["PATH"],
            "ALGORITHM": algorithm,
            "AEGIS_DATA_DIR": f"{name}/data",
            "AEGIS_LISTEN": "127.0.0.1:0",
        }
        with open(log, "w") as out:
            service = subprocess.Popen([AEGIS, "serve"], env=variables, cwd=name, stdout=out, stderr=out)
        try:
            address = started(service, log)
            kind = {"Content-Type": "application/json"}
            subject = request(address, "/api/v1/auth/signup", json.dumps(ADA).encode(), kind)["id"]
            url = f"{address}/.well-known/jwks.json"
            # With `--now` the new key signs before clients have waited for 30 seconds to fetch the set again.
            client = jwt.PyJWKClient(url, cooldown_duration=0)
            before = log_in(address)
            verify(client, url, algorithm, subject, [before])
            new = rotate(address, algorithm, variables)
            after = log_in(address)
            assert jwt.get_unverified_header(after)["kid"] == new, "the new key does not sign"
            verify(client, url, algorithm, subject, [before, after])
        finally:
            service.terminate()
            service.wait(timeout=30)


for name in sys.argv[1:]:
    check(name)
    print(f"{name}: verified before and after a rotation")
