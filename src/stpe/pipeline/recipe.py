"""How each stored column was made: what a dataset notes of a plan, so that a later call can tell
what it may keep, what it adds, and what it would lose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stpe.calibration import digest
from stpe.pipeline import sampling
from stpe.pipeline.artifacts import content_key
from stpe.pipeline.plan import Plan
from stpe.signals import CALIBRATED, RAW


@dataclass(frozen=True)
class Column:
    """Where one stored column comes from.

    Attributes:
        stage: key of the stage that writes it, in `Recipe.stages`; None for the pipeline itself.
        calibration: digest of the curves it was calibrated with; None where it has no curve.
    """

    stage: str | None
    calibration: str | None = None


@dataclass(frozen=True)
class StageRecipe:
    """One stage as it was run.

    Attributes:
        name, version, options: of the stage.
        models: role to [model id, fingerprint, number format].
        upstream: keys of the stages it reads.
    """

    name: str
    version: str
    options: Mapping[str, Any]
    models: Mapping[str, Any]
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How all that is stored of one video was made.

    Attributes:
        sampling: the analysis grid.
        stages: key to stage; the key is a hash of all that the stage's rows depend on.
        rows: table to the key of the stage that makes its rows; None for the pipeline.
        columns: `table.column` to where it comes from.
    """

    sampling: Mapping[str, Any]
    stages: Mapping[str, StageRecipe]
    rows: Mapping[str, str | None]
    columns: Mapping[str, Column]

    @property
    def key(self) -> str:
        """Hash of all of it."""
        return content_key(self.document())

    def document(self) -> dict[str, Any]:
        """Ready for JSON; `load` reads it."""
        return {
            "sampling": dict(self.sampling),
            "stages": {key: vars(stage) for key, stage in self.stages.items()},
            "rows": dict(self.rows),
            "columns": {name: [c.stage, c.calibration] for name, c in self.columns.items()},
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Recipe:
        """What `document` gave."""
        stages = {
            key: StageRecipe(**{**stage, "upstream": tuple(stage["upstream"])})
            for key, stage in document["stages"].items()
        }
        columns = {name: Column(*found) for name, found in document["columns"].items()}
        return cls(document["sampling"], stages, document["rows"], columns)

    @classmethod
    def of(cls, plan: Plan) -> Recipe:
        """The recipe of what a plan stores."""
        stages: dict[str, StageRecipe] = {}
        key_of: dict[str, str] = {}
        for node in plan.nodes:
            models = {
                role: [plan.selection.models[role].id, *found]
                for role, found in plan.models(node).items()
            }
            upstream = tuple(key_of[name] for name in node.upstream)
            options = json.loads(json.dumps(plan.options(node), allow_nan=False))
            made = StageRecipe(node.name, node.stage.version, options, models, upstream)
            reads = [
                [read.table, read.creator, sorted((s or "", c) for s, c in read.columns.items())]
                for read in node.reads
            ]
            key = content_key({"stage": vars(made), "reads": reads})
            key_of[node.name], stages[key] = key, made
        columns: dict[str, Column] = {}
        rows: dict[str, str | None] = {}
        for table, read in plan.tables.items():
            rows[table] = None if read.creator is None else key_of[read.creator]
            for source, names in read.columns.items():
                for name in (f"{table}.{column}" for column in names):
                    made_by = None if source is None else key_of[source]
                    columns[name] = Column(made_by, digest() if name in CALIBRATED else None)
                    if name + RAW in plan.stored:
                        columns[name + RAW] = Column(made_by)
        return cls(_sampling(plan), stages, rows, columns)

    def ancestry(self, keys: Iterable[str | None]) -> set[str]:
        """Keys of these stages and of all that they depend on."""
        found: set[str] = set()
        pending = [key for key in keys if key is not None]
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending += self.stages[key].upstream
        return found


def _sampling(plan: Plan) -> dict[str, Any]:
    size = None if plan.sampling.size is None else list(plan.sampling.size)
    return {
        "version": sampling.VERSION,
        "fps": plan.sampling.fps,
        "size": size,
        "long_side": plan.sampling.long_side,
        **plan.sampling.key,
    }
