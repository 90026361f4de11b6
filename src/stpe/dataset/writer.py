"""Writing: videos go in whole or not at all.

Rows are streamed into Lance tables, which only adds versions that nobody looks at; the rename of
the manifest, which pins one version of every table, makes them count. A writer that dies leaves
versions past the pinned ones, and the next writer rolls them back.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock
import pyarrow as pa

from stpe.dataset import compact, leases
from stpe.dataset.durable import copy_file, sync_tree, unwritten, writing
from stpe.dataset.lance_table import lance_table
from stpe.dataset.layout import (
    MANIFEST,
    Manifest,
    find_media,
    local,
    plan_path,
    read_manifest,
    sync,
    table_path,
    table_schema,
    write_atomically,
    write_manifest,
)
from stpe.dataset.media import media_hashes, unused_media
from stpe.dataset.stored import Stored
from stpe.errors import DatasetError, SourceError
from stpe.signals import TABLES

log = logging.getLogger(__name__)


class DatasetWriter:
    """The one writer of a dataset folder; a context manager.

    Args:
        path: the dataset folder; made if missing.

    Raises:
        UsageError: the path is an address.
        DatasetError: another process is writing it, or the folder holds something else or cannot
            be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = local(path)
        self._made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = [p.name for p in self.path.iterdir() if p.name not in (".lock", "artifacts")]
        except OSError as error:
            raise self._unusable(error) from None
        fresh = not (self.path / MANIFEST).exists()
        if fresh and [name for name in foreign if not name.startswith(".writing-")]:
            raise DatasetError(
                f"{self.path} holds files but no dataset; choose an empty or new folder"
            )
        self._fresh = fresh
        self._torn = False  # whether versions past the pinned ones are to be rolled back
        self._lock = filelock.FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise DatasetError(
                f"another process is writing {self.path}; wait for it or choose another folder"
            ) from None
        except OSError as error:
            raise self._unusable(error) from None
        try:
            try:
                self._sweep()
                if fresh:
                    write_manifest(self.path, Manifest())
            except OSError as error:
                raise self._unusable(error) from None
            self._manifest = self._roll_back(read_manifest(self.path))
            self._forget_plans()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    @contextmanager
    def left_as_found(self) -> Iterator[None]:
        """Where the block commits no video to a new dataset and leaves no finished work that the
        same call could use, the folder is afterwards as this writer found it."""
        try:
            yield
        finally:
            artifacts = self.path / "artifacts"
            useless = not (self._manifest.videos or any(artifacts.glob("*/*.arrow")))
            if self._fresh and useless:
                for name in ("tables", "media", "plans", "artifacts", ".readers"):
                    shutil.rmtree(self.path / name, ignore_errors=True)
                for name in (MANIFEST, ".lock"):
                    (self.path / name).unlink(missing_ok=True)
                with suppress(OSError):
                    for folder in self._made:
                        folder.rmdir()

    @property
    def videos(self) -> dict[str, str]:
        """Plan key of each sealed video."""
        return dict(self._manifest.videos)

    def sealed(self, video_id: str) -> str | None:
        """The plan key that `video_id` was committed with, or None if it is not in the dataset."""
        return self._manifest.videos.get(video_id)

    @property
    def stored(self) -> Stored:
        """What was last committed."""
        return Stored(self.path, self._manifest)

    def add_media(self, sha256: str, path: str | Path) -> Path:
        """Copy a source into `media/`, atomically; nothing happens if it is there already.

        Args:
            sha256: content hash of the source (`SourceInfo.sha256`); becomes the file's name.
            path: the file to copy; its suffix is kept.

        Returns:
            The path of the copy.

        Raises:
            SourceError: the file does not have that hash any more.
            DatasetError: it cannot be copied.
        """
        there = find_media(self.path, sha256)
        if there is not None:
            return there
        folder = self.path / "media"
        target = folder / f"{sha256}{Path(path).suffix.lower()}"
        temporary = folder / f".writing-{os.getpid()}-{target.name}"
        try:
            folder.mkdir(exist_ok=True)
            try:
                if copy_file(Path(path), temporary) != sha256:
                    raise SourceError(
                        f"{path} changed while it was processed; run again when it is whole"
                    )
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            sync(folder)
        except OSError as error:
            raise DatasetError(
                f"cannot copy {path} into {folder}: {error.strerror or error}; free space or make "
                "it writable, then run the same call again"
            ) from error
        return target

    def commit(
        self,
        video_id: str,
        plan_key: str,
        tables: Mapping[str, Iterable[pa.RecordBatch]],
        keep: Collection[str] = (),
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace all rows of a video in all tables, and seal it. All of it happens or none.

        Args:
            video_id: first 16 hex digits of the source's sha256.
            plan_key: what the rows depend on; `sealed` gives it back.
            tables: rows of each table, sorted by key, as batches of the table's schema or of some
                of its columns (`stpe.signals.schema`); columns not given are null. `video_id` is
                added here. Batches are streamed: memory does not grow with the table. They may
                read what is `stored`.
            keep: tables whose rows of the video stay as they are.
            plan: how the rows are made, as JSON; `Stored.plan` gives it back.

        Raises:
            DatasetError: the folder cannot be written. Errors raised while a batch is made pass
            through. In both cases the dataset is as before.
        """
        unknown = set(tables) - set(TABLES)
        if unknown:
            raise DatasetError(f"no table is called {', '.join(sorted(unknown))}")
        with self._whole_or_not() as started:
            versions = dict(self._manifest.tables)
            replaced = video_id in self._manifest.videos
            if plan is not None:
                self._note(plan_key, plan)
            for table in (t for t in TABLES if t not in keep):
                if replaced and table in versions:
                    versions[table] = self._delete(table, video_id)
                version = self._append(table, video_id, tables.get(table, ()))
                if version is not None:
                    versions[table] = version
            self._pin(self._manifest.with_video(video_id, plan_key, versions), started)

    def remove(self, video_id: str) -> None:
        """Take a video, its rows, its media and its state log out of the dataset, as far as no
        other video has the same; nothing if it is not there."""
        if video_id not in self._manifest.videos:
            return
        before = media_hashes(self.stored, [video_id])
        with self._whole_or_not() as started:
            versions = {table: self._delete(table, video_id) for table in self._manifest.tables}
            self._pin(self._manifest.without_video(video_id, versions), started)
        for media in unused_media(self.stored, before):
            media.unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> DatasetError:
        return DatasetError(
            f"cannot use {self.path} as a dataset folder: {error.strerror or error}; choose another"
        )

    def _sweep(self) -> None:
        """Remove the half-written files of writers that were killed."""
        for begun in (".writing-*", "media/.writing-*", "artifacts/*/.writing-*"):
            for left in self.path.glob(begun):
                left.unlink(missing_ok=True)

    def _note(self, plan_key: str, plan: Mapping[str, Any]) -> None:
        path = plan_path(self.path, plan_key)
        with writing(path):
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                write_atomically(path, json.dumps(plan, sort_keys=True, allow_nan=False).encode())

    def _forget_plans(self) -> None:
        """Remove notes on plans that no video has any more."""
        used = {plan_path(self.path, key) for key in self._manifest.videos.values()}
        for path in (self.path / "plans").glob("*"):
            if path not in used:
                path.unlink(missing_ok=True)

    @contextmanager
    def _whole_or_not(self) -> Iterator[float]:
        """What is written inside counts when the block pins it; an error undoes it. Gives the time
        of the begin."""
        if self._torn:
            self._manifest = self._roll_back(self._manifest)
        self._torn = True
        try:
            yield time.time()
        except BaseException:
            try:
                self._manifest = self._roll_back(self._manifest)
                self._torn = False
            except DatasetError as error:
                # The first error says what went wrong. Who writes next rolls back first.
                log.warning("left for the next writer to roll back: %s", error)
            raise
        self._torn = False

    def _append(self, table: str, video_id: str, batches: Iterable[pa.RecordBatch]) -> int | None:
        schema = table_schema(table)
        rows = (_conform(batch, video_id, schema) for batch in batches if batch.num_rows)
        first = next(rows, None)
        if first is None:
            return None
        failed: list[BaseException] = []

        def stream() -> Iterator[pa.RecordBatch]:
            yield first
            try:
                yield from rows
            except BaseException as error:
                failed.append(error)
                raise

        from lance import write_dataset

        path = table_path(self.path, table)
        try:
            path.parent.mkdir(exist_ok=True)
            if path.exists():
                _widen(lance_table(path), schema)
            written = write_dataset(
                pa.RecordBatchReader.from_batches(schema, stream()),
                str(path),
                mode="append" if path.exists() else "create",
                max_bytes_per_file=compact.MAX_BYTES,
            )
            written = compact.compact(written)
        except (OSError, ValueError, pa.ArrowException) as error:
            if failed:
                raise failed[0] from error
            raise unwritten(path, error) from error
        return int(written.version)

    def _delete(self, table: str, video_id: str) -> int:
        path = table_path(self.path, table)
        with writing(path):
            rows = lance_table(path)
            if rows.count_rows(f"video_id = '{video_id}'"):
                rows.delete(f"video_id = '{video_id}'")
            return int(rows.version)

    def _pin(self, manifest: Manifest, started: float) -> None:
        changed = [t for t, v in manifest.tables.items() if v != self._manifest.tables.get(t)]
        with writing(self.path):
            for table in changed:
                sync_tree(table_path(self.path, table), started)
            write_manifest(self.path, manifest)
        self._manifest = manifest
        held = leases.held(self.path)
        for table in changed:
            if held is None:
                return
            try:
                compact.clean(table_path(self.path, table), held.get(table, ()))
            except (OSError, ValueError) as error:
                # What was pinned counts; old versions that stay cost room, and go the next time.
                log.warning("%s could not be tidied: %s", table, error)

    def _roll_back(self, manifest: Manifest) -> Manifest:
        """Undo what an interrupted writer left: versions past the pinned ones."""
        versions = dict(manifest.tables)
        for table in TABLES:
            path = table_path(self.path, table)
            if table not in versions:
                with writing(path):
                    if path.exists():
                        shutil.rmtree(path)
                continue
            try:
                ahead = lance_table(path).version != versions[table]
                pinned = lance_table(path, version=versions[table]) if ahead else None
            except (OSError, ValueError) as error:
                raise DatasetError(
                    f"table {table} of {self.path} is damaged ({error}): restore it from a copy "
                    "or process the sources into a new folder"
                ) from None
            if pinned is not None:
                with writing(path):
                    pinned.restore()
                    versions[table] = int(lance_table(path).version)
        if versions == manifest.tables:
            return manifest
        restored = Manifest(versions, manifest.videos)
        with writing(self.path):
            write_manifest(self.path, restored)
        return restored


def _widen(stored: Any, schema: pa.Schema) -> None:
    """Give a table written before some columns joined the vocabulary those columns, as nulls."""
    missing = [field for field in schema if field.name not in stored.schema.names]
    if missing:
        stored.add_columns(pa.schema(missing))


def _conform(batch: pa.RecordBatch, video_id: str, schema: pa.Schema) -> pa.RecordBatch:
    unknown = set(batch.schema.names) - set(schema.names)
    if unknown:
        raise DatasetError(f"columns are not in the vocabulary: {', '.join(sorted(unknown))}")
    columns: list[pa.Array] = []
    for field in schema:
        if field.name == "video_id":
            columns.append(pa.repeat(pa.scalar(video_id), batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
