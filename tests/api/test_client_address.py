"""Whose address a request comes from: X-Forwarded-For is believed only as far as trusted proxies have written it."""

import pytest

from app.api.client_address import ClientAddresses
from app.domain.errors import Misconfigured

PROXIES = "10.0.0.0/8, ::1,192.0.2.7"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ("198.51.100.1", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        (None, None),
        ("somewhere", None),
    ],
)
def test_without_a_trusted_proxy_the_peer_counts(peer: str | None, address: str | None) -> None:
    assert ClientAddresses().address_of(peer, "203.0.113.9") == address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("10.1.2.3:80", "203.0.113.9", "203.0.113.9"),
        ("[::1]:80", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3:80", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # the left one is what the client said
        ("10.1.2.3:80", "1.1.1.1, 203.0.113.9, 10.9.9.9,192.0.2.7", "203.0.113.9"),
        ("10.1.2.3:80", "10.4.4.4", "10.4.4.4"),
        ("10.1.2.3:80", "203.0.113.9:555", "203.0.113.9"),
        ("10.1.2.3:80", "nonsense", "10.1.2.3"),
        ("10.1.2.3:80", "203.0.113.9, nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.1.2.3:80", None, "10.1.2.3"),
        ("198.51.100.1:80", "203.0.113.9", "198.51.100.1"),  # no proxy of ours
    ],
)
def test_what_trusted_proxies_have_written_counts(peer: str, forwarded_for: str | None, address: str) -> None:
    assert ClientAddresses(PROXIES).address_of(peer, forwarded_for) == address


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"HOLDFAST_TRUSTED_PROXIES.*proxy"):
        ClientAddresses("proxy")
