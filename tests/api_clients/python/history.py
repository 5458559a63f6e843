"""Reads the history of a user with the client generated from the description of the API."""

import os
import time
from http import HTTPStatus

from aegis_client import AuthenticatedClient, Client
from aegis_client.api.auth import log_in, sign_up
from aegis_client.api.users import (
    deactivate_user,
    erase_user,
    grant_role,
    reactivate_user,
    show_user,
    user_history,
)
from aegis_client.models import (
    ChangeReason,
    ErasedValue,
    Erasure,
    ErasureReason,
    GrantRoleRole,
    IdempotencyKeyReused,
    Login,
    ShownUser,
    SignUp,
    Token,
    User,
    UserChange,
    UserDetail,
    UserHistory,
    ValidationError,
)
from aegis_client.types import Unset

ADDRESS = os.environ["AEGIS_ADDRESS"]
NAME = f"python-{time.time_ns()}"
PASSWORD = "correct horse battery staple"


def log_in_as_administrator(client: Client) -> AuthenticatedClient:
    username, password = os.environ["AEGIS_ADMIN_EMAIL"], os.environ["AEGIS_ADMIN_PASSWORD"]
    token = log_in.sync(client=client, body=Login(username=username, password=password))
    assert isinstance(token, Token), token
    return AuthenticatedClient(base_url=ADDRESS, token=token.access_token)


def describe(value: ErasedValue | bool | list[str] | str) -> str:
    """Every type that a value can have."""
    if isinstance(value, ErasedValue):
        return "erased" if value.erased else "kept"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(value) if isinstance(value, list) else value.upper()


def history(client: AuthenticatedClient, user: str) -> list[UserChange]:
    found = user_history.sync(user, client=client)
    assert isinstance(found, UserHistory), found
    return found.events


def find(events: list[UserChange], kind: str) -> UserChange:
    return next(event for event in events if event.type_ == kind)


def main() -> None:
    anyone = Client(base_url=ADDRESS)
    body = SignUp(email=f"{NAME}@example.com", username=NAME, password=PASSWORD)
    user = sign_up.sync(client=anyone, body=body, idempotency_key=NAME)
    assert isinstance(user, User), user

    # An invalid and a reused request are distinguished by their types.
    other = SignUp(email=f"other-{NAME}@example.com", username=NAME, password=PASSWORD)
    reused = sign_up.sync(client=anyone, body=other, idempotency_key=NAME)
    assert isinstance(reused, IdempotencyKeyReused), reused
    invalid = sign_up.sync(client=anyone, body=SignUp(email="", username=NAME, password=PASSWORD))
    assert isinstance(invalid, ValidationError), invalid
    assert invalid.detail[0].loc == ["body", "email"]

    admin = log_in_as_administrator(anyone)
    deactivated = deactivate_user.sync(user.id, client=admin, body=ChangeReason(reason="asked for it"))
    assert isinstance(deactivated, UserDetail) and not deactivated.is_active, deactivated
    reactivated = reactivate_user.sync(user.id, client=admin)
    assert isinstance(reactivated, UserDetail) and reactivated.is_active, reactivated
    granted = grant_role.sync_detailed(user.id, GrantRoleRole.AUDITOR, client=admin)
    assert granted.status_code == HTTPStatus.NO_CONTENT
    shown = show_user.sync(user.id, client=admin)
    assert isinstance(shown, ShownUser) and shown.email == user.email, shown

    events = history(admin, user.id)
    deactivation = find(events, "UserDeactivated")
    assert deactivation.reason == "asked for it"
    [change] = deactivation.changes
    assert change.field == "is_active"
    assert not isinstance(change.from_, Unset) and change.from_ is not None and describe(change.from_) == "yes"
    assert not isinstance(change.to, Unset) and describe(change.to) == "no"
    registered = {change.field: change for change in find(events, "UserRegistered").changes}
    assert registered["username"].from_ is None and registered["username"].to == NAME
    assert isinstance(registered["password"].from_, Unset) and isinstance(registered["password"].to, Unset)
    assert find(events, "RoleGranted").changes[0].to == ["auditor"]

    erased = erase_user.sync_detailed(user.id, client=admin, body=Erasure(reason=ErasureReason.REQUEST))
    assert erased.status_code == HTTPStatus.NO_CONTENT
    reason = find(history(admin, user.id), "UserDeactivated").reason
    assert isinstance(reason, ErasedValue) and reason.erased, reason
    print(f"Python: {len(events)} events read")


main()
