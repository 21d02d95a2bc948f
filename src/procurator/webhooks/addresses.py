"""Where webhooks may go: what an address must look like, and which machines are none of a stranger's business. Pure.

The URL is chosen by an organisation's administrator, the connection is made from inside our network: without these
rules a webhook could reach what only we can (SSRF). The forwarder asks `AddressPolicy` about the very address that it
then connects to, so that a name which resolves to another one a moment later changes nothing.
"""

import ipaddress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from procurator.errors import UserError

URL_CHARS_MAX = 2_000
_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: All of IPv6 that is given to anybody: what is outside of it may be translated to our own network.
_UNICAST = ipaddress.IPv6Network("2000::/3")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Target:
    """A URL in its parts; ``path`` with its query."""

    secure: bool
    host: str
    port: int
    path: str


def parse_url(url: str) -> Target:
    """Return the parts of a webhook's URL. Raises UserError for one that nothing can be posted to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"{url[:200]!r} is no URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UserError(f"{url[:200]!r} is no address to post to: for example https://siem.example.com/procurator")
    if len(url) > URL_CHARS_MAX or not all("!" <= char <= "~" for char in url):
        raise UserError(f"a URL has at most {URL_CHARS_MAX:,} characters of ASCII, and no blanks")
    if parts.username is not None or parts.password is not None:
        raise UserError("a URL with a user or password would show it to whoever reads the endpoint: leave it out")
    if parts.fragment:
        raise UserError("a URL to post to has no fragment: leave out what follows #")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", parts.hostname, port or _PORTS[parts.scheme], path)


def same_receiver(one: str, other: str) -> bool:
    """Return whether two URLs lead to the same host and port, by the same protocol. Raises UserError."""
    return replace(parse_url(one), path="") == replace(parse_url(other), path="")


@dataclass(frozen=True)
class AddressPolicy:
    """``private_networks`` may be connected to although they are not public, and without TLS."""

    private_networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: str) -> "AddressPolicy":
        """Return the policy of a list with commas, as the setting has it. Raises ValueError for what is no network."""
        texts = (text.strip() for text in networks.split(","))
        return cls(tuple(ipaddress.ip_network(text) for text in texts if text))

    def refusal(self, address: str, secure: bool) -> str | None:
        """Return what is wrong with this address (of IPv4 or IPv6), as in "it is private"; None when nothing is."""
        each = _inner(ipaddress.ip_address(address.partition("%")[0]))
        if any(each in network for network in self.private_networks):
            return None
        odd = isinstance(each, ipaddress.IPv6Address) and each not in _UNICAST
        if odd or not each.is_global or each.is_multicast:
            return "is a private address, and in no network of PROCURATOR_WEBHOOK_PRIVATE_NETWORKS"
        return None if secure else "is a public address: use https"


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
