"""A file from an address, taken up where an earlier download of it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from stpe.errors import ModelError

_BLOCK = 1 << 20
_WAIT_S = 30.0
_TRIES = 5


def download(
    url: str,
    target: Path,
    progress: Callable[[int, int | None], None],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Write what is at `url` to `target`, going on after the bytes that are there already.

    A connection that is lost on the way is taken up again as long as that brings bytes.

    Args:
        url: http or https; redirects are followed, `headers` only to the same host.
        target: a file that holds the beginning, or nothing.
        progress: told (bytes done, bytes in all or None).
        headers: to send along.

    Raises:
        ModelError: it cannot be had whole; what came is kept in `target`.
        OSError: `target` cannot be written.
    """
    import httpx

    tries = _TRIES
    while True:
        have = target.stat().st_size if target.exists() else 0
        try:
            _continue(url, target, have, progress, headers or {})
            return
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise ModelError(f"{url} cannot be had: the server answered {status}") from error
        except httpx.HTTPError as error:
            moved = target.exists() and target.stat().st_size > have
            tries = _TRIES if moved else tries - 1
            if tries == 0 or (have == 0 and not moved):
                raise ModelError(
                    f"{url} cannot be had ({error or type(error).__name__}); run the same command "
                    "again: it goes on from where it was"
                ) from error


def _continue(
    url: str,
    target: Path,
    have: int,
    progress: Callable[[int, int | None], None],
    headers: Mapping[str, str],
) -> None:
    import httpx

    asked = {**headers, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    with httpx.stream(
        "GET", url, headers=asked, follow_redirects=True, timeout=_WAIT_S
    ) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it was whole; its hash will tell
        response.raise_for_status()
        done = have if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
        length = response.headers.get("content-length")
        total = done + int(length) if length else None
        with target.open("ab" if done else "wb") as file:
            for block in response.iter_bytes(_BLOCK):
                done += file.write(block)
                progress(done, total)
