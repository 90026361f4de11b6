"""Sources behind an address: http, https and s3, copied to a local file first."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from stpe.errors import SourceError
from stpe.video.limits import Limits
from stpe.video.temporary import copying

_MAX_REDIRECTS = 5
_BLOCK = 1 << 20
_SECRET = re.compile(r"x-(amz|goog)-|^(sig|signature|token|access_token|key|api_key)$", re.I)


def without_secrets(url: str) -> str:
    """The address without password and signature, fit for messages and datasets.

    >>> without_secrets("https://me:word@example.org/a.mp4?t=1&X-Amz-Signature=ab")
    'https://example.org/a.mp4?t=1'
    """
    parts = urlsplit(url)
    query = [(k, v) for k, v in parse_qsl(parts.query, True) if not _SECRET.search(k)]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query), ""))


def download(url: str, folder: Path, limits: Limits) -> Path:
    """Copy the content at an http, https or s3 address into a file in `folder`.

    Raises SourceError if it cannot be had, SourceLimitError if it is too large.
    """
    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    path = folder / f"download{suffix if re.fullmatch(r'[.][a-z0-9]{1,5}', suffix) else ''}"
    blocks = _s3(url, limits) if urlsplit(url).scheme == "s3" else _http(url, limits)
    deadline = time.monotonic() + (limits.total_timeout_s or float("inf"))
    size = 0
    with copying(), path.open("wb") as file:
        for block in blocks:
            size += len(block)
            limits.check_bytes(size)
            if time.monotonic() > deadline:
                raise SourceError(
                    f"the download took longer than {limits.total_timeout_s:g} s; "
                    "download it yourself and give the file"
                )
            file.write(block)
    return path


def _http(url: str, limits: Limits) -> Iterator[bytes]:
    import httpx

    timeout = httpx.Timeout(limits.read_timeout_s, connect=limits.connect_timeout_s)
    try:
        with httpx.Client(timeout=timeout, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(_MAX_REDIRECTS + 1):
                with client.stream("GET", url) as response:
                    if response.has_redirect_location:
                        url = _redirected(url, response.headers["location"])
                        continue
                    if response.is_error or not response.is_success:
                        raise SourceError(
                            f"the server answered {response.status_code} {response.reason_phrase}; "
                            "check the address"
                        )
                    limits.check_bytes(int(response.headers.get("content-length") or 0))
                    yield from response.iter_raw(_BLOCK)
                    return
        raise SourceError(f"the server redirects more than {_MAX_REDIRECTS} times; check it")
    except httpx.TimeoutException:
        raise SourceError("the server does not answer in time; try again later") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise SourceError(f"cannot be fetched ({error}); check the address") from None


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https"):
        raise SourceError(
            f"the server redirects to {urlsplit(target).scheme}:, which is refused; "
            "give an http or https address"
        )
    return target


def _s3(url: str, limits: Limits) -> Iterator[bytes]:
    from pyarrow import fs

    parts = urlsplit(url)
    key = parts.path.lstrip("/")
    if not parts.netloc or not key:
        raise SourceError("the address names no object; give s3://bucket/key")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        if region is None and endpoint is None:
            region = fs.resolve_s3_region(parts.netloc)
        store = fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=limits.connect_timeout_s,
            request_timeout=limits.read_timeout_s,
        )
        with store.open_input_stream(f"{parts.netloc}/{key}") as stream:
            while block := stream.read(_BLOCK):
                yield block
    except FileNotFoundError:
        raise SourceError("no such object; check bucket and key") from None
    except OSError as error:
        raise SourceError(
            f"cannot be fetched ({error}); check the address and AWS_* settings"
        ) from None
