"""Reading a dataset: tables as Arrow or pandas, pixels, masks, and clips for training.

A `Dataset` sees what was sealed when it was opened, whatever a writer does meanwhile: a writer
keeps the files of what it holds (`stpe.dataset.leases`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from stpe.dataset.layout import Manifest, find_media, read_manifest, table_schema
from stpe.dataset.leases import Lease
from stpe.dataset.pixels import FrameReader
from stpe.dataset.rows import Query, Rows
from stpe.errors import DatasetError, MissingExtraError, UsageError
from stpe.signals import TABLES, signal
from stpe.video.frame import Grid, ImageHW3
from stpe.video.timestamps import times_are_sound

if TYPE_CHECKING:
    from stpe.dataset.clips import ClipDataset

#: Columns that say when a row holds: a moment, or the begin and end of a span.
_TIMES: dict[str, tuple[str, str]] = {
    "transitions": ("pts", "pts"),
    "shots": ("start_pts", "end_pts"),
    "frames": ("pts", "pts"),
    "motion": ("pts", "pts"),
    "states": ("pts", "pts"),
    "objects": ("pts", "pts"),
    "tracks": ("first_pts", "last_pts"),
    "relations": ("pts", "pts"),
    "events": ("pts", "end_pts"),
    "clips": ("start_pts", "end_pts"),
}


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset folder for reading.

    >>> ds = open_dataset("ds")                                       # doctest: +SKIP
    >>> ds.arrow("objects", columns=["pts", "label"], start_s=2.0)    # doctest: +SKIP

    Raises:
        DatasetError: there is no dataset, it is damaged, or of another format.
    """
    root = Path(path).resolve()
    read_manifest(root)  # nothing is written to what is no dataset
    lease = Lease(root)
    manifest = read_manifest(root)
    return Dataset(root, manifest, lease.names(manifest.tables))


class Dataset:
    """One dataset as it was when opened. Picklable; safe in threads and forked processes."""

    def __init__(self, path: Path, manifest: Manifest, lease: Lease | None = None) -> None:
        self._lease = lease  # what was opened stays readable as long as this dataset lives
        self.path = path
        self.manifest = manifest
        self.rows = Rows(path, manifest.tables)

    def __repr__(self) -> str:
        counts = {table: count for table, count in self.tables.items() if count}
        held = ", ".join(f"{table} {count}" for table, count in counts.items()) or "no rows"
        return f"Dataset({str(self.path)!r}: {held})"

    @property
    def videos(self) -> tuple[str, ...]:
        """`video_id` of every sealed video, in the order they were added."""
        return tuple(self.manifest.videos)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Names of every key and button in the dataset's state logs: the K of `actions`."""
        from stpe.dataset.actions import names

        return names(self, "keys")

    @cached_property
    def tables(self) -> dict[str, int]:
        """Number of rows of every table."""
        return {table: self.rows.count(table) for table in TABLES}

    def arrow(
        self,
        table: str,
        video_id: str | None = None,
        columns: Sequence[str] | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> pa.Table:
        """Rows of one table, sorted by video (in the order they were added) and key.

        Args:
            table: one of `Dataset.tables`.
            video_id: only this video.
            columns: only these, in this order; all by default.
            start_s: only rows that hold at or after this presentation time.
            end_s: only rows that hold before this presentation time.

        Raises:
            UsageError: an unknown table, column or video, or times for a table without them.
        """
        schema = self._schema(table)
        names = tuple(schema.names if columns is None else columns)
        for name in names:
            if name != "video_id":
                signal(f"{table}.{name}")
        where = self._where(table, video_id, start_s, end_s)
        if table not in self.manifest.tables:
            return self.empty(table, names)
        return self.rows.read(Query(table, names, where=where))

    def stream(
        self, table: str, video_id: str, columns: Sequence[str] | None = None, rows: int = 64
    ) -> Iterator[pa.Table]:
        """The rows of one video, so many at a time: for tables too large to hold.

        Raises UsageError for an unknown table, column or video.
        """
        self._where(table, video_id, None, None)
        names = self._schema(table).names if columns is None else columns
        for name in names:
            if name != "video_id":
                signal(f"{table}.{name}")
        first, number = self.rows.spans(table).get(video_id, (0, 0))
        for start in range(0, number, rows):
            span = (first + start, min(rows, number - start))
            yield self.rows.read(Query(table, tuple(names), span=span))

    def pandas(
        self,
        table: str,
        video_id: str | None = None,
        columns: Sequence[str] | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Any:
        """What `arrow` gives, as a `pandas.DataFrame`. Raises MissingExtraError without pandas."""
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise MissingExtraError(
                "pandas is not installed: pip install 'stpe[pandas]', or use .arrow()"
            ) from None
        return self.arrow(table, video_id, columns, start_s, end_s).to_pandas()

    def media(self, video_id: str) -> Path:
        """The stored source of a video. Raises DatasetError where the file is missing."""
        sha256 = self.arrow("videos", video_id, ["sha256"])["sha256"][0].as_py()
        found = find_media(self.path, sha256)
        if found is None:
            raise DatasetError(
                f"the media of video {video_id} are missing from {self.path / 'media'}: put the "
                f"file {sha256[:16]}... back, or process the source again"
            )
        return found

    def frame(self, video_id: str, frame_index: int, long_side: int | None = None) -> ImageHW3:
        """The pixels of one frame, HxWx3 uint8 RGB, exactly as the stages could see them.

        Args:
            video_id: one of `videos`.
            frame_index: decoder frame index, as in every table; analysed or not.
            long_side: reduce the longer side to this; the stored size by default.

        Raises:
            UsageError: no such video. DatasetError: the media are missing or have no such frame.
        """
        reader = self.frame_reader(video_id, long_side)
        try:
            times = None
            for table in ("frames", "transitions"):
                rows = self.arrow(table, video_id, ["frame_index", "pts"])
                rows = rows.filter(pc.equal(rows["frame_index"], frame_index))
                if rows.num_rows:
                    times = rows["pts"].to_pylist()
                    break
            image: ImageHW3 = reader.frames([frame_index], times)[0]
            return image
        finally:
            reader.close()

    def frame_reader(self, video_id: str, long_side: int | None = None) -> FrameReader:
        """A reader of many frames of one video; close it after use."""
        columns = ["width", "height", "kind", "warnings"]
        (video,) = self.arrow("videos", video_id, columns).to_pylist()
        size = Grid("reader", long_side=long_side).frame_size(video["width"], video["height"])
        sound = video["kind"] == "file" and times_are_sound(video["warnings"] or ())
        return FrameReader(self.media(video_id), size, sound)

    def clips(
        self,
        signals: Sequence[str],
        length: int = 16,
        stride: int = 1,
        *,
        pixels: bool = False,
        long_side: int | None = None,
        within_shots: bool = False,
        fps: Literal["native"] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> ClipDataset:
        """Clips for training, as a map dataset (a `torch.utils.data.Dataset` where torch is).

        Args:
            signals: names such as `frames.embedding`, or a table's name for all of its signals; of
                tables whose rows belong to a frame (frames, objects, motion, ...). `pixels` are
                the frames themselves, `actions` what a state log says was done during each.
            length: consecutive frames a clip.
            stride: frames from the begin of one clip to the begin of the next.
            pixels: as `pixels` among the signals.
            long_side: reduce the longer side of the pixels to this.
            within_shots: no clip crosses a cut.
            fps: "native" for every frame that the decoder gives; by default the analysed ones. A
                video whose `transitions` are not stored is decoded once for its times.
            transform: applied to each clip, in the process that reads it.

        >>> clips = ds.clips(["frames.embedding", "objects.box_xyxy"], 8)     # doctest: +SKIP
        >>> clips[3]["frames.embedding"].shape                                # doctest: +SKIP
        torch.Size([8, 384])

        `stpe.dataset.collate` makes batches of clips whose rows differ in number.

        Raises:
            UsageError: an unknown signal, one that belongs to no frame, or a length below 1 or
                longer than every video (or shot).
        """
        from stpe.dataset.clips import ClipDataset

        return ClipDataset(
            self,
            signals,
            length,
            stride,
            pixels=pixels,
            long_side=long_side,
            within_shots=within_shots,
            fps=fps,
            transform=transform,
        )

    def empty(self, table: str, columns: Sequence[str]) -> pa.Table:
        """No rows of a table, with these columns."""
        schema = self._schema(table)
        return pa.schema([schema.field(name) for name in columns]).empty_table()

    def _schema(self, table: str) -> pa.Schema:
        if table not in TABLES:
            raise UsageError(f"no table is called {table!r}; there are {', '.join(TABLES)}")
        return table_schema(table)

    def _where(
        self, table: str, video_id: str | None, start_s: float | None, end_s: float | None
    ) -> str | None:
        terms = []
        if video_id is not None:
            if video_id not in self.manifest.videos:
                raise UsageError(f"no video is called {video_id!r} in {self.path}")
            terms.append(f"video_id = '{video_id}'")
        if (start_s is not None or end_s is not None) and table not in _TIMES:
            raise UsageError(f"rows of {table} have no time: leave start_s and end_s out")
        if start_s is not None:
            begin, end = _TIMES[table]
            last = end if end == begin or table != "events" else f"coalesce({end}, {begin})"
            # A span's end is exclusive, a moment's or an observation's is not.
            sign = ">" if table in ("shots", "clips") else ">="
            terms.append(f"{last} {sign} {float(start_s)!r}")
        if end_s is not None:
            terms.append(f"{_TIMES[table][0]} < {float(end_s)!r}")
        return " AND ".join(terms) or None
