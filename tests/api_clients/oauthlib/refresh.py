"""An OAuth 2.0 client that knows nothing of Aegis logs in and renews its tokens by itself."""

import json
import os
import urllib.request

from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

API = os.environ["AEGIS_ADDRESS"] + "/api/v1"
TOKEN_URL = f"{API}/auth/token"
USER = {"email": "oauth@example.com", "username": "oauth", "password": "eleven quiet rivers meet"}


def sign_up():
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{API}/auth/signup", json.dumps(USER).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201, answer.status


sign_up()
renewed = []
session = OAuth2Session(
    client=LegacyApplicationClient(client_id="oauthlib", scope=["offline_access"]),
    auto_refresh_url=TOKEN_URL,
    token_updater=renewed.append,
)
token = session.fetch_token(TOKEN_URL, username=USER["email"], password=USER["password"], scope=["offline_access"])
assert token["refresh_token"] and token["expires_in"] > 0, token
me = session.get(f"{API}/users/me")
assert me.json()["username"] == USER["username"], me.text
assert not renewed

# The client takes the access token for expired and renews it before the request.
for count in range(1, 4):
    before = session.token
    session.token = {**before, "expires_at": 1, "expires_in": -1}
    me = session.get(f"{API}/users/me")
    assert me.json()["username"] == USER["username"], me.text
    assert len(renewed) == count, renewed
    assert renewed[-1]["refresh_token"] != before["refresh_token"]
    session.token = renewed[-1]

assert session.post(f"{API}/auth/logout").status_code == 204
try:
    session.refresh_token(TOKEN_URL)
except InvalidGrantError:
    pass
else:
    raise AssertionError("a session that has ended was renewed")
