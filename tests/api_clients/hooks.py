"""Puts requests that schemathesis has made from the description into a state in which they can succeed.

The description says which requests are well-formed; whether a well-formed one succeeds also depends on the state of
the service. So valid parts of requests are aimed at what exists: users and webhooks made for the purpose, positions
that the log has, keys that were not used before. Invalid parts are sent as they are.

No request can end its own caller, an administrator: requests to change or end the own account are made by a user who is
signed up for each of them, with their password, and requests to other accounts never name the administrator.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import re
import time
import unicodedata

import requests
import schemathesis
from hypothesis import strategies
from schemathesis.core.parameters import ParameterLocation as Location
from schemathesis.generation.meta import TestPhase

API = os.environ["AEGIS_ADDRESS"] + "/api/v1"
PASSWORD = "correct horse battery staple"
# Nothing listens there: deliveries are refused at once.
RECEIVER = "http://127.0.0.1:9"
OWN_ACCOUNT = {"DELETE /users/me", "PATCH /users/me", "POST /users/me/deactivate", "POST /users/me/password"}
ENDS_OWN_TOKENS = {"POST /auth/logout", "POST /auth/logout-all"}
# A user may send three in an hour.
LIMITED_BY_USER = {"POST /auth/verify-email/request"}
# The purposes of the tokens in mails.
MAIL_AUDIENCES = {
    "POST /auth/verify-email": "aegis:verify-email",
    "POST /auth/password/reset": "aegis:reset-password",
}
FORM_FIELDS = {
    "POST /auth/login/access-token": {"username", "password", "grant_type", "scope", "client_id", "client_secret"},
    "POST /auth/token": {
        "username", "password", "grant_type", "scope", "client_id", "client_secret", "refresh_token",
    },
    "POST /auth/revoke": {"token", "token_type_hint"},
    "POST /auth/introspect": {"token", "token_type_hint"},
}
numbers = itertools.count(1)


# The default strategy makes domains in which no mail is delivered (`.arpa`), which are rejected.
local_parts = strategies.from_regex(r"\A[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,40}\Z")
schemathesis.openapi.format("idn-email", local_parts.map(lambda local_part: f"{local_part}@example.com"))


def mail_token(user, audience):
    """The token in a mail to a new user, as the service signs it."""
    claims = {"sub": user, "aud": audience, "exp": int(time.time()) + 600, "ver": 1, "epoch": 1}

    def encoded(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    message = b".".join(encoded(json.dumps(part).encode()) for part in [{"alg": "HS256", "typ": "mail+jwt"}, claims])
    signature = hmac.new(os.environ["SECRET_KEY"].encode(), message, hashlib.sha256).digest()
    return (message + b"." + encoded(signature)).decode()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def send(method, path, token=None, **options):
    headers = bearer(token) if token else {}
    answer = requests.request(method, API + path, headers=headers, timeout=20, **options)
    answer.raise_for_status()
    return answer


def log_in(email, password):
    form = {"username": email, "password": password}
    return send("POST", "/auth/login/access-token", data=form).json()["access_token"]


class State:
    """What exists in the service."""

    def __init__(self):
        self.admin_email = os.environ["AEGIS_ADMIN_EMAIL"]
        self.admin_password = os.environ["AEGIS_ADMIN_PASSWORD"]
        self.token = log_in(self.admin_email, self.admin_password)
        self.admin = send("GET", "/users/me", self.token).json()["id"]
        self.user, _ = self.sign_up()
        # Those of requests, in their order.
        self.webhooks = []
        self.webhook = self.register_webhook()
        # A position that the log has reached.
        self.position = 1

    def sign_up(self):
        """The id of a new user, and a function that logs in."""
        name = f"user-{next(numbers)}"
        body = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
        user = send("POST", "/auth/signup", json=body).json()["id"]
        return user, lambda: log_in(body["email"], PASSWORD)

    def refresh_token(self):
        """A refresh token that was not used."""
        form = {"username": self.admin_email, "password": self.admin_password, "scope": "offline_access"}
        return send("POST", "/auth/login/access-token", data=form).json()["refresh_token"]

    def register_webhook(self):
        """The id of a new webhook. A user may have 100, so others make room for it."""
        for webhook in self.webhooks[:-20]:
            requests.delete(f"{API}/webhooks/{webhook}", headers=bearer(self.token), timeout=20)
        del self.webhooks[:-20]
        body = {"url": f"{RECEIVER}/{next(numbers)}"}
        return send("POST", "/webhooks", self.token, json=body).json()["id"]


state = State()


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """The tokens of OAuth 2.0 are bearer tokens; of these schemathesis also checks that they are required."""
    for scheme in raw_schema["components"]["securitySchemes"].values():
        assert scheme["type"] == "oauth2"
        scheme.clear()
        scheme.update({"type": "http", "scheme": "bearer"})


@schemathesis.auth()
class Administrator:
    def get(self, case, context):
        return state.token

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def after_call(context, case, response):
    """Notes what a request has created."""
    for position in response.headers.get("aegis-position", []):
        state.position = max(state.position, int(position))
    if case.operation.path == "/api/v1/webhooks" and response.status_code == 201:
        state.webhooks.append(response.json()["id"])


def is_valid(case, location):
    component = case.meta and case.meta.components.get(location)
    return component is None or component.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path.removeprefix("/api/v1")
    label = f"{case.operation.method.upper()} {path}"
    aim_headers(case)
    if case.query and is_valid(case, Location.QUERY):
        aim_query(case, path)
    if case.path_parameters:
        aim_path(case, label)
    if case.body is None:
        # Where a body may be left out, null is accepted as well; the description does not say so, since then
        # generated clients could not leave it out.
        case.body = {}
    if isinstance(case.body, dict) and is_valid(case, Location.BODY):
        aim_body(case, label)
    if label in OWN_ACCOUNT | ENDS_OWN_TOKENS | LIMITED_BY_USER and case.headers.get("Authorization") == f"Bearer {state.token}":
        _, log_in_again = state.sign_up()
        case.headers["Authorization"] = f"Bearer {log_in_again()}"


def aim_headers(case):
    # Headers that are not known are ignored (RFC 9110 §5.1).
    case.headers.pop("x-schemathesis-unknown-property", None)
    key, position = case.headers.get("Idempotency-Key"), case.headers.get("Aegis-Min-Position")
    if re.fullmatch("[!-~]{1,255}", str(key or "")):
        case.headers["Idempotency-Key"] = f"{key[:200]}{next(numbers)}"
    if is_number(position):
        case.headers["Aegis-Min-Position"] = str(bounded(position))


def aim_query(case, path):
    for name in ["after", "from", "to", "as_of"]:
        if is_number(case.query.get(name)):
            case.query[name] = bounded(case.query[name])
    # What a page of users begins with comes from the page before.
    if path == "/users":
        case.query.pop("after", None)
    if path == "/log/consistency" and {"from", "to"} <= case.query.keys():
        case.query["from"], case.query["to"] = sorted([case.query["from"], case.query["to"]])
    # A long poll would be held for that long.
    if is_number(case.query.get("wait")):
        case.query["wait"] = int(float(case.query["wait"])) % 2


def aim_path(case, label):
    parameters = case.path_parameters
    if parameters.get("id") == state.admin:
        parameters["id"] = state.user
    # There, the ids are those of earlier answers.
    is_stateful = case.meta and case.meta.phase.name == TestPhase.STATEFUL
    # One of four requests names what does not exist.
    if is_stateful or not is_valid(case, Location.PATH) or next(numbers) % 4 == 0:
        return
    if "/users/{id}" in label:
        parameters["id"] = state.sign_up()[0] if label.endswith("/erase") else state.user
    elif "/webhooks/{id}" in label:
        parameters["id"] = state.register_webhook() if label == "DELETE /webhooks/{id}" else state.webhook
    elif "/log/proof/" in label:
        parameters["position"] = max(1, bounded(parameters["position"]))


def aim_body(case, label):
    body = case.body
    if label == "POST /auth/signup":
        body["email"] = f"{next(numbers)}{body['email']}"
        body["username"] = visible(body["username"])
    elif label in FORM_FIELDS:
        if "username" in FORM_FIELDS[label]:
            body["username"], body["password"] = state.admin_email, state.admin_password
        if body.get("grant_type") == "refresh_token":
            body["refresh_token"] = state.refresh_token()
        # Other fields are ignored, but some of their names cannot be sent in a multipart form (RFC 7578 §4.2).
        for name in body.keys() - FORM_FIELDS[label]:
            del body[name]
    elif label == "POST /tokens":
        body["name"] = visible(body["name"])
        if body.get("expires_at") is not None:
            body["expires_at"] = "2999-12-31T23:59:59Z"
    elif label == "POST /users":
        body["email"] = unused(body["email"])
        body["username"] = visible(body["username"])
    elif label == "PATCH /users/me":
        body["current_password"] = PASSWORD
        if isinstance(body.get("email"), str):
            body["email"] = unused(body["email"])
        if isinstance(body.get("username"), str):
            body["username"] = visible(body["username"])
    elif label == "POST /users/me/password":
        body["current_password"] = PASSWORD
    elif label in MAIL_AUDIENCES:
        body["token"] = mail_token(state.sign_up()[0], MAIL_AUDIENCES[label])
    elif label in OWN_ACCOUNT:
        body["password"] = PASSWORD
    elif label == "POST /webhooks":
        body["url"] = f"{RECEIVER}/{next(numbers)}"
        if is_number(body.get("after")):
            body["after"] = bounded(body["after"])
    elif label == "POST /webhooks/{id}/replay":
        body["from"], body["to"] = sorted(max(1, bounded(body[name])) for name in ["from", "to"])
    for name in ["reason", "description"]:
        if isinstance(body.get(name), str) and not label.endswith("/erase"):
            body[name] = visible(body[name])


def visible(text):
    """A text that begins with a visible character, is as long in its normal form, has no mark without a letter, and
    resembles no other one: JSON Schema knows nothing of this."""
    text = unicodedata.normalize("NFKC", text)[:40]
    text = "".join(character for character in text if not unicodedata.category(character).startswith("M"))
    return f"x{text}x{next(numbers)}"


def unused(email):
    """An address that no user has. The same body may be sent several times."""
    return f"{next(numbers)}{email.lstrip('0123456789')}"


def is_number(value):
    return not isinstance(value, bool) and re.fullmatch(r"[0-9]+(\.0)?", str(value)) is not None


def bounded(position):
    """A position of the log."""
    return int(float(position)) % (state.position + 1)
