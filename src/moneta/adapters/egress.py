"""Where a webhook may go: URLs in one canonical form, and addresses judged by a deny table of our own.

Pure: no DNS, no sockets. The threat is SSRF: an organization, or whoever holds the DNS of its host, points the
hub at the hub's own network. Two rules answer it, and ``http_sender`` keeps the third (connect to what was checked):

1. A URL is read once, strictly, by two parsers that must agree: a shape of ours, then the one of the client
   that connects (WHATWG URL, which also maps internationalized names: UTS 46). Whatever the second would
   silently repair (``127.1``, a tab, a backslash, ``%31``) is refused.
2. An address is admitted only if no row of the table holds it. ``ipaddress.is_global`` will not do: it is true
   for 64:ff9b::7f00:1, which a NAT64 gateway turns into 127.0.0.1.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, ip_address, ip_network
from typing import Final

from pyreqwest.http import Url

from moneta.domain.errors import InvalidFieldError
from moneta.domain.limits import (
    ENDPOINTS_REMEMBERED_MAX,
    URL_CHARS_MAX,
)

HOST_CHARS_MAX: Final = 253
"""RFC 1035, section 2.3.4, less the root's dot and the length octet."""
LABEL_CHARS_MAX: Final = 63

_NEVER: Final = False
_LOCAL: Final = True

# The first row that holds an address speaks for it. "local" rows are admitted by ``allow_private``, for tests and
# demos on one machine; the others never: nobody's test needs the cloud's metadata service or an embedded address.
# Sources: IANA's special-purpose address registries (RFC 6890) and the RFC beside each row.
# fmt: off
_DENIED: Final = tuple((ip_network(network), is_local, reason) for network, is_local, reason in (
    ("0.0.0.0/8",          _NEVER, "this network (RFC 791)"),
    ("10.0.0.0/8",         _LOCAL, "private (RFC 1918)"),
    ("100.64.0.0/10",      _NEVER, "carrier-grade NAT (RFC 6598)"),
    ("127.0.0.0/8",        _LOCAL, "loopback (RFC 1122)"),
    ("168.63.129.16/32",   _NEVER, "a cloud's host service"),
    ("169.254.0.0/16",     _NEVER, "link-local (RFC 3927)"),
    ("172.16.0.0/12",      _LOCAL, "private (RFC 1918)"),
    ("192.0.0.0/24",       _NEVER, "IETF protocol assignments (RFC 6890)"),
    ("192.0.2.0/24",       _NEVER, "documentation (RFC 5737)"),
    ("192.31.196.0/24",    _NEVER, "AS112 (RFC 7535)"),
    ("192.52.193.0/24",    _NEVER, "AMT (RFC 7450)"),
    ("192.88.99.0/24",     _NEVER, "6to4 relays (RFC 7526)"),
    ("192.168.0.0/16",     _LOCAL, "private (RFC 1918)"),
    ("192.175.48.0/24",    _NEVER, "AS112 (RFC 7534)"),
    ("198.18.0.0/15",      _NEVER, "benchmarking (RFC 2544)"),
    ("198.51.100.0/24",    _NEVER, "documentation (RFC 5737)"),
    ("203.0.113.0/24",     _NEVER, "documentation (RFC 5737)"),
    ("224.0.0.0/4",        _NEVER, "multicast (RFC 5771)"),
    ("240.0.0.0/4",        _NEVER, "reserved and broadcast (RFC 1112, RFC 919)"),
    ("::1/128",            _LOCAL, "loopback (RFC 4291)"),
    ("::/128",             _NEVER, "unspecified (RFC 4291)"),
    ("::/96",              _NEVER, "IPv4-compatible (RFC 4291)"),
    ("::ffff:0:0/96",      _NEVER, "IPv4-mapped (RFC 4291)"),
    ("::ffff:0:0:0/96",    _NEVER, "IPv4-translated (RFC 2765)"),
    ("64:ff9b::/96",       _NEVER, "NAT64 (RFC 6052)"),
    ("64:ff9b:1::/48",     _NEVER, "local-use NAT64 (RFC 8215)"),
    ("100::/64",           _NEVER, "discard-only (RFC 6666)"),
    ("100:0:0:1::/64",     _NEVER, "dummy prefix (RFC 9780)"),
    ("2001::/32",          _NEVER, "Teredo (RFC 4380)"),
    ("2001:10::/28",       _NEVER, "ORCHID (RFC 4843)"),
    ("2001:20::/28",       _NEVER, "ORCHIDv2 (RFC 7343)"),
    ("2001::/23",          _NEVER, "IETF protocol assignments (RFC 2928)"),
    ("2001:db8::/32",      _NEVER, "documentation (RFC 3849)"),
    ("2002::/16",          _NEVER, "6to4 (RFC 3056)"),
    ("2620:4f:8000::/48",  _NEVER, "AS112 (RFC 7534)"),
    ("3ffe::/16",          _NEVER, "6bone, handed back (RFC 3701)"),
    ("3fff::/20",          _NEVER, "documentation (RFC 9637)"),
    ("5f00::/16",          _NEVER, "segment routing (RFC 9602)"),
    ("fd00:ec2::/32",      _NEVER, "a cloud's metadata service"),
    ("fc00::/7",           _LOCAL, "unique local (RFC 4193)"),
    ("fe80::/10",          _NEVER, "link-local (RFC 4291)"),
    ("fec0::/10",          _NEVER, "site-local (RFC 3879)"),
    ("ff00::/8",           _NEVER, "multicast (RFC 4291)"),
    # Only 2000::/3 has been given out (RFC 4291, section 2.4): the rest of IPv6 is refused, whatever it becomes.
    ("::/3",               _NEVER, "not global unicast (RFC 4291)"),
    ("4000::/2",           _NEVER, "not global unicast (RFC 4291)"),
    ("8000::/1",           _NEVER, "not global unicast (RFC 4291)"),
))
# fmt: on

_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa")
"""Names that only a local network answers: RFC 6761, RFC 6762, ICANN's .internal, RFC 8375."""

_NAME_CHARS: Final = r"[0-9A-Za-z._\-\u00a1-\U0010ffff]+"
_SHAPE: Final = re.compile(
    rf"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    rf"(?P<host>\[[0-9A-Fa-f:.]+\]|{_NAME_CHARS})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:[/?][!\"$-\[\]-~]*)?)"
)
"""Scheme, host, port and the rest. In the rest printable ASCII without ``#`` and backslash; no userinfo anywhere."""
_LABEL: Final = re.compile(r"[0-9a-z_]([0-9a-z_\-]*[0-9a-z_])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A webhook URL that has been read: canonical, and ready for the client that connects.

    ``host``: a name or an address without brackets. ``origin``: scheme, host and port, equal for URLs that may
    share connections. ``is_literal``: the host is an address; DNS has no part in it.
    """

    url: str
    target: Url
    origin: str
    host: str
    port: int
    is_https: bool
    is_literal: bool


def check_webhook_url(url: str, *, allow_http: bool, allow_private: bool) -> str:
    """Return the canonical form of ``url``: what to store, compare and send to. Asks no DNS.

    Lower-case scheme and host, IDNA, no trailing dot, no default port, a path. Checking it again changes nothing.

    Raises:
        InvalidFieldError: No webhook may go there. The URL is not in the message: its path may hold a secret.
    """
    endpoint = read_endpoint(url, allow_http=allow_http, allow_private=allow_private)
    refusal = why_refused([endpoint.host], allow_private=allow_private) if endpoint.is_literal else None
    if refusal is not None:
        raise _invalid(f"the address is {refusal}")
    return endpoint.url


def why_refused(addresses: Iterable[str], *, allow_private: bool) -> str | None:
    """Return why one of ``addresses`` may not be connected to, or None if all may.

    One denied address condemns them all: a name that answers with a public and a private one is an attempt,
    and which of them gets used would be up to the resolver's order.
    """
    refusals = (_why_denied(address, allow_private=allow_private) for address in addresses)
    return next((refusal for refusal in refusals if refusal is not None), None)


@lru_cache(maxsize=ENDPOINTS_REMEMBERED_MAX)
def read_endpoint(url: str, *, allow_http: bool, allow_private: bool) -> Endpoint:
    """Return the endpoint that ``url`` names; a literal address in it is not judged yet.

    Remembered by URL: the hot path reads the same few thousand again and again.

    Raises:
        InvalidFieldError: Not an absolute http(s) URL of the strict form, or of a scheme or name not allowed.
    """
    scheme, host, port, rest = _split(url)
    if scheme == "http" and not allow_http:
        raise _invalid("expected https, got http")
    # An absolute name (RFC 1034, section 3.1) is the same host: without its dot, so that one host has one pin.
    target = _parse_as_client(f"{scheme}://{host.removesuffix('.')}{port}{rest}")
    is_literal = _is_literal(host, target.host_str or "")
    if not is_literal:
        _check_name(target.host_str or "", allow_private=allow_private)
    number = target.port_or_known_default
    if not number:
        raise _invalid("expected a port from 1 to 65535")
    name = (target.host_str or "").strip("[]")
    return Endpoint(
        url=str(target),
        target=target,
        origin=f"{scheme} {name} {number}",
        host=name,
        port=number,
        is_https=scheme == "https",
        is_literal=is_literal,
    )


def _why_denied(address: str, *, allow_private: bool) -> str | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an IP address"
    if "%" in address:
        return "bound to an interface (RFC 4007)"
    for network, is_local, reason in _DENIED:
        if parsed in network:
            return None if is_local and allow_private else reason
    return None


def _split(url: str) -> tuple[str, str, str, str]:
    """Return scheme and host in lower case, then ``:port`` and the rest as written."""
    shape = _SHAPE.fullmatch(url) if len(url) <= URL_CHARS_MAX else None
    if shape is None:
        raise _invalid(
            f"expected scheme://host[:port][/path][?query] of at most {URL_CHARS_MAX} characters,"
            " no userinfo, fragment, backslash, space or control character"
        )
    port = f":{shape['port']}" if shape["port"] else ""
    return shape["scheme"].lower(), shape["host"].lower(), port, shape["rest"]


def _parse_as_client(url: str) -> Url:
    try:
        return Url.parse(url)
    except ValueError as error:
        raise _invalid("the host or the port is not valid") from error


def _is_literal(written: str, read: str) -> bool:
    """Return whether the host is an address; refuse a host that the client reads as another one.

    This is where 2130706433, 0x7f000001, 0177.0.0.1 and 127.1 end, and circled or full-width digits and dots:
    the client makes 127.0.0.1 of each. A host written as 127.0.0.1 stays, to be judged by the table.
    """
    if written.startswith("["):
        return True
    is_ipv4 = _is_ipv4(read)
    if (is_ipv4 and written != read) or not _is_same_name(written.removesuffix("."), read):
        raise _invalid("the host can be read as another one")
    return is_ipv4


def _is_same_name(written: str, read: str) -> bool:
    # A label beyond ASCII has to end as an A-label (RFC 5890). One that maps to plain ASCII was written to deceive.
    pairs = zip(written.split("."), read.split("."), strict=False)
    return written.count(".") == read.count(".") and all(
        a == b if a.isascii() else b.startswith("xn--") for a, b in pairs
    )


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _check_name(name: str, *, allow_private: bool) -> None:
    labels = name.split(".")
    if len(name) > HOST_CHARS_MAX or not all(_is_label(label) for label in labels):
        raise _invalid("the host is not a name of DNS")
    # One label is completed by this machine's search domains: where it leads is not for a partner to choose.
    if not allow_private and (len(labels) == 1 or name.endswith(_LOCAL_SUFFIXES)):
        raise _invalid("the host is a local name")


def _is_label(label: str) -> bool:
    return len(label) <= LABEL_CHARS_MAX and _LABEL.fullmatch(label) is not None


def _invalid(reason: str) -> InvalidFieldError:
    return InvalidFieldError(f"webhook_url: {reason}", field="webhook_url")
