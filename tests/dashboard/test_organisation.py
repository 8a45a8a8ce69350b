"""Signing in with an organisation, over a small OpenID Connect server that runs for the test."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from app.domain.users import Role
from tests.api.conftest import fresh_world
from tests.dashboard.world import Browser, World, text_of
from tests.databases import Databases

CLIENT_ID, CLIENT_SECRET = "holdfast", "a secret between two servers"


class Client(ClientMixin):
    """The one client that the organisation knows: the pages."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/sign-in/organisation/answered")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return True

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code:
    """An authorization that was given."""

    values: dict[str, Any]
    subject: str
    auth_time: int = field(default_factory=lambda: int(datetime.now(UTC).timestamp()))

    def get_redirect_uri(self) -> str:
        return str(self.values["redirect_uri"])

    def get_scope(self) -> str:
        return str(self.values["scope"])

    def get_nonce(self) -> str:
        return str(self.values["nonce"])

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None

    code_challenge = property(lambda self: self.values["code_challenge"])
    code_challenge_method = property(lambda self: self.values["code_challenge_method"])


@dataclass
class Organisation:
    """The server: who asks it is signed in as `subject`."""

    subject: str = "subject-of-mira"
    issuer: str = ""
    claimed_issuer: str = ""
    """What its tokens say of their issuer; empty is the truth."""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}))
    codes: dict[str, Code] = field(default_factory=dict)


def application_of(organisation: Organisation) -> Flask:
    application = Flask("organisation")
    server = AuthorizationServer(application, query_client=lambda _: Client(), save_token=lambda token, request: None)

    class CodeGrant(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

        def save_authorization_code(self, code: str, request: Any) -> None:
            organisation.codes[code] = Code(dict(request.payload.data), organisation.subject)

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            return organisation.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            organisation.codes = {key: one for key, one in organisation.codes.items() if one is not authorization_code}

        def authenticate_user(self, authorization_code: Code) -> str:
            return authorization_code.subject

    class IdToken(OpenIDCode):
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def resolve_client_private_key(self, client: Any) -> RSAKey:
            return organisation.key

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            return {"iss": organisation.claimed_issuer or organisation.issuer}

        def generate_user_info(self, user: str, scope: str) -> UserInfo:
            return UserInfo(sub=user)

    server.register_grant(CodeGrant, [IdToken(require_nonce=True), CodeChallenge(required=True)])

    @application.get("/.well-known/openid-configuration")
    def metadata() -> Any:
        base = organisation.issuer
        return jsonify(
            issuer=base,
            authorization_endpoint=f"{base}/authorize",
            token_endpoint=f"{base}/token",
            jwks_uri=f"{base}/keys",
            id_token_signing_alg_values_supported=["RS256"],
        )

    @application.get("/keys")
    def keys() -> Any:
        return jsonify(keys=[organisation.key.as_dict(private=False)])

    @application.get("/authorize")
    def authorize() -> Any:
        return server.create_authorization_response(grant_user=organisation.subject)

    @application.post("/token")
    def token() -> Any:
        return server.create_token_response()

    return application


@pytest.fixture
def organisation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Organisation]:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the test's server speaks plain HTTP on this machine
    organisation = Organisation()
    server = make_server("127.0.0.1", 0, application_of(organisation), threaded=True)
    organisation.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield organisation
    server.shutdown()
    thread.join()


@pytest.fixture
def world(databases: Databases, organisation: Organisation) -> Iterator[World]:
    with fresh_world(databases, World) as world:
        yield world.with_settings(
            oidc_issuer=organisation.issuer, oidc_client_id=CLIENT_ID, oidc_client_secret=CLIENT_SECRET
        )


def through_organisation(browser: Browser, path: str) -> TestResponse:
    """Follow a link to the organisation and come back with its answer."""
    sent = browser.get(path)
    assert sent.status_code == 302, sent.text
    answer = requests.get(sent.headers["Location"], allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    return browser.get(f"{back.path}?{back.query}")


def test_an_invited_person_signs_in_with_their_account_from_then_on(world: World) -> None:
    path = world.invitation("mira", Role.CONTROLLER)
    assert "Use the account of your organisation" in world.browser().page(path)
    joining = world.browser()
    assert through_organisation(joining, f"{path}/organisation").status_code == 303
    assert "recorded as user:mira" in text_of(joining.page("/me"))
    assert world.browser().get(path).status_code == 404, "the invitation is used up"

    later = world.browser()
    assert "Sign in with your organisation" in later.page("/sign-in")
    response = through_organisation(later, "/sign-in/organisation?next=/accounts")
    assert (response.status_code, response.headers["Location"]) == (303, "/accounts")
    assert world.sql("SELECT method FROM user_session ORDER BY begun_at") == [("organisation",), ("organisation",)]


def test_an_account_that_nobody_was_invited_with_stays_out(world: World, organisation: Organisation) -> None:
    world.user("mira")
    organisation.subject = "somebody-else"
    browser = world.browser()
    response = through_organisation(browser, "/sign-in/organisation")
    assert response.status_code == 403
    assert "No user here has this account" in text_of(response.text)
    assert browser.get("/me").status_code == 303


def test_an_account_belongs_to_one_person(world: World) -> None:
    first, second = world.invitation("mira"), world.invitation("nora")
    assert through_organisation(world.browser(), f"{first}/organisation").status_code == 303
    assert through_organisation(world.browser(), f"{second}/organisation").status_code == 403
    assert world.browser().get(second).status_code == 200, "the second invitation stands"


def test_a_disabled_person_stays_out(world: World) -> None:
    path = world.invitation("mira")
    through_organisation(world.browser(), f"{path}/organisation")
    world.ledger_users.disable("mira", "tests")
    assert through_organisation(world.browser(), "/sign-in/organisation").status_code == 403


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(world: World) -> None:
    path = world.invitation("mira")
    through_organisation(world.browser(), f"{path}/organisation")
    asking = world.browser().get("/sign-in/organisation")
    answer = requests.get(asking.headers["Location"], allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    stranger = world.browser()
    assert stranger.get(f"{back.path}?{back.query}").status_code == 403
    assert stranger.get("/me").status_code == 303


def test_a_token_of_another_issuer_is_refused(world: World, organisation: Organisation) -> None:
    path = world.invitation("mira")
    organisation.claimed_issuer = "https://evil.example"
    assert through_organisation(world.browser(), f"{path}/organisation").status_code == 403
    assert world.browser().get(path).status_code == 200


def test_the_request_has_state_nonce_and_a_challenge(world: World) -> None:
    sent = parse_qs(urlsplit(world.browser().get("/sign-in/organisation").headers["Location"]).query)
    assert sent["code_challenge_method"] == ["S256"]
    assert all(len(sent[name][0]) >= 16 for name in ("state", "nonce", "code_challenge"))
    assert sent["scope"] == ["openid"]


def test_an_organisation_that_does_not_answer_leaves_the_password(world: World, organisation: Organisation) -> None:
    away = world.with_settings(oidc_issuer="http://127.0.0.1:9")
    response = away.browser().get("/sign-in/organisation")
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in")
