"""The audit of a whole system: over kills, a flood, a ledger that is away, and a stop."""

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.services.access.call_recorder import FLUSH_S, KEPT_REFUSED
from tests.api.world import BANK, payment
from tests.audit.running import Audited, audited_system
from tests.embedded.test_up import System
from tests.evidence.world import Auditor
from tests.patience import PATIENCE_S, until
from tools import verify_evidence

CLIENTS = 4
KILLS = 4
FLOOD = 4_000
FLOOD_S = 10
FLOOD_CONNECTIONS = 64
MOST_GROWTH_BYTES = 256 * 1024 * 1024
"""Of all processes together, over a hundred thousand calls."""


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    with audited_system(tmp_path / "data") as audited:
        yield audited


def kill(audited: Audited) -> None:
    """One process of the API and one drain, without a warning."""
    for process in audited.system.named("workers.drain")[:1]:
        process.kill()
    for granian in audited.system.named("granian"):
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            granian.children()[0].kill()


def test_every_posted_payment_has_one_record_and_evidence_that_verifies_over_kills(
    audited: Audited, tmp_path: Path
) -> None:
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
    assert_each_has_evidence(audited, tmp_path)


def assert_each_has_evidence(audited: Audited, directory: Path) -> None:
    """Each posted payment has one packet, which the file verifier confirms by kept heads, with no server."""
    payments = audited.sql("SELECT payment_id, external_id FROM ledger_transaction WHERE kind = 'payment'")
    kept = audited.export_heads(directory / "heads.jsonl")
    packets = {}
    for payment_id, external_id in payments:
        status, packet = audited.call("GET", f"/v1/payments/{payment_id}/evidence")
        assert (status, packet["subject"]["id"], packet["subject"]["external_id"]) == (200, payment_id, external_id)
        [call] = packet["source"]["calls"]
        assert call["request_id"] == f"r-{external_id}"
        packets[payment_id] = packet
    audited.system.stop()
    auditor = Auditor(directory)
    for packet in packets.values():
        said = verify_evidence.verify([kept], [], (), auditor.keep(packet))
        assert "which was kept" in said[-1]
    auditor.holds("packet", auditor.keep(packet), "--head", kept)
    packet["transaction"]["entries"][0]["amount_minor"] += 1
    auditor.refutes("packet", auditor.keep(packet), "--head", kept)


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
    assert refused == FLOOD
    assert_counted(audited, FLOOD, FLOOD, time.monotonic() - began)


def assert_counted(audited: Audited, least: int, most: int, seconds: float) -> None:
    """Each refused call is kept or counted and none twice, and the records are as few as the bound says."""
    counted = "SELECT coalesce(sum(calls), 0), count(*) FROM audit_call WHERE code = 'unauthenticated'"
    until(lambda: audited.sql(counted)[0][0] >= least)
    time.sleep(2 * FLUSH_S)
    [(calls, records)] = audited.sql(counted)
    assert least <= calls <= most
    assert audited.sql("SELECT count(*) FROM audit_call WHERE action = 'audit.gap'") == [(0,)]
    processes = len(audited.system.named("granian")[0].children())
    assert records <= processes * (KEPT_REFUSED + 2) * (seconds + 2)


@pytest.mark.skipif(os.environ.get("HOLDFAST_LONG") != "1", reason="HOLDFAST_LONG=1 floods for ten seconds")
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_ten_seconds_of_a_flood_are_counted_and_bounded_and_payments_go_on(audited: Audited) -> None:
    """As many refused requests a second as this machine sends and answers; 10,000 take more cores than two.

    The recorder itself is driven at 10,000 a second in `tests/services/access/test_call_recorder.py`.
    """
    before = own_bytes(audited)
    command = ["wrk", "-t1", f"-c{FLOOD_CONNECTIONS}", f"-d{FLOOD_S}s", "-H", "Authorization: Bearer nobody"]
    flood = subprocess.Popen(
        [*command, f"http://127.0.0.1:{audited.system.port}/v1/accounts"], stdout=subprocess.PIPE, text=True
    )
    paid = 0
    while flood.poll() is None:
        body = payment(BANK, "alice", 1, external_id=f"meanwhile-{paid}")
        assert audited.call("POST", "/v1/payments", body)[0] == 201
        paid += 1
    said = flood.communicate()[0]
    found = re.search(r"(\d+) requests in", said)
    assert found is not None, said
    refused = int(found[1])
    assert re.search(rf"Non-2xx or 3xx responses: {refused}\b", said), said
    print(f"\n{refused / FLOOD_S:,.0f} refused requests a second, {paid / FLOOD_S:.0f} payments a second meanwhile")
    # wrk does not count what it had asked for at its end.
    assert_counted(audited, refused, refused + FLOOD_CONNECTIONS, FLOOD_S)
    until(audited.is_drained)
    posted = "SELECT count(*) FROM ledger_transaction WHERE external_id LIKE 'meanwhile-%'"
    assert audited.sql(posted) == [(paid,)]
    assert own_bytes(audited) - before < MOST_GROWTH_BYTES


def own_bytes(audited: Audited) -> int:
    """What all processes have for themselves: each of Postgres also counts the shared buffers that it has touched."""
    return sum(process.memory_full_info().uss for process in audited.system.family())


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
