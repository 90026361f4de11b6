"""Which log, or which camera file, belongs to which source of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from stpe.errors import UsageError
from stpe.video.expansion import Expansion

Given = str | Path
#: One for one source; by source; or in the order of the sources, None for those without.
PerSource = Given | Mapping[Given, Given] | Sequence[Given | None] | None


def paired(given: PerSource, sources: Sequence[str], what: str) -> list[Given | None]:
    """What belongs to each source, in their order; None where nothing does.

    Args:
        given: one file, for a call of one source; a mapping from sources (as written, or by a
            file name that only one of them has); or one for each source, in their order.
        sources: paths and addresses.
        what: its name, for messages: "state" or "camera".

    Raises:
        UsageError: one file for several sources, another number of files than of sources, or the
            name of no source.

    >>> paired({"b.mp4": "b.json"}, ["clips/a.mp4", "clips/b.mp4"], "state")
    [None, 'b.json']
    """
    if given is None or given == "":
        return [None] * len(sources)
    if isinstance(given, (str, Path)):
        if len(sources) > 1:
            raise UsageError(
                f"one {what} and {len(sources)} sources: give one a source, in the order of the "
                f"sources, or SOURCE=FILE for each that has one ({sources[0]}=FILE)"
            )
        return [given]
    if isinstance(given, Mapping):
        found: list[Given | None] = [None] * len(sources)
        for source, file in given.items():
            found[_number(str(source), sources, what)] = file
        return found
    if len(given) != len(sources):
        raise UsageError(
            f"{len(given)} of {what} for {len(sources)} sources: give one a source, in their "
            "order, or SOURCE=FILE for each that has one"
        )
    return list(given)


def files_of(
    found: Expansion, states: Sequence[str], cameras: Sequence[str]
) -> tuple[list[Given | None], list[Given | None]]:
    """The state log and the camera file of each source, from the values of `--state` and
    `--camera`; a log that a source's own dataset has for it where no other is given. Raises
    UsageError."""
    logs = paired(_told(states, found.uris, "state"), found.uris, "state")
    known = paired(_told(cameras, found.uris, "camera"), found.uris, "camera")
    return [log or own for log, own in zip(logs, found.states, strict=True)], known


def _told(values: Sequence[str], sources: Sequence[str], what: str) -> PerSource:
    """What the values of a repeatable option say, for `paired`.

    Each is a file, or SOURCE=FILE. A value is a pair where what stands before a `=` is a source.

    Raises:
        UsageError: pairs and files are mixed, or a source is paired twice.
    """
    pairs = [_pair(value, sources) for value in values]
    found: dict[Given, Given] = {p[0]: p[1] for p in pairs if p is not None}
    if not found:
        return values[0] if len(values) == 1 else list(values) or None
    if None in pairs:
        raise UsageError(f"--{what}: give a file for every source, or SOURCE=FILE for each")
    if len(found) < len(pairs):
        raise UsageError(f"--{what}: one source is given two files")
    return found


def _pair(value: str, sources: Sequence[str]) -> tuple[str, str] | None:
    for at, sign in enumerate(value):
        if sign == "=" and value[:at] and _matches(value[:at], sources):
            return value[:at], value[at + 1 :]
    return None


def _matches(name: str, sources: Sequence[str]) -> list[int]:
    """Numbers of the sources called so: written so, else with that file name."""
    exact = [n for n, s in enumerate(sources) if s == name or PurePath(s) == PurePath(name)]
    return exact or [n for n, s in enumerate(sources) if PurePath(s).name == name]


def _number(name: str, sources: Sequence[str], what: str) -> int:
    found = _matches(name, sources)
    if len(found) != 1:
        why = "several sources have that name" if found else "that is no source of this call"
        raise UsageError(f"the {what} of {name}: {why}")
    return found[0]
