"""Who gets in: invitations, passwords, the wait after failed tries, second factors, sessions."""

import re
from datetime import timedelta

import argon2
import pyotp
import pytest
from argon2.profiles import RFC_9106_LOW_MEMORY
from psycopg import errors

from app.domain.users import FREE_TRIES, INVITATION_LASTS, LONGEST_WAIT, SESSION_LASTS, SESSION_RESTS, Role, wait_after
from app.services.access import sign_in
from tests.dashboard.world import PASSWORD, Browser, World, text_of


def is_in(browser: Browser) -> bool:
    """Whether the browser sees pages."""
    return browser.get("/me").status_code == 200


def session_cookie(browser: Browser) -> str:
    cookie = browser.client.get_cookie("holdfast_session")
    assert cookie is not None
    return cookie.value


# Invitations


def test_an_invitation_lets_a_person_set_a_password_once_and_signs_them_in(world: World) -> None:
    path = world.invitation("mira", Role.CONTROLLER)
    browser = world.browser()
    assert "You are invited as controller" in text_of(browser.page(path))
    assert browser.send(path, password=PASSWORD, repeated=PASSWORD).status_code == 303
    assert "Controller. What you do is recorded as user:mira." in text_of(browser.page("/me"))
    assert world.browser().get(path).status_code == 404
    assert world.browser().sign_in("mira").status_code == 303


def test_reading_an_invitation_uses_nothing_up(world: World) -> None:
    path = world.invitation("mira")
    for _ in range(3):
        assert world.browser().get(path).status_code == 200


def test_an_invitation_expires(world: World) -> None:
    path = world.invitation("mira")
    world.clock.ahead = INVITATION_LASTS
    assert world.browser().get(path).status_code == 404


@pytest.mark.parametrize(
    ("password", "repeated", "reason"),
    [
        ("short", "short", "at least 12 characters"),
        (PASSWORD, PASSWORD + "!", "The two passwords differ"),
        ("mira-is-the-name", "mira-is-the-name", "too easy to guess"),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "too easy to guess"),
    ],
)
def test_a_weak_password_is_refused_with_a_reason(
    shared_world: World, password: str, repeated: str, reason: str
) -> None:
    path = shared_world.invitation("mira")
    response = shared_world.browser().send(path, password=password, repeated=repeated)
    assert response.status_code == 422
    assert reason in text_of(response.text)
    assert shared_world.browser().get(path).status_code == 200, "the invitation is not used up"


def test_a_password_is_kept_as_a_hash_that_is_slow_to_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "PasswordHasher", argon2.PasswordHasher)  # other tests have quick ones
    assert is_in(world.signed_in(name="mira"))
    [(password_hash,)] = world.sql("SELECT password_hash FROM app_user")
    assert argon2.extract_parameters(password_hash) == RFC_9106_LOW_MEMORY


def test_a_second_invitation_replaces_the_first_and_ends_sessions_once_it_is_taken_up(world: World) -> None:
    world.user("mira")
    before = world.signed_in(name="mira")
    first = world.invitation("mira", Role.ACCOUNTANT)
    second = world.invitation("mira", Role.ACCOUNTANT)
    assert world.browser().get(first).status_code == 404
    assert is_in(before), "an invitation alone changes nothing for the person"
    world.browser().send(second, password="another long phrase", repeated="another long phrase")
    assert not is_in(before)
    assert world.browser().sign_in("mira").status_code == 401
    assert world.browser().sign_in("mira", "another long phrase").status_code == 303


# Passwords and waiting


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(world: World) -> None:
    world.user("mira")
    wrong_password = world.browser().sign_in("mira", "not the password")
    wrong_name = world.browser().sign_in("nobody", "not the password")
    assert wrong_password.status_code == wrong_name.status_code == 401
    assert text_of(wrong_password.text) == text_of(wrong_name.text)


def test_after_some_failures_the_next_try_must_wait_and_even_the_right_password_is_not_looked_at(world: World) -> None:
    world.user("mira")
    for _ in range(FREE_TRIES):
        assert "The next is possible" not in world.browser().sign_in("mira", "wrong").text
    assert "The next is possible" in world.browser().sign_in("mira", "wrong").text
    assert world.browser().sign_in("mira").status_code == 401
    world.clock.ahead = wait_after(FREE_TRIES + 1) + timedelta(seconds=1)
    assert world.browser().sign_in("mira").status_code == 303
    assert world.browser().sign_in("mira", "wrong").status_code == 401
    assert world.browser().sign_in("mira").status_code == 303, "a success has forgotten the failures"


def test_a_try_that_comes_too_early_does_not_lengthen_the_wait(world: World) -> None:
    world.user("mira")
    for _ in range(FREE_TRIES + 1):
        world.browser().sign_in("mira", "wrong")
    waits = [re.search(r"possible at <time datetime=\"(.*?)\"", world.browser().sign_in("mira").text) for _ in range(3)]
    assert len({wait and wait[1] for wait in waits}) == 1


def test_the_wait_doubles_and_is_bounded() -> None:
    waits = [wait_after(failures) for failures in range(1, 40)]
    assert waits[:FREE_TRIES] == [timedelta()] * FREE_TRIES
    assert waits[FREE_TRIES + 1] == 2 * waits[FREE_TRIES]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


def test_a_disabled_user_is_out_at_once_and_stays_out(world: World) -> None:
    browser = world.signed_in(name="mira")
    assert world.ledger_users.disable("mira", "tests")
    assert not is_in(browser)
    assert world.browser().sign_in("mira").status_code == 401
    assert not world.ledger_users.disable("mira", "tests")


# The second factor


def begin_second_factor(browser: Browser) -> pyotp.TOTP:
    browser.send("/me", "/me/second-factor", step="begin")
    secret = re.search(r'type the secret: <span class="id">(\w+)<', browser.page("/me"))
    assert secret is not None
    return pyotp.TOTP(secret[1])


def test_a_second_factor_is_asked_for_once_it_was_confirmed(world: World) -> None:
    browser = world.signed_in(name="mira")
    totp = begin_second_factor(browser)
    assert browser.send("/me", "/me/second-factor", step="confirm", totp="000000").status_code == 422
    assert world.browser().sign_in("mira").status_code == 303, "not confirmed, not asked for"
    assert browser.send("/me", "/me/second-factor", step="confirm", totp=totp.now()).status_code == 303
    world.clock.ahead = timedelta(seconds=90)
    assert world.browser().sign_in("mira").status_code == 401
    code = totp.at(world.clock())
    assert world.browser().sign_in("mira", code=code).status_code == 303
    assert world.browser().sign_in("mira", code=code).status_code == 401, "a code counts once"


def test_only_the_password_ends_a_second_factor(world: World) -> None:
    browser = world.signed_in(name="mira")
    totp = begin_second_factor(browser)
    browser.send("/me", "/me/second-factor", step="confirm", totp=totp.now())
    assert browser.send("/me", "/me/second-factor", step="end", password="wrong").status_code == 422
    assert browser.send("/me", "/me/second-factor", step="end", password=PASSWORD).status_code == 303
    assert world.browser().sign_in("mira").status_code == 303


# Sessions


def test_the_cookie_of_a_session_is_out_of_reach_of_scripts_and_of_other_sites(world: World) -> None:
    world.user("mira")
    response = world.browser().sign_in("mira")
    [cookie] = [one for one in response.headers.getlist("Set-Cookie") if one.startswith("holdfast_session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_over_https_cookies_insist_on_it(world: World) -> None:
    secure = world.with_settings(public_url="https://ledger.example")
    secure.user("mira")
    browser = secure.browser()
    browser.client.environ_base["wsgi.url_scheme"] = "https"
    browser.client.environ_base["HTTP_REFERER"] = "https://localhost/sign-in"
    response = browser.client.get("/sign-in", base_url="https://localhost")
    token = re.search(r'name="csrf_token" value="([^"]+)"', response.text)
    assert token is not None
    fields = {"csrf_token": token[1], "name": "mira", "password": PASSWORD}
    response = browser.client.post("/sign-in", data=fields, base_url="https://localhost")
    assert response.status_code == 303
    assert all("Secure" in one for one in response.headers.getlist("Set-Cookie"))
    assert "max-age" in response.headers["Strict-Transport-Security"]


def test_each_sign_in_gets_a_token_of_its_own_and_ends_the_session_that_the_browser_had(world: World) -> None:
    browser = world.signed_in(name="mira")
    first = session_cookie(browser)
    browser.send("/me", "/sign-out")
    browser.sign_in("mira")
    assert session_cookie(browser) != first
    browser.client.set_cookie("holdfast_session", first)
    assert not is_in(browser)


def test_a_token_that_nobody_gave_out_is_no_session(world: World) -> None:
    browser = world.browser()
    browser.client.set_cookie("holdfast_session", "made up")
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("rest", [SESSION_RESTS, SESSION_LASTS])
def test_a_session_ends_after_a_rest_and_after_a_day(world: World, rest: timedelta) -> None:
    browser = world.signed_in(name="mira")
    world.clock.ahead = rest - timedelta(minutes=5) if rest == SESSION_RESTS else timedelta()
    assert is_in(browser)
    world.clock.ahead = rest + timedelta(seconds=1)
    assert not is_in(browser)


def test_signing_out_everywhere_ends_all_sessions(world: World) -> None:
    here, there = world.signed_in(name="mira"), world.signed_in(name="mira")
    assert text_of(here.page("/me")).count("password") >= 2
    assert here.send("/me", "/sign-out", everywhere="yes").status_code == 303
    assert not is_in(here)
    assert not is_in(there)


def test_what_people_do_to_sign_in_is_in_the_audit_trail(world: World) -> None:
    browser = world.signed_in(name="mira")
    browser.send("/me", "/sign-out")
    events = world.sql("SELECT actor, action FROM audit_event WHERE subject = 'mira' ORDER BY audit_event_id")
    assert events == [
        ("tests", "user.invite"),
        ("user:mira", "sign_in.set_up"),
        ("user:mira", "sign_in.begin"),
        ("user:mira", "sign_in.end"),
    ]
    calls = world.sql("SELECT actor, action, method, route, path FROM audit_call WHERE action = 'sign_in.begin'")
    assert calls == [("user:mira", "sign_in.begin", "POST", "/sign-in", "/sign-in")]


def test_no_secret_of_a_sign_in_is_in_the_audit(world: World) -> None:
    path = world.invitation("mira")
    world.browser().send(path, password=PASSWORD, repeated=PASSWORD)
    [(record,)] = world.sql("SELECT row_to_json(c)::text FROM audit_call c WHERE action = 'sign_in.set_up'")
    assert "/invitation/<token>" in record
    assert path not in record
    assert PASSWORD not in record


def test_after_signing_in_one_is_where_one_wanted_to_go_but_never_elsewhere(world: World) -> None:
    world.user("mira")
    asked = world.browser().get("/accounts?type=asset")
    assert asked.headers["Location"] == "/sign-in?next=/accounts?type%3Dasset"
    assert world.browser().sign_in("mira", next="/accounts?type=asset").headers["Location"] == "/accounts?type=asset"
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert world.browser().sign_in("mira", next=elsewhere).headers["Location"] == "/"


# What the app's own role may not do


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO app_user (user_id, role, created_by) VALUES ('eve', 'admin', 'eve')",
        "UPDATE app_user SET role = 'admin'",
        "UPDATE app_user SET disabled_at = NULL",
        "DELETE FROM app_user",
        "DELETE FROM user_session",
        "UPDATE user_session SET user_id = 'mira'",
        "UPDATE user_session SET expires_at = expires_at + interval '1 year'",
        "UPDATE page_secret SET secret = ''",
        "INSERT INTO audit_event (actor, action, subject, detail) VALUES ('x', 'user.invite', 'eve', '{}')",
    ],
)
def test_the_apps_role_makes_no_user_and_no_longer_session(shared_world: World, statement: str) -> None:
    if shared_world.ledger_users.get("mira") is None:
        shared_world.signed_in(name="mira")
    with pytest.raises(errors.InsufficientPrivilege):
        shared_world.as_app(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app_user SET password_hash = 'mine'",
        "UPDATE app_user SET invitation_hash = sha256('mine'), invitation_expires_at = now() + interval '1 day'",
        "UPDATE app_user SET oidc_issuer = 'mine', oidc_subject = 'mine'",
        "UPDATE user_session SET ended_at = NULL",
    ],
)
def test_the_apps_role_changes_no_password_without_an_invitation_and_revives_no_session(
    shared_world: World, statement: str
) -> None:
    if shared_world.ledger_users.get("nora") is None:
        shared_world.signed_in(name="nora").send("/me", "/sign-out")
    with pytest.raises(errors.RestrictViolation):
        shared_world.as_app(statement)
