"""Image sequences: a folder of images, or a ZIP of frames and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from statistics import median
from typing import Literal

from stpe.clocks.reading import in_seconds
from stpe.clocks.stamps import Stamp
from stpe.errors import SourceError, SourceLimitError
from stpe.video.files import Files
from stpe.video.frame import SourceInfo
from stpe.video.limits import Limits
from stpe.video.records import Records
from stpe.video.source import Decoded, Source
from stpe.video.stamps import NAMES, read_stamps
from stpe.video.still import SUFFIXES, Picture, decode_picture, picture_codec
from stpe.video.timestamps import repaired
from stpe.video.twins import without_twins

DEFAULT_FPS = 30.0


class ImageSource(Source):
    """Images of a set in natural order.

    Times come from a timestamps file, else from the state records, else from `fps`. Unix times and
    those of records count from the first image; `info.unix_start_s` then says when that was.
    """

    def __init__(
        self,
        files: Files,
        uri: str,
        kind: Literal["folder", "archive"],
        limits: Limits,
        fps: float | None,
    ) -> None:
        """Check the set and decode its first image. `info.sha256` is left for the caller."""
        super().__init__(limits)
        self._files = files
        warnings: list[str] = []
        self._images = _images(files, warnings)
        self._documents = [
            n for n in files.names if n.lower().endswith(".json") and not _is_stamps(n)
        ]
        self._records = Records(files, self._images, self._documents)
        warnings.extend(self._records.said)
        self._unix_start_s: float | None = None
        self._stamps, self._step_s = self._times(fps, warnings)
        first = next((p for _, p in self._pictures(warnings)), None)
        if first is None:
            raise SourceError("no image of the set can be decoded; write them again")
        width, height = first.size
        limits.check_frame(width, height)
        self.info = SourceInfo(
            uri=uri,
            kind=kind,
            sha256="",
            width=width,
            height=height,
            fps=1 / self._step_s,
            duration_s=len(self._images) * self._step_s,
            frame_count=len(self._images),
            warnings=warnings,
            start_pts=next((t for t in self._stamps if t is not None), 0.0),
            unix_start_s=self._unix_start_s,
        )
        for name in self._records.ignored:
            self.warn(f"{name} holds no records of frames and was ignored")

    @property
    def used(self) -> list[str]:
        """Names of the files that make up the sequence: images, records and times."""
        stamps = [n for n in self._files.names if _is_stamps(n)]
        ignored = set(self._records.ignored)
        return [*self._images, *(n for n in self._documents if n not in ignored), *stamps]

    def decode(self) -> Iterator[Decoded]:
        """Decode the images in order. Damaged ones are skipped and named in `info.warnings`."""
        problems: list[str] = []
        stamped = ((self._stamps[at], (at, p)) for at, p in self._pictures(problems))
        try:
            timed = enumerate(repaired(stamped, self._step_s, problems))
            for index, (pts, (at, picture)) in timed:
                state = self._records.state(at)
                yield Decoded(index, pts, picture.frame, picture.orientation, state)
        finally:
            for problem in problems:
                self.warn(problem)

    def close(self) -> None:
        """Close the files and remove what was packed."""
        self._files.close()
        super().close()

    def _pictures(self, problems: list[str]) -> Iterator[tuple[int, Picture]]:
        for at, name in enumerate(self._images):
            try:
                yield at, decode_picture(self._files.read(name), self.limits)
            except SourceLimitError:
                raise
            except SourceError as error:
                problems.append(f"{name} was skipped: {error}")

    def _times(self, fps: float | None, warnings: list[str]) -> tuple[list[float | None], float]:
        """Seconds of each image, None where unknown; and the usual step between two."""
        count = len(self._images)
        stamps = [n for n in self._files.names if _is_stamps(n)]
        if len(stamps) > 1:
            raise SourceError(f"{stamps[0]} and {stamps[1]} both give times; keep one of them")
        if stamps:
            given = read_stamps(self._files.read(stamps[0]), stamps[0], self._images)
            times = self._in_seconds(given, stamps[0], warnings)
            return times, _step(times) or 1 / (fps or DEFAULT_FPS)
        missing = Stamp(math.nan)
        records = [s if s is not None else missing for s in self._records.clock]
        if any(math.isfinite(s.value) for s in records):
            times = self._in_seconds(records, "the state records", warnings)
            step_s = _step(times)
            if step_s is not None:
                start = next(t for t in times if t is not None)
                if start:
                    warnings.append(f"times of the state records count from the first, {start:g} s")
                return [None if t is None else t - start for t in times], step_s
        if fps is None:
            warnings.append(
                f"the images carry no times; {DEFAULT_FPS:g} frames a second were assumed "
                "(a timestamps.txt with a line of seconds for each image sets them)"
            )
        step_s = 1 / (fps or DEFAULT_FPS)
        return [at / (fps or DEFAULT_FPS) for at in range(count)], step_s

    def _in_seconds(
        self, stamps: Sequence[Stamp], name: str, warnings: list[str]
    ) -> list[float | None]:
        """Times in seconds, Unix times from the first image."""
        read = in_seconds(stamps, name)
        warnings += [f"{name}: {text}" for text in read.said]
        times = [t if math.isfinite(t) else None for t in read.times]
        if read.kind == "unix":
            start = next(t for t in times if t is not None)
            self._unix_start_s = start
            times = [None if t is None else t - start for t in times]
        return times


def _step(times: list[float | None]) -> float | None:
    known = [t for t in times if t is not None]
    steps = [b - a for a, b in pairwise(known) if b > a]
    return median(steps) if steps else None


def _is_stamps(name: str) -> bool:
    return PurePosixPath(name).name.lower() in NAMES


def _images(files: Files, warnings: list[str]) -> list[str]:
    """Names of the images: those at the top, else those of one folder, else one a folder."""
    names = [n for n in files.names if PurePosixPath(n).suffix.lower() in SUFFIXES]
    if not names:
        others = [n for n in files.names if not n.lower().endswith((".json", ".txt", ".csv"))]
        names = [n for n in others if picture_codec(files.head(n)) is not None]
    if not names:
        raise SourceError("no image in it; give PNG, JPEG, WebP, BMP or TIFF frames")
    if any("/" not in n for n in names):
        names = [n for n in names if "/" not in n]
    names, twins = without_twins(names)
    if twins is not None:
        warnings.append(twins)
    folders = Counter(PurePosixPath(name).parent for name in names)
    alike = len({PurePosixPath(name).stem for name in names}) < len(names)
    if len(folders) > 1 and (max(folders.values()) > 1 or alike):
        raise SourceError(f"{len(folders)} folders of images in it; give one of them")
    return names
