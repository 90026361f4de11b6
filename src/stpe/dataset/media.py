"""Which files in `media/` a dataset's videos have need of: the sources, and their state logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stpe.dataset.stored import Stored

_COLUMNS = ("sha256", "state_sha256")
#: A file in `media/` is called by its content hash.
_KEPT = re.compile(r"([0-9a-f]{64})(\.[\w.]+)?")


def media_hashes(stored: Stored, videos: Iterable[str]) -> frozenset[str]:
    """Content hashes of the videos' sources and state logs."""
    return frozenset(
        sha256
        for video_id in videos
        for row in stored.rows_of("videos", video_id, _COLUMNS).to_pylist()
        for sha256 in row.values()
        if sha256 is not None
    )


def unused_media(stored: Stored, among: frozenset[str] | None = None) -> list[Path]:
    """Files in `media/` that no video of the dataset refers to.

    Args:
        stored: the dataset.
        among: only files with one of these hashes.
    """
    used = media_hashes(stored, stored.manifest.videos)
    named = ((path, _KEPT.fullmatch(path.name)) for path in (stored.root / "media").glob("*"))
    return sorted(
        path
        for path, match in named
        if match and match[1] not in used and (among is None or match[1] in among)
    )
