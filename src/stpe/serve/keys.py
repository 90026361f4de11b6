"""Several API keys, each with a name and what it may use.

`STPE_API_KEYS` holds `name:key`, `name:key:requests a minute` or
`name:key:requests a minute:concurrent jobs`, with commas; `STPE_API_KEYS_FILE` names a TOML file:

    [alice]
    key = "..."
    requests_per_minute = 600
    concurrent_jobs = 2
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import time
import tomllib
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from stpe.errors import UsageError
from stpe.serve.failures import TooManyRequestsError

_MINUTE_S = 60.0


class ApiKey(BaseModel):
    """A key and its limits; None for as much as the server gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    key: SecretStr = Field(min_length=8)
    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrent_jobs: int | None = Field(default=None, ge=1)


class Keys:
    """The keys that have names. Raises UsageError for keys that cannot be told apart."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)
        for what in ([k.name for k in keys], [k.key.get_secret_value() for k in keys]):
            if len(set(what)) < len(what):
                raise UsageError("STPE_API_KEYS: each name and each key may stand there once")

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, given: str) -> ApiKey | None:
        """Whose key it is. Takes the same time whichever it is."""
        found = None
        for one in self._keys:
            right = one.key.get_secret_value().encode("utf-8")
            if hmac.compare_digest(given.encode("latin-1", "replace"), right):
                found = one
        return found

    def most_jobs(self, name: str | None) -> int | None:
        """Jobs that a key may have at a time; None for as many as there may be."""
        return next((k.concurrent_jobs for k in self._keys if k.name == name), None)


def from_environment(variables: MutableMapping[str, str] | None = None) -> Keys:
    """The keys of `STPE_API_KEYS` and of the file of `STPE_API_KEYS_FILE`. Raises UsageError."""
    variables = os.environ if variables is None else variables
    written = [w.strip() for w in variables.get("STPE_API_KEYS", "").split(",") if w.strip()]
    fields = ("name", "key", "requests_per_minute", "concurrent_jobs")
    try:
        keys = [
            ApiKey.model_validate({f: v for f, v in zip(fields, one.split(":"), strict=False) if v})
            for one in written
        ]
        file = variables.get("STPE_API_KEYS_FILE")
        if file:
            told = tomllib.loads(Path(file).read_text(encoding="utf-8"))
            keys += [ApiKey.model_validate({"name": name, **told[name]}) for name in told]
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, wrong["loc"]))
        raise UsageError(f"STPE_API_KEYS: {where}: {wrong['msg']}") from None
    except (OSError, TypeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"STPE_API_KEYS_FILE cannot be read: {error}") from None
    return Keys(keys)


def make_own_key(keys: Keys, variables: MutableMapping[str, str]) -> None:
    """A key of the server's own where there are only keys with names: what is beyond loopback is
    then closed as with one, for all its processes alike."""
    if keys and not variables.get("STPE_API_KEY"):
        variables["STPE_API_KEY"] = secrets.token_hex(24)


class Quotas:
    """Requests of the last minute by key, over all processes that share the file.

    The minute slides: of the calendar minute before, the share that is still within 60 s counts.

    Args:
        path: of the file; None for this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._database = sqlite3.connect(
            path or ":memory:", timeout=1.0, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")  # what a crash loses is a minute's count
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS asked (name TEXT, minute INTEGER, count INTEGER, "
            "PRIMARY KEY (name, minute))"
        )

    def take(self, key: ApiKey, now: float | None = None) -> None:
        """Count a request. Raises TooManyRequestsError, which says when there is room again."""
        most = key.requests_per_minute
        if most is None:
            return
        now = time.time() if now is None else now
        minute, share = int(now // _MINUTE_S), now % _MINUTE_S / _MINUTE_S
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        try:
            run("DELETE FROM asked WHERE name = ? AND minute < ?", (key.name, minute - 1))
            counts = dict(run("SELECT minute, count FROM asked WHERE name = ?", (key.name,)))
            here, before = counts.get(minute, 0), counts.get(minute - 1, 0)
            full = here + before * (1 - share) >= most
            if not full:
                run(
                    "INSERT INTO asked VALUES (?, ?, 1) "
                    "ON CONFLICT (name, minute) DO UPDATE SET count = count + 1",
                    (key.name, minute),
                )
        finally:
            run("COMMIT")
        if full:
            over = here >= most  # else it is the minute before that fills it up
            room_at = 1.0 if over else 1 - (most - here) / before
            wait_s = max(1.0, (room_at - share) * _MINUTE_S)
            raise TooManyRequestsError(
                f"the key {key.name} may ask {most} times a minute; come again later", wait_s
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()
