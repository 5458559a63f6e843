#!/usr/bin/env python3
"""Checks that the OpenAPI description of the service tells the truth, on both stores.

- schemathesis sends requests made from the description, and compares the answers with it: all checks, 50 examples.
- Clients in TypeScript and Python are generated from the description, compiled, and read the history of a user.
- PyJWT and `jose` verify access tokens by the URL of the key set alone, before and after a rotation.
- The page of `examples/browser` signs up, logs in, refreshes, changes a password and logs out in headless Chromium.
- The web console works in headless Chromium: every page, light and dark, desktop and phone, by axe's rules of accessibility.
- `requests-oauthlib`, an OAuth 2.0 client that knows nothing of Aegis, renews its tokens by itself.
- `oauth4webapi` introspects tokens with a machine token.
- Users of a FastAPI service (with Beanie, Argon2 and PyJWT) are imported while it runs, and keep ids, passwords and tokens.

Needs cargo, python3 with pip and venv, node, npm and Chromium. Packages are pinned in `requirements.txt` and the
`package-lock.json` files, and installed in `target/api_clients`. With `--store sqlite` or `--store mongo` only one
store is checked, with `--only` and the name of a part only that part runs.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PARTS = ["schemathesis", "typescript", "python", "browser", "console", "oauthlib", "jwks", "introspection", "move_in"]
ADMIN = {"AEGIS_ADMIN_EMAIL": "root@example.com", "AEGIS_ADMIN_PASSWORD": "the first of all administrators"}
SECRET_KEY = "a secret key of the tests, longer than thirty-two bytes"
SETTINGS = {
    **ADMIN,
    "SECRET_KEY": SECRET_KEY,
    "AEGIS_LISTEN": "127.0.0.1:0",
    "AEGIS_LOG": "info",
    # Requests come faster than those of any person.
    "AEGIS_RATE_LIMITS": "off",
    "AEGIS_ARGON2_MEMORY_KIB": "64",
    "AEGIS_ARGON2_ITERATIONS": "1",
    # JSON Schema has no notation for scripts.
    "AEGIS_USERNAME_LEVEL": "unrestricted",
    # Nor for the strength of passwords.
    "AEGIS_PASSWORD_MIN_SCORE": "0",
    # Webhooks are registered for a port of this machine on which nothing listens.
    "AEGIS_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
}
MONGODB_SETTINGS = {
    "AEGIS_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "DATABASE_NAME": "aegis",
}


def run(command, **options):
    """Runs a command that has to succeed."""
    subprocess.run([str(part) for part in command], check=True, **options)


def target_folder():
    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    output = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True).stdout
    return Path(json.loads(output)["target_directory"])


def build(target):
    """The executables of the service and of a throwaway MongoDB, as the tests build them."""
    tests = ["--test", "service", "--test", "servers"]
    run(["cargo", "test", "--locked", "--no-run", "--quiet", *tests], cwd=ROOT)
    aegis = os.environ.get("AEGIS_TEST_EXECUTABLE", target / "debug" / "aegis")
    return Path(aegis), target / "debug" / "throwaway-mongod"


def install(work):
    """Installs the pinned packages, unless they are there; the folder of the programs of the Python packages."""
    venv = work / "venv"
    if is_outdated(venv, [HERE / "requirements.txt"]):
        run([sys.executable, "-m", "venv", "--clear", venv])
        pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "-r", HERE / "requirements.txt"])
        mark(venv, [HERE / "requirements.txt"])
    for name in ["typescript", "browser", "console", "jwks", "introspection"]:
        node, packages = work / name, [HERE / name / file for file in ["package.json", "package-lock.json"]]
        if is_outdated(node, packages):
            node.mkdir(parents=True, exist_ok=True)
            for package in packages:
                shutil.copy(package, node)
            run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=node)
            mark(node, packages)
    return venv / "bin"


def digest(files):
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_outdated(folder, files):
    marker = folder / ".installed"
    return not marker.exists() or marker.read_text() != digest(files)


def mark(folder, files):
    """Marks a complete installation."""
    (folder / ".installed").write_text(digest(files))


@contextmanager
def process(command, **options):
    """A process that ends with the block."""
    started = subprocess.Popen([str(part) for part in command], **options)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def mongodb(executable):
    """The URL of a MongoDB that ends with the block."""
    with process([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()
        server.wait(timeout=60)


class PageHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def page():
    """The address of the page of `examples/browser`, whose origin is not that of the service."""
    handler = functools.partial(PageHandler, directory=ROOT / "examples" / "browser")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def service(aegis, store, mongod, folder, origin):
    """The address of a service on this store, which pages of that origin may use."""
    with ExitStack() as stack:
        settings = {"AEGIS_CORS_ORIGINS": origin, "AEGIS_DATA_DIR": str(folder / "data")}
        if store == "mongo":
            settings = {**settings, **MONGODB_SETTINGS, "MONGODB_URL": stack.enter_context(mongodb(mongod))}
        keep = {name: os.environ[name] for name in ["PATH", "AEGIS_TEST_RUN"] if name in os.environ}
        log = stack.enter_context(open(folder / "service.log", "w+"))
        options = {"stdout": log, "stderr": log, "cwd": folder, "env": {**keep, **SETTINGS, **settings}}
        started = stack.enter_context(process([aegis, "serve"], **options))
        address = eventually("the service listens", started, folder, lambda: listening(folder))
        ready = f"{address}/api/v1/health/ready"
        eventually("the service is ready", started, folder, lambda: is_ready(ready))
        yield address


def eventually(what, started, folder, find):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and started.poll() is None:
        if found := find():
            return found
        time.sleep(0.1)
    raise SystemExit(f"not within 60 s: {what}\n{(folder / 'service.log').read_text()}")


def listening(folder):
    lines = (folder / "service.log").read_text().splitlines()
    addresses = (re.search(r"127\.0\.0\.1:[1-9]\d*", line) for line in lines if "listening" in line)
    return next((f"http://{address[0]}" for address in addresses if address), None)


def is_ready(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False


def schemathesis(programs, address, folder):
    # Nothing is written beside the hooks.
    paths = {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    # With it, tokens are signed that otherwise come by mail.
    variables = {**os.environ, **ADMIN, **paths, "SECRET_KEY": SECRET_KEY, "AEGIS_ADDRESS": address}
    command = [programs / "st", "--config-file", HERE / "schemathesis.toml", "run", f"{address}/api/v1/openapi.json"]
    run(command, cwd=folder, env=variables)


def typescript(node, address, folder):
    """Generates the client, compiles the test against it, and runs it."""
    shutil.copytree(HERE / "typescript", folder / "typescript")
    folder = folder / "typescript"
    (folder / "node_modules").symlink_to(node / "node_modules")
    programs = node / "node_modules" / ".bin"
    run([programs / "openapi-typescript", f"{address}/api/v1/openapi.json", "-o", "src/api.ts"], cwd=folder)
    run([programs / "tsc", "--project", "."], cwd=folder)
    run(["node", "built/history.js"], cwd=folder, env={**os.environ, **ADMIN, "AEGIS_ADDRESS": address})


def python(programs, address, folder):
    """Generates the client, checks the types of the test against it, and runs it."""
    shutil.copytree(HERE / "python", folder / "python")
    folder = folder / "python"
    generate = [programs / "openapi-python-client", "generate", "--url", f"{address}/api/v1/openapi.json"]
    run([*generate, "--config", "config.yml", "--meta", "none", "--fail-on-warning"], cwd=folder)
    run([programs / "mypy"], cwd=folder)
    variables = {**os.environ, **ADMIN, "AEGIS_ADDRESS": address}
    run([programs / "python", "history.py"], cwd=folder, env=variables)


def introspection(node, address, folder):
    shutil.copytree(HERE / "introspection", folder / "introspection")
    (folder / "introspection" / "node_modules").symlink_to(node / "node_modules")
    variables = {**os.environ, **ADMIN, "AEGIS_ADDRESS": address}
    run(["node", "introspect.mjs"], cwd=folder / "introspection", env=variables)


def jwks(programs, node, aegis, folder):
    """Verifies tokens of services of its own, on the embedded database, by their key set."""
    shutil.copytree(HERE / "jwks", folder / "jwks")
    (folder / "jwks" / "node_modules").symlink_to(node / "node_modules")
    variables = {**os.environ, "AEGIS": str(aegis), "JOSE": str(folder / "jwks")}
    run([programs / "python", folder / "jwks" / "verify.py", "EdDSA", "ES256"], env=variables)


def move_in(programs, aegis, store, mongod, folder):
    """Moves the users of a legacy service to a service of its own, on MongoDB into the same database."""
    folder = folder / "move_in"
    folder.mkdir()
    with mongodb(mongod) as url:
        own = {"AEGIS_DATA_DIR": str(folder / "data"), **MONGODB_SETTINGS}
        if store == "mongo":
            own["MONGODB_URL"] = url
        paths = {"AEGIS": str(aegis), "FOLDER": str(folder), "LEGACY_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
        keep = {name: os.environ[name] for name in ["PATH", "AEGIS_TEST_RUN"] if name in os.environ}
        settings = {name: value for name, value in SETTINGS.items() if name not in ADMIN}
        run([programs / "python", HERE / "move_in" / "move_in.py"], env={**keep, **settings, **own, **paths})


def browser(node, address, origin, folder):
    shutil.copytree(HERE / "browser", folder / "browser")
    folder = folder / "browser"
    (folder / "node_modules").symlink_to(node / "node_modules")
    variables = {**os.environ, "CHROMIUM": chromium(), "PAGE": origin, "AEGIS_ADDRESS": address}
    run(["node", "session.mjs"], cwd=folder, env=variables)


def chromium():
    names = ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise SystemExit("Chromium is missing: install the package `chromium`, or run the other parts with --only")
    return found


def console(node, aegis, folder):
    """Uses every page of the console of a service of its own, on the embedded database: the pages are the same on both
    stores, and so is what they ask for."""
    folder = folder / "console"
    shutil.copytree(HERE / "console", folder)
    (folder / "node_modules").symlink_to(node / "node_modules")
    with service(aegis, "sqlite", None, folder, "https://app.example") as address:
        variables = {**os.environ, **ADMIN, "CHROMIUM": chromium(), "AEGIS_ADDRESS": address}
        run(["node", "console.mjs"], cwd=folder, env=variables)


def oauthlib(programs, address):
    # Without TLS, as is all on this machine.
    variables = {**os.environ, "OAUTHLIB_INSECURE_TRANSPORT": "1", "AEGIS_ADDRESS": address}
    run([programs / "python", "-B", HERE / "oauthlib" / "refresh.py"], env=variables)


def check(store, parts, aegis, mongod, programs, work):
    """Runs the parts on one store; the names of those that failed."""
    failed = []
    with ExitStack() as stack:
        prefix = f"aegis-api-{store}-"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        origin = stack.enter_context(page())
        with service(aegis, store, mongod, folder, origin) as address:
            checks = {
                "typescript": lambda: typescript(work / "typescript", address, folder),
                "python": lambda: python(programs, address, folder),
                "introspection": lambda: introspection(work / "introspection", address, folder),
                "jwks": lambda: jwks(programs, work / "jwks", aegis, folder),
                "browser": lambda: browser(work / "browser", address, origin, folder),
                "console": lambda: console(work / "console", aegis, folder),
                "move_in": lambda: move_in(programs, aegis, store, mongod, folder),
                "oauthlib": lambda: oauthlib(programs, address),
                "schemathesis": lambda: schemathesis(programs, address, folder),
            }
            for part, run_part in checks.items():
                started = time.monotonic()
                if part not in parts or (part == "console" and store != "sqlite"):
                    continue
                try:
                    run_part()
                except subprocess.CalledProcessError as error:
                    print(f"{store}: {error}", flush=True)
                    failed.append(f"{part} on {store}")
                print(f"{store}: {part}: {time.monotonic() - started:.0f} s", flush=True)
        if failed:
            shutil.copy(folder / "service.log", work / f"{store}.log")
            print(f"the log of the service is in {work / f'{store}.log'}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["sqlite", "mongo"])
    parser.add_argument("--only", choices=PARTS)
    asked = parser.parse_args()
    target = target_folder()
    work = target / "api_clients"
    work.mkdir(parents=True, exist_ok=True)
    aegis, mongod = build(target)
    programs = install(work)
    stores = [asked.store] if asked.store else ["sqlite", "mongo"]
    parts = [asked.only] if asked.only else PARTS
    # The stores are checked at the same time: most of it is done by one process each.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        checks = [pool.submit(check, store, parts, aegis, mongod, programs, work) for store in stores]
        failed = [failure for check_of_store in checks for failure in check_of_store.result()]
    skipped = int("console" in parts and "mongo" in stores)
    passed = len(stores) * len(parts) - skipped - len(failed)
    print("\n".join(f"FAILED: {failure}" for failure in failed), flush=True)
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
