"""State records that lie beside frames as JSON, as game recorders write them.

Two layouts are read: one JSON file a frame with the frame's name (`frame_0001.png`,
`frame_0001.json`), or one file with an array of records, bare or under `frames`. A record of an
array names its frame by `filename` or `frame_idx` (`stpe.video.placing` says how those count);
without either, an array of as many records as frames is matched in order. A record may wrap the
state in `roblox_metadata`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from stpe.clocks.stamps import Stamp, stamp_in
from stpe.errors import SourceError
from stpe.video.files import Files
from stpe.video.placing import Record, placed


class Records:
    """The state of each image of a set, by position; None where there is none.

    Attributes:
        clock: the time that each image's record holds, if it has one.
        ignored: documents that hold no record. said: what was assumed, or left out.
    """

    def __init__(self, files: Files, images: Sequence[str], documents: Sequence[str]) -> None:
        """`documents` are the set's JSON files. Raises SourceError on one that is not JSON."""
        stems = {_stem(name): at for at, name in enumerate(images)}
        self._files = files
        self._beside: dict[int, str] = {}
        self._rows: dict[int, Record] = {}
        self.clock: list[Stamp | None] = [None] * len(images)
        self.ignored: list[str] = []
        self.said: list[str] = []
        for name in documents:
            parsed = parse(files.read(name), name)
            at = stems.get(_stem(name))
            if at is not None and isinstance(parsed, dict):
                self._beside[at] = name
                self.clock[at] = stamp_in(unwrapped(parsed))
                continue
            rows = parsed.get("frames") if isinstance(parsed, dict) else parsed
            if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
                self.ignored.append(name)
                continue
            if self._rows:
                raise SourceError(f"{name} is a second array of records; keep one of them")
            self._rows = placed(rows, images, name, self.said)
            for at, row in self._rows.items():
                self.clock[at] = stamp_in(unwrapped(row))

    def state(self, at: int) -> Record | None:
        """The state record of the image at a position."""
        if at in self._beside:
            name = self._beside[at]
            return unwrapped(parse(self._files.read(name), name))
        return unwrapped(self._rows[at]) if at in self._rows else None


def parse(data: bytes, name: str) -> Any:
    """JSON content. Raises SourceError naming the file."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deep or not text")
        raise SourceError(f"{name} is not JSON ({reason}); repair or remove it") from None


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def unwrapped(record: Record) -> Record:
    """The state itself of a record that may wrap it."""
    inner = record.get("roblox_metadata")
    return inner if isinstance(inner, dict) else record
