"""A small world for one test: a database and a cache of its own, the application over them, and a client."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self
from uuid import uuid4

import psycopg
import redis
from flask import Flask
from psycopg.conninfo import make_conninfo
from werkzeug.test import TestResponse

from app.api.application import all_routes, create_application
from app.api.context import ApiServices
from app.api.gate import Gate
from app.api.parameters import ANSWER_HEADERS
from app.api.responses import Refused
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key
from app.services.posting.drain import Drain
from app.settings import Settings
from app.wiring.api import build_api
from app.wiring.cache import build_cache
from app.wiring.workers import build_drain
from tests.api.schemas import Validator
from tests.installation import breaks_of
from tests.patience import until

CACHE_DATABASE = "5"
"""A numbered database of the cache, so that a flush touches no other data."""

BANK = "clearing:bank"


@dataclass
class World:
    """Servers, settings, and the calls that a test makes."""

    settings: Settings
    prepare: Callable[[ApiServices], None] = lambda services: None
    sleep: Callable[[float], None] = time.sleep
    """How the services wait before they try again."""

    @cached_property
    def services(self) -> ApiServices:
        """The services under the application. They do not listen for answers unless `listening`."""
        services = build_api(self.settings, sleep=self.sleep)
        services.start = lambda: None
        self.prepare(services)
        return services

    @cached_property
    def application(self) -> Flask:
        """The application."""
        return create_application(self.services)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The served OpenAPI document."""
        document: dict[str, Any] = self.application.test_client().get("/v1/openapi.json").get_json()
        return document

    @cached_property
    def key(self) -> str:
        """A key that may do everything."""
        return self.key_with(Scope.ADMIN)

    @cached_property
    def ledger_api_keys(self) -> LedgerApiKeys:
        """The keys in the ledger, for whoever may make them: the owner."""
        return LedgerApiKeys(owner_engine(self.settings.owner_database_url))

    @cached_property
    def cache(self) -> redis.Redis:
        """A client of the cache."""
        return redis.Redis.from_url(self.settings.redis_url, decode_responses=True)

    @cached_property
    def drain(self) -> Drain:
        """A drain; nothing is posted before it is asked to."""
        return build_drain(self.settings)

    def with_settings(self, **changes: Any) -> Self:
        """The same world under other settings, as another process has it."""
        return replace(self, settings=replace(self.settings, **changes))

    def key_with(self, *scopes: Scope, **more: Any) -> str:
        """A key with these scopes; `more` are the further fields of `NewKey`."""
        return create_key(self.ledger_api_keys, "a test", list(scopes), "tests", **more)

    def call(
        self, method: str, path: str, *, key: str | None = "", headers: Any = None, **options: Any
    ) -> TestResponse:
        """One request; every answer is checked against the served document."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        response = self.application.test_client().open(path, method=method, headers=sent, **options)
        self._check(method, response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """Post JSON; bytes go as they are."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.call("POST", path, data=raw, content_type="application/json", **options)

    def _check(self, method: str, response: TestResponse) -> None:
        """The answer has the status, the headers, the content type, the shape and the code that the document tells."""
        try:
            route, _ = self._gate.route_of("GET" if method == "HEAD" else method, response.request.path)
        except Refused:  # no path or no method of the API, which no operation describes
            assert response.status_code in (404, 405), response.text
            self.validate(response.get_json(), {"$ref": "#/components/schemas/Problem"})
            return
        if method != "OPTIONS":
            self._check_operation(self.document["paths"][route.path][route.method.lower()], method, response)

    def _check_operation(self, operation: dict[str, Any], method: str, response: TestResponse) -> None:
        where = f"{method} {response.request.path}: {response.text}"
        described = operation["responses"].get(str(response.status_code))
        assert described is not None, f"{response.status_code} is not documented: {where}"
        described = self.resolved(described)
        told = {one.name for one in ANSWER_HEADERS if one.name in response.headers}
        assert told <= set(described.get("headers", ())), where
        content = described.get("content")
        if content is None or method == "HEAD":
            assert not response.data, where
            return
        assert response.content_type in content, where
        if "json" in response.content_type:
            self.validate(response.get_json(), content[response.content_type]["schema"])
        if response.content_type == "application/problem+json":
            assert response.get_json()["code"] in described["x-codes"], where

    def resolved(self, described: dict[str, Any]) -> dict[str, Any]:
        """A part of the document, or the component that it refers to."""
        if "$ref" not in described:
            return described
        _, _, kind, name = described["$ref"].split("/")
        found: dict[str, Any] = self.document["components"][kind][name]
        return found

    @cached_property
    def _gate(self) -> Gate:
        return Gate(self.services, all_routes())

    def validate(self, instance: Any, schema: dict[str, Any]) -> None:
        """Check an instance against a schema of the document."""
        whole = {**schema, "components": self.document["components"]}
        Validator(whole).validate(instance)

    # What tests do

    def account(self, account_id: str, type: str = "liability", currency_code: str = "EUR", **more: Any) -> str:
        """Create an account and return its id."""
        body = {"account_id": account_id, "type": type, "currency_code": currency_code, **more}
        response = self.post("/v1/accounts", body)
        assert response.status_code in (200, 201), response.text
        return account_id

    def funded(self, account_id: str, amount_minor: int = 10_000, **more: Any) -> str:
        """An account with money that has been posted."""
        self.account(BANK, "asset")
        self.account(account_id, **more)
        self.deposit(account_id, amount_minor)
        self.drained()
        return account_id

    def deposit(self, account_id: str, amount_minor: int, **more: Any) -> TestResponse:
        """Accept money from the bank."""
        response = self.pay(BANK, account_id, amount_minor, **more)
        assert response.status_code == 201, response.text
        return response

    def pay(
        self,
        source: str,
        destination: str,
        amount_minor: Any = 100,
        *,
        external_id: str | None = None,
        headers: Any = None,
        **more: Any,
    ) -> TestResponse:
        """Submit one payment."""
        body = payment(source, destination, amount_minor, external_id=external_id, **more)
        return self.post("/v1/payments", body, headers=headers)

    def drained(self) -> None:
        """Post everything pending; a drain may skip an account that it found locked for a second."""

        def emptied() -> bool:
            waits = any(self.drain.cache.outbox.backlog().values())
            if waits:
                self.drain.run_once()
            return not waits

        until(emptied, lambda: "the outbox does not become empty")

    def assert_proven(self) -> None:
        """With nothing left to post, cache and ledger must agree in every way that the proofs know."""
        self.drained()
        found = breaks_of(self.settings)
        assert not found, found

    def assert_balances_shown(self) -> None:
        """Every account shows the ledger's balance, and nothing is held."""
        for account_id, balance_minor in self.sql("SELECT account_id, balance_minor FROM account_balance"):
            shown = self.balance(account_id)
            assert (shown["balance_minor"], shown["held_minor"]) == (balance_minor, 0), account_id

    def balance(self, account_id: str) -> dict[str, Any]:
        response = self.get(f"/v1/accounts/{account_id}/balance")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.get_json()
        return body

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of the ledger."""
        with psycopg.connect(self.settings.owner_database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def set_status(self, account_id: str, status: str) -> None:
        """Bar an account as an operator would: in the ledger, then in every partition."""
        self.sql(
            """WITH changed AS (UPDATE account SET status = %s WHERE account_id = %s RETURNING account_id, status)
            INSERT INTO audit_event (actor, action, subject, detail) SELECT 'tests', 'account.change', account_id,
                jsonb_build_object('reason', 'a test', 'forced', false, 'before', '{}'::jsonb,
                    'after', jsonb_build_object('status', status)) FROM changed""",
            status,
            account_id,
        )
        [(version,)] = self.sql(
            "UPDATE ledger_setting SET value = value + 1 WHERE name = 'directory_version' RETURNING value"
        )
        build_cache(self.settings).partition_states.push(version)

    @contextmanager
    def held_lock(self, account_id: str) -> Iterator[None]:
        """A lock on an account's balance, held by somebody else."""
        conninfo = make_conninfo(self.settings.owner_database_url)
        with psycopg.connect(conninfo) as connection:
            connection.execute("SELECT 1 FROM account_balance WHERE account_id = %s FOR UPDATE", [account_id])
            yield
            connection.rollback()


def payment(
    source: str, destination: str, amount_minor: Any = 100, *, external_id: str | None = None, **more: Any
) -> dict[str, Any]:
    """The body of a payment; without an id it gets a new one."""
    return {
        "external_id": external_id or uuid4().hex,
        "source_account_id": source,
        "destination_account_id": destination,
        "amount_minor": amount_minor,
        "currency_code": "EUR",
        **more,
    }


def assert_problem(response: TestResponse, status: int, code: str, *, retryable: bool = False) -> dict[str, Any]:
    """The answer is this refusal, whole; returns its body for the figures."""
    body: dict[str, Any] = response.get_json()
    assert (response.status_code, body.get("code")) == (status, code), response.text
    assert response.content_type == "application/problem+json"
    assert body["status"] == status
    assert body["retryable"] is retryable
    assert body["type"] == f"/v1/problems#{code}"
    assert body["title"]
    assert body["detail"]
    assert ("Retry-After" in response.headers) == (status in (429, 503))
    if status in (429, 503):
        assert int(response.headers["Retry-After"]) >= 1
    return body
