"""What a dataset holds of one video, and its union with what a call makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stpe.dataset.layout import MANIFEST, read_manifest
from stpe.dataset.stored import Stored
from stpe.errors import DatasetError
from stpe.pipeline.change import Change, compare, from_old, grouped, merged
from stpe.pipeline.plan import Plan
from stpe.pipeline.recipe import Column, Recipe
from stpe.signals import KEYS, key_fields, schema

Batches = Iterator[pa.RecordBatch]
_ROWS = 4096


@dataclass(frozen=True)
class Joined:
    """What is to be committed.

    Attributes:
        change: what happens to what is stored.
        recipe: how everything is made that is stored then.
        tables: new rows by table.
        untouched: tables whose rows stay.
    """

    change: Change
    recipe: Recipe
    tables: Mapping[str, Batches]
    untouched: tuple[str, ...] = ()


class Holding:
    """The rows of one video in a dataset, perhaps none."""

    def __init__(self, stored: Stored, video_id: str) -> None:
        self._stored = stored
        self._video_id = video_id
        document = stored.plan(video_id)
        self._recipe = None
        if document is not None:
            self._recipe = Recipe.load(document)
        elif video_id in stored.manifest.videos:
            self._recipe = _unknown(stored, video_id)

    def change(self, new: Recipe) -> Change:
        """What a call with that recipe does to it."""
        if self._recipe is None:
            return Change(adds=tuple(new.columns))
        return compare(self._recipe, new, self._has_value)

    def joined(self, new: Recipe, made: Mapping[str, Batches]) -> Joined:
        """What is stored with what was made: `made` has batches for each table of `new` and for
        `artifacts`, sorted by key."""
        change = self.change(new)
        old = self._recipe
        if old is None:
            return Joined(change, new, made)
        recipe = merged(old, new, change)
        tables: dict[str, Batches] = {}
        untouched = []
        for table in recipe.rows:
            kept = [
                name.split(".")[1]
                for name in recipe.columns
                if name.split(".")[0] == table and from_old(name, old, new, change)
            ]
            if table != "videos" and not _touched(table, change):
                untouched.append(table)
            elif table in made:
                tables[table] = self._beside(table, kept, made[table])
            else:
                tables[table] = self._alone(table, kept)
        tables["artifacts"] = self._provenance(old, recipe, made["artifacts"])
        return Joined(change, recipe, tables, tuple(untouched))

    def _has_value(self, name: str) -> bool:
        table, column = name.split(".")
        rows = self._stored.rows_of(table, self._video_id, [column])
        return bool(rows.num_rows > rows[column].null_count)

    def _alone(self, table: str, kept: list[str]) -> Batches:
        """Stored rows, of which some columns go."""
        names = schema(table, kept).names
        first = 0
        while (rows := self._stored.rows_of(table, self._video_id, names, (first, _ROWS))).num_rows:
            first += rows.num_rows
            yield from rows.to_batches()

    def _beside(self, table: str, kept: list[str], made: Batches) -> Batches:
        """New rows with the kept columns of the same rows as they are stored."""
        if not kept:
            yield from made
            return
        keys = [field.name for field in key_fields(table)]
        first = 0
        for batch in made:
            names = [*keys, *(n for n in kept if n not in keys)]
            span = (first, batch.num_rows)
            rows = self._stored.rows_of(table, self._video_id, names, span).combine_chunks()
            if any(rows[k].to_pylist() != batch.column(k).to_pylist() for k in KEYS[table]):
                raise DatasetError(
                    f"{table} of video {self._video_id} holds other rows than this call makes of "
                    "it: the dataset was changed by hand; give another --out"
                )
            first += batch.num_rows
            fresh = [n for n in batch.schema.names if n not in kept]
            (stored,) = rows.to_batches()
            columns = [*(batch.column(n) for n in fresh), *(stored.column(n) for n in kept)]
            yield pa.RecordBatch.from_arrays(columns, [*fresh, *kept])

    def _provenance(self, old: Recipe, recipe: Recipe, made: Batches) -> Batches:
        """Rows of both calls: of the first those on which something stored still depends."""
        fresh = [row for batch in made for row in batch.to_pylist()]
        names = schema("artifacts").names
        before = self._stored.rows_of("artifacts", self._video_id, names).to_pylist()
        used = {stage.name for key, stage in old.stages.items() if key in recipe.stages}
        known = {(row["stage"], row["key"]) for row in fresh}
        ran = {row["stage"] for row in fresh if row["key"] is not None}
        kept = [
            row
            for row in before
            if (row["stage"], row["key"]) not in known
            and (row["stage"] in used if row["key"] else row["stage"] not in ran)
        ]
        here = {row["stage"] for row in kept if row["key"]} | ran
        rows = [r for r in (*fresh, *kept) if r["key"] is not None or r["stage"] not in here]
        rows.sort(key=lambda r: (r["stage"], -1 if r["chunk"] is None else r["chunk"]))
        yield pa.RecordBatch.from_pylist(rows, schema=schema("artifacts"))


def foreseen(dataset: Path, sha256: str, plan: Plan) -> Change:
    """What processing a source with a plan would do to what a dataset holds of it.

    Raises:
        DatasetError: the dataset is damaged.
    """
    if not (dataset / MANIFEST).exists():
        return Change(adds=tuple(Recipe.of(plan).columns))
    return Holding(Stored(dataset, read_manifest(dataset)), video_id(sha256)).change(
        Recipe.of(plan)
    )


def video_id(sha256: str) -> str:
    """The id of the video with that content."""
    return sha256[:16]


def refusal(uri: str, dataset: Path, change: Change) -> str:
    """Why a call is refused: one line that names what would be lost."""
    parts = [
        f"{word} {', '.join(grouped(names, change))}"
        for word, names in (("renew", change.renews), ("drop", change.drops))
        if names
    ]
    return (
        f"{uri}: {dataset} holds signals of it that this call would {' and '.join(parts)}, because "
        f"{'; '.join(change.reasons)}. Give --replace to let it, or another --out"
    )


def _touched(table: str, change: Change) -> bool:
    changed: tuple[Any, ...] = (*change.adds, *change.renews, *change.drops)
    return any(name.split(".")[0] == table for name in changed)


def _unknown(stored: Stored, video_id: str) -> Recipe:
    """The recipe of rows of which no plan was noted: it agrees with no other."""
    tables = [t for t in KEYS if t != "artifacts" and stored.rows_of(t, video_id, []).num_rows]
    columns = {
        f"{table}.{name}": Column(None)
        for table in tables
        for name in schema(table).names
        if name not in KEYS[table]
    }
    return Recipe({"made by": "an earlier version"}, {}, dict.fromkeys(tables), columns)
