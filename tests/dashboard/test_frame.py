"""What holds for every page: who may see it, what it lets browsers do, and that no other site can send its forms."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from flask import Blueprint

from app.dashboard.application import create_pages
from app.dashboard.formats import browser
from app.dashboard.frame import needs
from app.domain.users import Role
from tests.dashboard.world import PASSWORD, Browser, World, text_of

STATIC = Path(__file__).resolve().parents[2] / "app" / "dashboard" / "static"

PAGES = (
    "/",
    "/accounts",
    "/accounts/alice",
    "/reports/trial-balance",
    "/search",
    "/search?q=alice",
    "/journals",
    "/reports/balance-sheet",
    "/reports/income-statement",
    "/search",
    "/search?q=alice",
    "/audit",
    "/operations",
    "/events",
    "/events?type=balance.updated&account_id=alice",
    "/webhooks",
    "/monitors",
    "/me",
)


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    shared_world.funded("alice")
    return shared_world


def rules(world: World) -> list[str]:
    """Every address of the pages with something in its places."""
    places = {"account_id": "alice", "payment_id": "pay_0_1_0", "token": "x", "filename": "pages.css"}
    found = [
        re.sub(r"<(?:\w+:)?(\w+)>", lambda m: places.get(m[1], "1"), str(one))
        for one in world.pages.url_map.iter_rules()
    ]
    return sorted(set(found))


OPEN_TO_ALL = ("/sign-in", "/invitation/x", "/preferences", "/static/pages.css", "/v1/reference")


def test_nobody_sees_a_page_without_signing_in(world: World) -> None:
    for path in rules(world):
        response = world.browser().get(path)
        if path not in OPEN_TO_ALL and response.status_code != 405:
            assert response.status_code == 303, path
            assert response.headers["Location"].startswith("/sign-in"), path


@pytest.mark.parametrize("path", PAGES)
def test_a_viewer_reads_every_page(viewer: Browser, path: str) -> None:
    assert viewer.get(path, follow_redirects=True).status_code == 200


def test_a_page_for_another_role_is_refused(world: World) -> None:
    asked = Blueprint("asked", __name__)
    asked.add_url_rule("/asked", view_func=needs(Role.CONTROLLER)(lambda: "seen"))
    application = create_pages(world.page_services)
    application.register_blueprint(asked)
    for role, status in ((Role.VIEWER, 403), (Role.ACCOUNTANT, 403), (Role.CONTROLLER, 200), (Role.ADMIN, 200)):
        world.signed_in(role)
        browser = Browser(application.test_client())
        assert browser.sign_in(f"a-{role.value}").status_code == 303
        assert browser.get("/asked").status_code == status, role


def test_each_role_includes_those_before_it() -> None:
    roles = list(Role)
    assert [[one.may_act_as(other) for other in roles] for one in roles] == [
        [n >= m for m in range(len(roles))] for n in range(len(roles))
    ]


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/sign-in"])
def test_every_answer_bars_what_pages_never_do(viewer: Browser, path: str) -> None:
    headers = viewer.get(path, follow_redirects=True).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/sign-in"])
def test_no_page_has_a_script_a_style_or_a_file_that_the_policy_bars(viewer: Browser, path: str) -> None:
    page = viewer.get(path, follow_redirects=True).text
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page) == []
    assert re.findall(r"\sstyle=", page) == []
    assert re.findall(r"\son[a-z]+=", page) == []
    assert re.findall(r"""(?:src|href|action)=["'](?:https?:)?//""", page) == []
    assert "<style" not in page


def test_files_for_browsers_are_kept_by_their_content(viewer: Browser) -> None:
    [address] = re.findall(r'href="(/static/holdfast\.css\?v=\w+)"', viewer.page("/"))
    response = viewer.get(address)
    assert response.status_code == 200
    assert "max-age=31536000" in response.headers["Cache-Control"]


def test_files_of_others_are_what_the_manifest_says() -> None:
    manifest = json.loads((STATIC / "vendor" / "manifest.json").read_text())
    listed = {one["file"] for one in manifest["files"]} | {one["licence_file"] for one in manifest["files"]}
    assert {path.name for path in (STATIC / "vendor").iterdir()} == listed | {"manifest.json"}
    for one in manifest["files"]:
        assert hashlib.sha256((STATIC / "vendor" / one["file"]).read_bytes()).hexdigest() == one["sha256"]


def test_a_form_without_its_token_does_nothing(world: World) -> None:
    browser = world.signed_in(name="nora")
    for token in ({}, {"csrf_token": "made up"}):
        response = browser.client.post("/sign-out", data=token)
        assert response.status_code == 400
        assert "Nothing was done" in response.text
    assert browser.get("/me").status_code == 200
    assert world.browser().client.post("/sign-in", data={"name": "nora", "password": PASSWORD}).status_code == 400


def test_the_token_of_another_person_does_nothing(world: World) -> None:
    mine, theirs = world.signed_in(name="nora"), world.signed_in(name="eve")
    token = re.search(r'name="csrf_token" value="([^"]+)"', theirs.page("/me"))
    assert token is not None
    assert mine.client.post("/sign-out", data={"csrf_token": token[1]}).status_code == 400


def test_print_says_what_was_asked_for(viewer: Browser) -> None:
    assert "Only what was asked for" not in text_of(viewer.page("/accounts?view=print"))
    asked = text_of(viewer.page("/accounts?begins_with=al&type=asset&unknown=x&view=print"))
    assert "Only what was asked for: begins with al, type asset." in asked


def test_an_invitation_that_cannot_be_taken_up_says_so(world: World) -> None:
    response = world.browser().get("/invitation/used")
    assert (response.status_code, "Ask for a new one." in response.text) == (404, True)


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/142.0 Safari/537.36 Edg/142.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
    ],
)
def test_a_browser_is_named_in_words(client: str, said: str) -> None:
    assert browser(client) == said


@pytest.mark.parametrize(
    ("asked", "status"), [("/nothing", 404), ("/accounts/nobody", 404), ("/payments/pay_0_1_0", 404)]
)
def test_what_is_not_there_is_said_in_a_page(viewer: Browser, asked: str, status: int) -> None:
    response = viewer.get(asked)
    assert response.status_code == status
    assert "Nothing has this address." in text_of(response.text)


def test_another_method_is_refused(viewer: Browser) -> None:
    assert viewer.client.delete("/accounts").status_code in (400, 405)


def test_theme_and_entity_are_kept_and_lead_back_to_these_pages_only(world: World) -> None:
    browser = world.signed_in(name="nora")
    response = browser.get("/preferences?theme=dark&back=/accounts")
    assert response.headers["Location"] == "/accounts"
    assert 'data-theme="dark"' in browser.page("/accounts")
    browser.get("/preferences?theme=system")
    assert "data-theme" not in browser.page("/accounts")
    assert browser.get("/preferences?entity_id=default&back=//evil.example").headers["Location"] == "/"
    assert "Entity default, in the order" in text_of(browser.page("/accounts"))
    browser.get("/preferences?entity_id=")
    assert "All entities, in the order" in text_of(browser.page("/accounts"))


def test_a_page_says_when_a_server_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = world.signed_in(name="nora")
    world.sql("ALTER TABLE account RENAME TO account_away")
    try:
        response = browser.get("/accounts")
        assert response.status_code in (500, 503)
        assert "<h1>" in response.text
    finally:
        world.sql("ALTER TABLE account_away RENAME TO account")
