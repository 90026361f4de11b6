"""Puts the times of given poses onto the clock of a video."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from stpe.errors import UsageError
from stpe.geometry.supplied import Poses, supplied
from stpe.video.frame import SourceInfo

#: Poses may begin or end this much outside the video and still count from its first frame.
_OUTSIDE_S = 0.5
#: How near the first pose must be to where a video begins to be on its clock.
_NEAR_S = 0.05


def poses_of(document: str, source: SourceInfo) -> tuple[Poses | None, tuple[str, ...]]:
    """The document's poses by frame or by pts of the video, and what was moved or assumed.

    Unix times match where the source has a wall clock too. Else times count from the first frame:
    as they are where they lie inside the video, moved to begin with it where they do not.

    Raises:
        UsageError: poses and source both have Unix times, and they have none in common.
    """
    return _poses_of(
        document, source.start_pts, source.unix_start_s, source.duration_s, source.frame_count
    )


@lru_cache(maxsize=16)
def _poses_of(
    document: str,
    start: float,
    unix_start: float | None,
    lasting: float | None,
    count: int | None,
) -> tuple[Poses | None, tuple[str, ...]]:
    poses = supplied(document).poses
    if poses is None:
        return None, ()
    if poses.by == "frame_index":
        return _by_frame(poses, count)
    first, last = (poses.began + float(poses.places_N[n]) for n in (0, -1))
    shift, note = 0.0, ""
    if poses.clock == "unix" and unix_start is not None:
        shift = start - unix_start
        end = unix_start + (lasting or 0.0)
        if last < unix_start - _OUTSIDE_S or first > end + _OUTSIDE_S:
            raise UsageError(
                f"the poses of --camera are of Unix times {first:.1f} to {last:.1f} and the source "
                f"of {unix_start:.1f} to {end:.1f}: give those of this video"
            )
    elif poses.clock == "unix":
        shift = start - first
        note = "the first pose was taken for the first frame, as the source has no Unix times"
    elif poses.clock == "pts":
        if _shared(first, last, start, lasting) + 1e-3 < _shared(first, last, 0.0, lasting):
            shift = start
            note = f"pts of the poses count from the first frame, which is at {start:.3f} s"
    elif start > _NEAR_S and abs(first - start) <= _NEAR_S:
        note = f"times of the poses are on the file's own clock, which begins at {start:.3f} s"
    elif first >= 0 and (first == 0 or (lasting is not None and last <= lasting + _OUTSIDE_S)):
        shift = start
    else:
        shift = start - first
        note = f"times of the poses begin at {first:.3f} s: moved to begin with the video"
    placed = replace(poses, places_N=poses.places_N + (poses.began + shift))
    return placed, (f"--camera: {note}",) if note else ()


def _by_frame(poses: Poses, count: int | None) -> tuple[Poses, tuple[str, ...]]:
    """Poses by frame number, from 1 where that is what fits the video's count of frames."""
    first, last = int(poses.places_N[0]), int(poses.places_N[-1])
    if count is None or last < count:
        return poses, ()
    if first >= 1 and last == count:
        moved = replace(poses, places_N=poses.places_N - 1)
        return moved, (f"--camera: poses are numbered from 1, as the last is {last}",)
    said = f"--camera: the last pose is of frame {last} (from 0) and the video has {count} frames"
    return poses, (f"{said}: is it of this video?",)


def _shared(first: float, last: float, start: float, lasting: float | None) -> float:
    """Seconds of a video that begins at `start` in which there are poses."""
    return 0.0 if lasting is None else min(last, start + lasting) - max(first, start)
