"""Whose address a request comes from, also where proxies stand between."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.domain.errors import Misconfigured

FORWARDED_FOR = "X-Forwarded-For"
NONE = "none"

_REMEMBERED = 10_000
"""Peers whose address is remembered as text."""


class ClientAddresses:
    """Tells the address of a request's sender. X-Forwarded-For counts as far as trusted proxies have written it."""

    def __init__(self, trusted_proxies: str = NONE) -> None:
        """`trusted_proxies` are addresses and networks, with commas, or `none`; Misconfigured if one is neither."""
        named = [] if trusted_proxies == NONE else trusted_proxies.replace(",", " ").split()
        self._trusted = [_network(one) for one in named]
        self._known: dict[str, str | None] = {}

    @property
    def trusts_proxies(self) -> bool:
        """Whether any proxy is trusted."""
        return bool(self._trusted)

    def address_of(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """The sender's address; None where it is unknown. `peer` is who holds the connection."""
        own = self._plain(peer or "")
        if not self._trusted or forwarded_for is None or own is None or not self._trusts(own):
            return own
        address = own
        # From the right: each trusted proxy has appended whom it was called by.
        for one in reversed(forwarded_for.split(",")):
            former = self._plain(one.strip())
            if former is None:
                break
            address = former
            if not self._trusts(former):
                break
        return address

    def _plain(self, text: str) -> str | None:
        """An address without port, zone or mapping; None if it is not one."""
        if text not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[text] = _parsed(text)
        return self._known[text]

    def _trusts(self, text: str) -> bool:
        address = ip_address(text)
        return any(address in network for network in self._trusted)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise Misconfigured(f"HOLDFAST_TRUSTED_PROXIES: {error}") from None


def _parsed(text: str) -> str | None:
    for candidate in (text, _without_port(text)):
        try:
            return str(_unmapped(ip_address(candidate.partition("%")[0])))
        except ValueError:
            continue
    return None


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0]


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that a socket for both shows as IPv6, as it is."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
