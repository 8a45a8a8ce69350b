"""What the server itself does for the audit: whose address a proxy tells, and an export that is streamed."""

import contextlib
import csv
import http.client
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.api.audit import EXPORTED_AT_ONCE
from tests.audit.running import Audited
from tests.embedded.test_up import System
from tests.patience import PATIENCE_S, until

READS = 2 * EXPORTED_AT_ONCE + 7
CLIENTS = 4


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """A system behind a proxy on this machine, whose own peers it does not trust."""
    system = System(tmp_path_factory.mktemp("served") / "data", HOLDFAST_TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8")
    try:
        yield Audited(system.wait_ready())
    finally:
        system.stop()


FORWARDED: dict[str, tuple[dict[str, str], str]] = {
    # the request id, what the proxy says, and whose address the audit has
    "no-proxy": ({}, "127.0.0.1"),
    "one-proxy": ({"X_Forwarded_For": "203.0.113.9"}, "203.0.113.9"),
    "two-proxies": ({"X_Forwarded_For": "203.0.113.9, 10.1.2.3"}, "203.0.113.9"),
    "a-lie-before-a-stranger": ({"X_Forwarded_For": "198.51.100.7, 203.0.113.9, 10.1.2.3"}, "203.0.113.9"),
    "with-a-port": ({"X_Forwarded_For": "203.0.113.9:4711"}, "203.0.113.9"),
    "ipv6": ({"X_Forwarded_For": "[2001:db8::1]:443"}, "2001:db8::1"),
    "nonsense": ({"X_Forwarded_For": "me"}, "127.0.0.1"),
    "another-header": ({"Forwarded": "for=203.0.113.9", "X_Real_IP": "203.0.113.9"}, "127.0.0.1"),
}


def test_a_trusted_proxys_word_is_taken_as_far_as_it_goes(audited: Audited) -> None:
    for request_id, (headers, _) in FORWARDED.items():
        assert audited.call("GET", "/v1/nowhere", X_Request_Id=request_id, **headers)[0] == 404
    query = "SELECT request_id, host(ip) FROM audit_call WHERE request_id = ANY(%s)"
    until(lambda: len(audited.sql(query, list(FORWARDED))) == len(FORWARDED))
    assert dict(audited.sql(query, list(FORWARDED))) == {name: ip for name, (_, ip) in FORWARDED.items()}


def test_without_a_trusted_proxy_nobody_tells_another_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    system = System(tmp_path_factory.mktemp("plain") / "data")
    try:
        audited = Audited(system.wait_ready())
        audited.call("GET", "/v1/nowhere", X_Request_Id="forged", X_Forwarded_For="203.0.113.9")
        query = "SELECT host(ip) FROM audit_call WHERE request_id = 'forged'"
        until(lambda: audited.sql(query) != [])
        assert audited.sql(query) == [("127.0.0.1",)]
    finally:
        system.stop()


def test_an_export_is_streamed_whole(audited: Audited) -> None:
    """It has no length because it is sent as it is read: piece by piece, several reads of the ledger long."""

    def read(client: int) -> None:
        for number in range(client, READS, CLIENTS):
            assert audited.call("GET", "/v1/assets/EUR", X_Request_Id=f"read-{number}", User_Agent="=cmd()")[0] == 200

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(read, range(CLIENTS)))
    query = "SELECT count(*) FROM audit_call WHERE request_id LIKE 'read-%'"
    until(lambda: audited.sql(query)[0][0] == READS)
    connection = http.client.HTTPConnection("127.0.0.1", audited.system.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {audited.key}"}
        connection.request("GET", "/v1/audit.csv?route=/v1/assets/%7Bcurrency_code%7D", headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        assert (response.getheader("Content-Length"), response.getheader("Transfer-Encoding")) == (None, "chunked")
        assert response.getheader("Content-Type") == "text/csv; charset=utf-8"
        pieces = list(iter(lambda: response.read1(1 << 16), b""))
    rows = list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))
    assert {row["request_id"] for row in rows} >= {f"read-{number}" for number in range(READS)}
    assert len(rows) == len({row["audit_id"] for row in rows}) == READS
    assert len(pieces) > 2


def test_a_client_that_goes_away_ends_an_export(audited: Audited) -> None:
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", audited.system.port, timeout=PATIENCE_S)
        connection.request("GET", "/v1/audit.csv", headers={"Authorization": f"Bearer {audited.key}"})
        assert connection.getresponse().status == 200
        connection.close()
    assert audited.call("GET", "/healthz")[0] == 200
    until(lambda: audited.system.status() == 200)
