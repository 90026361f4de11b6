"""URLs that clients name, fetched without lending them the server's place in the network.

Every address a name resolves to must be public, at the first request and at each redirect, and the
connection is made to the very address that was checked, so that a name cannot answer differently
the second time.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpcore

from stpe.errors import SourceError
from stpe.serve.failures import ForbiddenError, InvalidInputError, TooLargeError
from stpe.video.remote import without_secrets

_MAX_REDIRECTS = 5
_CONNECT_S, _READ_S = 10.0, 30.0
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address
_REDIRECTS = (301, 302, 303, 307, 308)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet.

    >>> is_public("93.184.216.34"), is_public("::ffff:127.0.0.1"), is_public("169.254.169.254")
    (True, False, False)
    """
    ip: IPAddress = ipaddress.ip_address(address.partition("%")[0])
    return all(_public(i) for i in (ip, *_embedded(ip)))


def _public(ip: IPAddress) -> bool:
    bad = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved
    if ip.version == 6 and (ip.ipv4_mapped or ip in _TRANSLATED):
        return True  # judged by the address inside
    return ip.is_global and not bad and not ip.is_unspecified


def _embedded(ip: IPAddress) -> Iterable[ipaddress.IPv4Address]:
    """IPv4 addresses that an IPv6 address stands for."""
    if ip.version == 4:
        return ()
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _TRANSLATED:
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [i for i in inner if i is not None]


class _Timed(httpcore.NetworkStream):
    """A connection that times out at a deadline, however often something comes before it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _Timed(stream, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(timeout, left)


class _Guard(httpcore.NetworkBackend):
    """Connects to public addresses, and to those of the networks the operator allows, until a
    deadline by `time.monotonic`."""

    def __init__(self, networks: Sequence[str], deadline: float) -> None:
        self._networks = [ipaddress.ip_network(n) for n in networks]
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check every address, connect to the first. Raises ForbiddenError."""
        addresses = self.resolve(host, port)
        left = _left(self._deadline, timeout)
        stream = self._plain.connect_tcp(addresses[0], port, left, local_address, socket_options)
        return _Timed(stream, self._deadline)

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of them checked. Raises ForbiddenError, SourceError."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise SourceError(f"{host} cannot be resolved; check the address") from None
        addresses = [str(info[4][0]) for info in found]
        for address in addresses:
            if not is_public(address) and not self._allowed(address):
                raise ForbiddenError(
                    f"{host} is not an address of the open internet, and only those are fetched; "
                    "upload the file instead"
                )
        return addresses

    def _allowed(self, address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        return any(ip in network for network in self._networks)


def fetch(
    url: str,
    folder: Path,
    *,
    max_bytes: int,
    total_s: float,
    networks: Sequence[str] = (),
    told: Callable[[int], None] = lambda size: None,
) -> Path:
    """Copy what an http or https URL points to into a new file in `folder`. Blocks; call it from
    a worker thread. `told` hears how many bytes came so far, and may raise to stop.

    Raises:
        InvalidInputError: not an http or https URL.
        ForbiddenError: it points, or redirects, to an address that is not public.
        TooLargeError: more than `max_bytes`.
        SourceError: it cannot be had, or not within `total_s` seconds.
    """
    deadline = time.monotonic() + total_s
    said = without_secrets(_checked(url))
    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    path = folder / f"fetched{suffix if re.fullmatch(r'[.][a-z0-9]{1,5}', suffix) else ''}"
    try:
        with httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=_Guard(networks, deadline)
        ) as pool:
            for _ in range(_MAX_REDIRECTS + 1):
                target = _follow(pool, url, path, max_bytes, told)
                if target is None:
                    return path
                url = _checked(urljoin(url, target))
    except httpcore.TimeoutException:
        late = time.monotonic() >= deadline
        why = f"takes too long; {total_s:g} s are allowed" if late else "does not answer in time"
        raise SourceError(f"{said}: the server {why}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, ValueError, OSError) as error:
        raise SourceError(f"{said}: cannot be fetched ({error}); check the address") from None
    raise SourceError(f"{said}: redirects more than {_MAX_REDIRECTS} times")


def check(url: str, networks: Sequence[str] = ()) -> None:
    """Whether `fetch` would ask that URL's host, for what is fetched later. Blocks.

    Raises:
        InvalidInputError, ForbiddenError, SourceError: as `fetch`.
    """
    parts = urlsplit(_checked(url))
    _Guard(networks, math.inf).resolve(parts.hostname or "", parts.port or 443)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.scheme not in ("http", "https") or not url.isascii():
        raise InvalidInputError("a URL must begin with http:// or https:// and name a host")
    return url


def _follow(
    pool: httpcore.ConnectionPool,
    url: str,
    path: Path,
    max_bytes: int,
    told: Callable[[int], None],
) -> str | None:
    """Write the content to `path` and return None, or return where the server redirects to."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    timeouts = {"connect": _CONNECT_S, "read": _READ_S, "write": _READ_S, "pool": _CONNECT_S}
    headers = [("Host", host), ("Accept-Encoding", "identity"), ("User-Agent", "stpe")]
    with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in _REDIRECTS and b"location" in fields:
            return fields[b"location"]
        if response.status != 200:
            raise SourceError(f"{host} answered {response.status}; check the address")
        claimed = fields.get(b"content-length", "")
        size = int(claimed) if claimed.isdigit() else 0
        with path.open("wb") as file:
            if size <= max_bytes:
                size = 0
                for block in response.iter_stream():
                    size += len(block)
                    if size > max_bytes:
                        break
                    file.write(block)
                    told(size)
    if size > max_bytes:
        path.unlink()
        raise TooLargeError(f"the file at {host} is larger than {max_bytes} bytes")
    return None
