"""Moves the users of the legacy service to Aegis: they keep their ids, passwords and tokens, and the move can be
repeated while the legacy service still runs."""

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path

import httpx

import legacy

AEGIS = os.environ["AEGIS"]
FOLDER = Path(os.environ["FOLDER"])
URL = os.environ["LEGACY_URL"]
DATABASE = os.environ["DATABASE_NAME"]
SECRET_KEY = os.environ["SECRET_KEY"]
PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another horse, another battery"
LOGIN = "/api/v1/auth/login/access-token"


def log_in(client, email, password=PASSWORD):
    return client.post(LOGIN, data={"username": email, "password": password})


async def legacy_log_in(old, email):
    answer = await old.post(LOGIN, data={"username": email, "password": PASSWORD})
    return answer.raise_for_status().json()["access_token"]


async def legacy_sign_up(old, email, username):
    body = {"email": email, "username": username, "password": PASSWORD}
    return (await old.post("/api/v1/auth/signup", json=body)).raise_for_status().json()


def run_import(*options):
    """The exit code, the output, and the report."""
    report = FOLDER / f"report-{len(list(FOLDER.glob('report-*')))}.jsonl"
    source = ["--from-mongodb", URL, "--database", DATABASE]
    command = [AEGIS, "users", "import", *source, "--report", report, *options]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    lines = report.read_text().splitlines() if report.exists() else []
    return done.returncode, done.stdout + done.stderr, [json.loads(line) for line in lines]


def started(service, log):
    """The address of the service once it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.poll() is None:
        found = re.search(r"listening.*?(127\.0\.0\.1:[1-9]\d*)", log.read_text())
        try:
            if found and httpx.get(f"http://{found[1]}/api/v1/health/ready").status_code == 200:
                return f"http://{found[1]}"
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"the service does not start: {log.read_text()}")


def me(client, token):
    return client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})


def same_user(new, old):
    """Whether both services show the same user; the legacy one shows its times without a zone and in microseconds."""
    created_at = lambda user: user["created_at"].rstrip("Z")[:23].ljust(23, "0")
    fields = ["id", "email", "username", "is_active"]
    return all(new[field] == old[field] for field in fields) and created_at(new) == created_at(old)


async def check(client, old, log):
    users = {name: await legacy_sign_up(old, f"{name}@example.com", name) for name in ["ada", "bob", "cy"]}
    await legacy_sign_up(old, "Ada.Twin@example.com", "twin")
    # MongoDB compares bytes: to the legacy service these are other users.
    email_twin = await legacy_sign_up(old, "ada.TWIN@example.com", "second twin")
    username_twin = await legacy_sign_up(old, "other@example.com", "Bob")
    await legacy.User.find_one(legacy.User.username == "cy").update({"$set": {"is_active": False}})
    users["cy"]["is_active"] = False
    token = await legacy_log_in(old, "ada@example.com")

    code, output, _ = run_import("--dry-run")
    assert code == 0 and "6 users would be imported" in output, output
    assert log_in(client, "ada@example.com").status_code == 400
    code, output, report = run_import("--strict")
    assert code == 1 and "6 users imported" in output, (code, output)
    by_id = {line["_id"]: line for line in report}
    assert set(by_id) == {email_twin["id"], username_twin["id"]}, report
    assert not by_id[email_twin["id"]]["imported"] and by_id[username_twin["id"]]["imported"], report

    # The token of the legacy service, and a new one.
    assert same_user(me(client, token).raise_for_status().json(), users["ada"])
    for name in ["ada", "bob"]:
        new = log_in(client, f"{name}@example.com").raise_for_status().json()["access_token"]
        assert same_user(me(client, new).json(), users[name]), name
    assert log_in(client, "cy@example.com").json()["code"] == "inactive_user"
    renamed = log_in(client, "other@example.com").raise_for_status().json()["access_token"]
    assert me(client, renamed).json() == {
        **me(client, renamed).json(), "id": username_twin["id"], "username": "Bob-2"
    }
    taken = {"email": "ADA@example.com", "username": "another name", "password": PASSWORD}
    assert client.post("/api/v1/auth/signup", json=taken).json()["code"] == "email_taken"

    # Both run side by side: the next import brings what is new.
    late = await legacy_sign_up(old, "late@example.com", "late")
    code, output, report = run_import()
    assert code == 0 and "1 users imported" in output, (code, output)
    assert [line["_id"] for line in report] == [email_twin["id"]], report
    new = log_in(client, "late@example.com").raise_for_status().json()["access_token"]
    assert same_user(me(client, new).json(), late)

    # The token of the legacy service is valid until an event revokes it.
    headers = {"Authorization": f"Bearer {token}"}
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    client.post("/api/v1/users/me/password", json=body, headers=headers).raise_for_status()
    assert me(client, token).json()["code"] == "token_revoked"
    assert log_in(client, "ada@example.com").status_code == 400
    log_in(client, "ada@example.com", NEW_PASSWORD).raise_for_status()
    verified = subprocess.run([AEGIS, "events", "verify"], cwd=FOLDER, capture_output=True, text=True)
    assert verified.returncode == 0, verified
    is_warned = "aegis users import" in log.read_text()
    assert is_warned == (os.environ.get("MONGODB_URL") == URL), log.read_text()


async def main():
    database = await legacy.open_database(URL, DATABASE)
    # There are users before the service starts, as it warns of them.
    first = legacy.User(
        email="first@example.com", username="first", hashed_password=legacy.hasher.hash(PASSWORD)
    )
    await first.insert()
    log = FOLDER / "service.log"
    with open(log, "w") as out:
        service = subprocess.Popen([AEGIS, "serve"], cwd=FOLDER, stdout=out, stderr=out)
    try:
        transport = httpx.ASGITransport(app=legacy.application(SECRET_KEY))
        async with httpx.AsyncClient(transport=transport, base_url="http://legacy") as old:
            with httpx.Client(base_url=started(service, log), timeout=30) as client:
                await check(client, old, log)
    finally:
        service.terminate()
        service.wait(timeout=30)
        await database.close()


asyncio.run(main())
print("moved in: ids, passwords and tokens of the legacy service are valid")
