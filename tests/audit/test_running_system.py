"""The audit of a whole system: over kills, a flood, a ledger that is away, and a stop."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from app.embedded.attach import announced
from app.services.access.call_recorder import KEPT_REFUSED
from tests.api.world import BANK, payment
from tests.embedded.test_up import System
from tests.patience import PATIENCE_S, until

CLIENTS = 4
KILLS = 4
FLOOD = 4_000


class Audited:
    """A running system, calls to it, and its ledger as the owner sees it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.key = (system.data_dir / "api-key").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and body of one request; status 0 where the connection broke."""
        sent = {"Authorization": f"Bearer {self.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, None if body is None else json.dumps(body), sent)
                response = connection.getresponse()
                return response.status, json.loads(response.read() or b"{}")
            except (OSError, http.client.HTTPException):
                return 0, {}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        running = announced(self.system.data_dir)
        assert running is not None
        with psycopg.connect(running.owner_database_url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def prepare(self) -> None:
        for account_id, type in ((BANK, "asset"), ("alice", "liability")):
            body = {"account_id": account_id, "type": type, "currency_code": "EUR"}
            assert self.call("POST", "/v1/accounts", body)[0] in (200, 201)

    def is_drained(self) -> bool:
        return self.call("GET", "/readyz")[1].get("backlog") == 0


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    system = System(tmp_path / "data")
    try:
        audited = Audited(system.wait_ready())
        audited.prepare()
        yield audited
    finally:
        system.stop()


def kill(audited: Audited) -> None:
    """One process of the API and one drain, without a warning."""
    for process in audited.system.named("workers.drain")[:1]:
        process.kill()
    for granian in audited.system.named("granian"):
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            granian.children()[0].kill()


def test_every_posted_payment_has_one_record_over_kills(audited: Audited) -> None:
    stopped = threading.Event()

    def pay(client: int) -> list[str]:
        accepted = []
        for number in range(1_000_000):
            if stopped.is_set():
                return accepted
            name = f"{client}-{number}"
            body = payment(BANK, "alice", 1, external_id=name)
            while not stopped.is_set():
                status, _ = audited.call("POST", "/v1/payments", body, X_Request_Id=f"r-{name}")
                if status in (200, 201):
                    accepted.append(name)
                    break
                time.sleep(0.01)
        return accepted

    with ThreadPoolExecutor(CLIENTS) as clients:
        paying = [clients.submit(pay, number) for number in range(CLIENTS)]
        for _ in range(KILLS):
            time.sleep(1)
            kill(audited)
            until(lambda: len(audited.system.named("workers.drain")) == 2)
        stopped.set()
        accepted = {name for one in paying for name in one.result()}
    until(lambda: audited.system.status() == 200)
    until(audited.is_drained)
    posted = {name for (name,) in audited.sql("SELECT external_id FROM ledger_transaction WHERE kind = 'payment'")}
    assert accepted <= posted
    assert len(posted) > 10
    strays = audited.sql(
        """SELECT t.payment_id, t.external_id, count(a.number), min(a.request_id)
        FROM ledger_transaction t LEFT JOIN audit_call a ON a.payment_id = t.payment_id AND a.action = 'payment'
        WHERE t.kind = 'payment' GROUP BY 1, 2
        HAVING count(a.number) <> 1 OR min(a.request_id) <> 'r-' || t.external_id"""
    )
    assert strays == [], "exactly one record for each, with the id of the call that was accepted"
    assert audited.sql("SELECT count(*) FROM audit_call WHERE action = 'payment'") == [(len(posted),)]


def test_a_flood_of_refused_calls_is_counted_and_payments_go_on(audited: Audited) -> None:
    def refuse(times: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", audited.system.port, timeout=PATIENCE_S)
        refused = 0
        with contextlib.closing(connection):
            for _ in range(times):
                connection.request("GET", "/v1/accounts", headers={"Authorization": "Bearer nobody"})
                response = connection.getresponse()
                response.read()
                refused += response.status == 401
        return refused

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        flooding = [clients.submit(refuse, FLOOD // CLIENTS) for _ in range(CLIENTS)]
        assert audited.call("POST", "/v1/payments", payment(BANK, "alice", 1))[0] == 201
        refused = sum(one.result() for one in flooding)
    seconds = time.monotonic() - began
    assert refused == FLOOD
    counted = "SELECT coalesce(sum(calls), 0), count(*) FROM audit_call WHERE code = 'unauthenticated'"
    until(lambda: audited.sql(counted)[0][0] >= FLOOD)
    [(calls, records)] = audited.sql(counted)
    assert calls == FLOOD, "each is kept or counted, and none twice"
    processes = len(audited.system.named("granian")[0].children())
    assert records <= processes * (KEPT_REFUSED + 2) * (seconds + 2)


def test_calls_are_kept_while_the_ledger_is_away(audited: Audited) -> None:
    (postmaster,) = audited.system.named("/postgres -D")
    postmaster.kill()
    names = [f"away-{number}" for number in range(20)]
    for name in names:
        assert audited.call("GET", "/v1/nowhere", X_Request_Id=name)[0] == 404
    until(lambda: audited.system.status() == 200)
    written = "SELECT count(*), count(DISTINCT request_id) FROM audit_call WHERE request_id LIKE 'away-%'"
    until(lambda: audited.sql(written) == [(20, 20)])


def test_no_key_is_kept(audited: Audited) -> None:
    """Not those that are made and rotated, nor those that calls bring: in their headers, or where none belongs."""
    made = audited.call("POST", "/v1/keys", {"name": "made", "scopes": ["read"]}, X_Request_Id="made")[1]
    path = f"/v1/keys/{made['key_id']}/rotate"
    status, rotated = audited.call("POST", path, {"overlap_hours": 1}, X_Request_Id="rotated")
    assert (status, rotated["key"].startswith("hf_")) == (201, True)
    assert audited.call("POST", path, {}, X_Request_Id="again")[0] == 409
    stranger = f"hf_{'0' * 12}_{'s' * 43}"
    for key in (made["key"], rotated["key"], stranger):
        for method, where in (("GET", "/v1/accounts"), ("POST", "/v1/keys"), ("GET", "/v1/nowhere")):
            audited.call(method, where, {}, Authorization=f"Bearer {key}")
        audited.call("GET", "/v1/accounts", Authorization=f"Basic {key}")
        for where in ("accounts/{}", "payments/{}", "journals/{}/evidence", "keys/{}", "accounts?key={}", "{}"):
            audited.call("GET", f"/v1/{where.format(key)}")
        audited.call("POST", "/v1/payments", payment(key, "alice", 1, external_id=key))
        audited.call("POST", "/v1/payments", [key, {"key": key}])
        audited.call("POST", "/v1/keys", {"name": "x", "scopes": ["read"], "key": key})
    audited.call("GET", "/v1/nowhere", X_Request_Id="last")
    until(lambda: audited.sql("SELECT count(*) FROM audit_call WHERE request_id = 'last'") == [(1,)])
    kept = dict(audited.sql("SELECT request_id, row_to_json(a)::text FROM audit_call a"))
    assert {"made", "rotated", "again", "last"} <= kept.keys()
    assert len(kept) > 30
    for key in (audited.key, made["key"], rotated["key"], stranger):
        secret = key.split("_", 2)[2]
        assert not [text for text in kept.values() if secret in text]
        for header in (f"Bearer {key[:15]}", f"Basic {key[:15]}"):
            assert not [text for text in kept.values() if header in text]


def test_an_orderly_stop_loses_nothing(tmp_path: Path) -> None:
    first = System(tmp_path / "data")
    audited = Audited(first.wait_ready())
    names = [f"last-{number}" for number in range(20)]
    statuses = [audited.call("GET", "/v1/nowhere", X_Request_Id=name)[0] for name in names]
    first.stop()
    assert statuses == [404] * 20
    again = Audited(System(first.data_dir, first.port).wait_ready())
    try:
        found = {name for (name,) in again.sql("SELECT request_id FROM audit_call WHERE request_id LIKE 'last-%'")}
        assert found == set(names)
    finally:
        again.system.stop()
