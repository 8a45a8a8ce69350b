"""Keys on the pages: made, rotated and revoked by an admin who types the password again, which the ledger checks."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from app.domain.users import Role
from app.services.access.api_keys import Scope
from tests.dashboard.test_journal_pages import hidden
from tests.dashboard.world import PASSWORD, Browser, World, text_of

NEW = "/keys/new"


@pytest.fixture
def root(world: World) -> Browser:
    return world.signed_in(Role.ADMIN, "root")


def sent(browser: Browser, path: str = NEW, **fields: Any) -> Any:
    """Send the form of a page with what it hides, and the password."""
    once = hidden(browser.page(path), "once")
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.page("/me"))
    assert token is not None
    data = {"csrf_token": unescape(token[1]), "once": once, "password": PASSWORD, **fields}
    return browser.client.post(path, data=data)


def issued(response: Any) -> str:
    """The key that an answer shows."""
    assert response.status_code == 200, text_of(response.text)
    found = re.search(r'id="key"[^>]*>(hf_[^<]+)<', response.text)
    assert found is not None
    return found[1]


def key_id_of(key: str) -> str:
    return key.split("_")[1]


def test_a_key_is_made_with_its_rights_and_shown_once(world: World, root: Browser) -> None:
    world.account("wallet:ada")
    key = issued(
        sent(
            root,
            name="checkout",
            scopes=["payments:write", "accounts:read"],
            rate="50",
            burst="100",
            entities="default",
        )
    )
    assert world.get("/v1/accounts/wallet:ada", key=key).status_code == 200
    assert world.get("/v1/reports/trial-balance", key=key).status_code == 403
    page = root.page(f"/keys/{key_id_of(key)}")
    assert key not in page + root.page("/keys")
    text = text_of(page)
    for words in ("checkout", "accounts:read, payments:write", "50 requests a second, 100 at once", "Entities default"):
        assert words in text
    events = world.sql("SELECT action, subject FROM audit_event WHERE actor = 'user:root' AND action ~ '^key'")
    assert events == [("key.create", key_id_of(key))]
    calls = world.sql("SELECT route, request FROM audit_call WHERE action = 'key.create' AND actor = 'user:root'")
    [(route, request)] = calls
    typed = json.loads(request)
    assert (route, typed["name"], typed["rate"]) == ("/keys/new", "checkout", "50")
    assert PASSWORD not in request, "the password that was typed is not kept"


def test_a_key_ends_when_it_says(world: World, root: Browser) -> None:
    until = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    key = issued(sent(root, name="a trial", scopes=["read"], expires=until))
    assert world.sql("SELECT expires_at::date::text FROM api_key WHERE key_id = %s", key_id_of(key)) == [(until,)]


def test_a_key_is_rotated_and_the_former_ends_after_the_overlap(world: World, root: Browser) -> None:
    world.account("wallet:ada")
    key = issued(sent(root, name="shop", scopes=["accounts:read"]))
    response = sent(root, f"/keys/{key_id_of(key)}", do="rotate", overlap="2")
    following = issued(response)
    assert "stays valid until" in text_of(response.text)
    for one in (key, following):
        assert world.get("/v1/accounts/wallet:ada", key=one).status_code == 200
    response = sent(root, f"/keys/{key_id_of(key)}", do="rotate", overlap="2")
    assert response.status_code == 422
    assert "has a successor" in text_of(response.text)
    assert sent(root, f"/keys/{key_id_of(following)}", do="rotate", overlap="x").status_code == 422
    assert f"Follows {key_id_of(key)}" in text_of(root.page(f"/keys/{key_id_of(following)}"))


def test_a_revoked_key_is_worth_nothing(world: World, root: Browser) -> None:
    key = issued(sent(root, name="shop", scopes=["accounts:read"]))
    assert world.get("/v1/accounts/nobody", key=key).status_code == 404
    response = sent(root, f"/keys/{key_id_of(key)}", do="revoke")
    assert response.status_code == 303
    assert world.get("/v1/accounts/nobody", key=key).status_code == 401
    page = root.page(f"/keys/{key_id_of(key)}")
    assert "revoked since" in text_of(page)
    assert 'name="password"' not in page
    assert world.sql("SELECT actor FROM audit_call WHERE action = 'key.revoke'") == [("user:root",)]


def test_without_the_password_nothing_is_done_and_tries_are_counted(world: World, root: Browser) -> None:
    before = world.sql("SELECT count(*) FROM api_key")
    for number in range(4):
        response = sent(root, name="x", scopes=["read"], password="wrong horse battery")
        assert response.status_code == 422
        assert "The password is not right." in text_of(response.text), number
    response = sent(root, name="x", scopes=["read"])
    assert "The next try counts from" in text_of(response.text)
    assert world.sql("SELECT count(*) FROM api_key") == before
    assert world.sql("SELECT count(*) > 0 FROM audit_call WHERE action = 'sign_in.locked_out'") == [(True,)]


def test_a_form_that_is_sent_again_makes_no_second_key(world: World, root: Browser) -> None:
    once = hidden(root.page(NEW), "once")
    fields = {"name": "shop", "scopes": ["read"], "password": PASSWORD, "once": once}
    token = re.search(r'name="csrf_token" value="([^"]+)"', root.page("/me"))
    assert token is not None
    data = {"csrf_token": unescape(token[1]), **fields}
    assert root.client.post(NEW, data=data).status_code == 200
    response = root.client.post(NEW, data=data)
    assert response.status_code == 422
    assert "This form was sent before." in text_of(response.text)
    assert world.sql("SELECT count(*) FROM api_key WHERE name = 'shop'") == [(1,)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "Name the program"),
        ({"scopes": []}, "Choose what it may do."),
        ({"scopes": ["everything"]}, "Choose what it may do."),
        ({"expires": "2020-01-01"}, "It must end in the future."),
        ({"expires": "soon"}, "is not a day or a time"),
        ({"rate": "0"}, "At most 10,000 a second"),
        ({"burst": "5"}, "At most 10,000 a second"),
        ({"entities": "a\u200bb"}, "This is no list of entities."),
    ],
)
def test_a_key_that_cannot_be_made_so_is_shown_again(root: Browser, fields: dict[str, Any], words: str) -> None:
    response = sent(root, **{"name": "shop", "scopes": ["read"], **fields})
    assert response.status_code == 422
    assert words in text_of(response.text)


def test_an_admin_without_a_password_here_is_told_so(world: World, root: Browser) -> None:
    world.sql("UPDATE app_user SET password_hash = NULL WHERE user_id = 'root'")
    assert "You have no password here" in text_of(root.page(NEW))
    assert sent(root, name="shop", scopes=["read"]).status_code == 422


def test_an_admin_whose_role_was_taken_away_meanwhile_makes_no_key(world: World, root: Browser) -> None:
    world.sql("UPDATE app_user SET key_proof = NULL WHERE user_id = 'root'")
    response = sent(root, name="shop", scopes=["read"])
    assert response.status_code == 422
    assert "The ledger does not take you for an administrator of keys." in text_of(response.text)


def test_the_list_has_the_active_keys_first(world: World, root: Browser) -> None:
    world.key_with(Scope.READ)
    key = issued(sent(root, name="revoked one", scopes=["read"]))
    sent(root, f"/keys/{key_id_of(key)}", do="revoke")
    text = text_of(root.page("/keys"))
    assert text.index("a test") < text.index("revoked one")
    assert root.get("/keys/ffffffffffff").status_code == 404
