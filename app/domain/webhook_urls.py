"""Where webhooks may be sent to: https URLs of hosts with public addresses, unless a setting allows more."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

LONGEST_URL = 2_000

_TRANSLATED = ip_network("64:ff9b::/96")
"""IPv4 addresses as IPv6 ones behind a NAT64."""


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, looked at as what it leads to."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(str(inner))
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def refuse_url(url: str, *, allow_private: bool) -> str | None:
    """Why nothing would ever be sent to a URL; None for one that may be tried. Its name is looked up when sending."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in (("https", "http") if allow_private else ("https",)):
        return "must begin with https://"
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return "must name a host, without a user, a password or a fragment"
    if not url.isascii() or any(character.isspace() or not character.isprintable() for character in url):
        return "must be plain ASCII without spaces"
    if not allow_private and _is_private_literal(host):
        return "must not lead to a private address"
    return None


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".internal", ".local"))
