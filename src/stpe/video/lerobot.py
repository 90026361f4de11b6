"""The videos of a LeRobot dataset, and the log of each.

Layouts 2.0 and 2.1 have a video and a Parquet file an episode
(`videos/chunk-000/<camera>/episode_000000.mp4`, `data/chunk-000/episode_000000.parquet`); layout 3
has files of many episodes (`videos/<camera>/chunk-000/file-000.mp4`).
https://github.com/huggingface/lerobot
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stpe.errors import SourceError
from stpe.video.files import natural


@dataclass(frozen=True)
class LeRobotVideos:
    """What is taken of a dataset.

    Attributes:
        videos: of every camera, in natural order.
        states: the Parquet file of a video's episode.
        note: a line on both.
    """

    videos: Sequence[Path]
    states: Mapping[Path, Path]
    note: str


def is_root(folder: Path) -> bool:
    """Whether a folder is the root of a LeRobot dataset."""
    return (folder / "meta" / "info.json").is_file()


def read(folder: Path) -> LeRobotVideos:
    """Its videos. Raises SourceError where it has none or its `info.json` is damaged."""
    info = folder / "meta" / "info.json"
    try:
        described = json.loads(info.read_text(encoding="utf-8"))
        version = str(described["codebase_version"])
        features = dict(described["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{info} cannot be read as LeRobot's ({error}); restore it") from None
    names = natural(str(path) for path in (folder / "videos").rglob("*.mp4"))
    videos = [Path(name) for name in names if not Path(name).name.startswith(".")]
    if not videos:
        raise SourceError(
            f"{folder} is a LeRobot dataset without videos: its pictures are in its Parquet files; "
            "convert it to video with LeRobot"
        )
    cameras = sorted({camera for path in videos for camera in features if camera in path.parts})
    rows = {path.stem: path for path in (folder / "data").rglob("episode_*.parquet")}
    states = {path: rows[path.stem] for path in videos if path.stem in rows}
    logs = (
        f"{len(states)} with the Parquet file of the episode as state log"
        if states
        else "its files hold several episodes each, so that no log is one video's: give --state"
    )
    note = (
        f"{folder}: a LeRobot dataset ({version}): every camera is taken "
        f"({', '.join(cameras) or 'unnamed'}); {len(videos)} videos, {logs}"
    )
    return LeRobotVideos(videos, states, note)
