"""What a call does to what a dataset holds of a video: what it keeps, adds, renews and drops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from stpe.pipeline.recipe import Recipe, StageRecipe

#: Always the newest: what both calls had to warn of.
_OWN = frozenset(["videos.warnings"])


@dataclass(frozen=True)
class Change:
    """Signals by what happens to them.

    Attributes:
        keeps: stored, and stay as they are.
        adds: not stored yet.
        renews: stored, and made again in another way.
        drops: stored, and lost: their rows cannot be joined with the new ones, or they were made
            from what is renewed.
        reasons: why something is renewed or dropped.
    """

    keeps: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    renews: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether everything asked for is stored as it would be made."""
        return not (self.adds or self.renews or self.drops)

    @property
    def loses(self) -> bool:
        """Whether something that is stored would not be there any more as it is."""
        return bool(self.renews or self.drops)

    def document(self) -> dict[str, list[str]]:
        """For `--json`."""
        return {name: list(found) for name, found in asdict(self).items()}

    @classmethod
    def load(cls, document: Mapping[str, Sequence[str]]) -> Change:
        """What `document` gave."""
        return cls(**{name: tuple(found) for name, found in document.items()})

    def lines(self) -> list[str]:
        """For people, one line each: keeps, adds, renews, drops, and why."""
        said = [
            f"{word} {', '.join(grouped(names, self))}"
            for word, names in (
                ("keeps", self.keeps),
                ("adds", self.adds),
                ("renews", self.renews),
                ("drops", self.drops),
            )
            if names
        ]
        return [*said, *(f"because {reason}" for reason in self.reasons)]


def grouped(names: Iterable[str], change: Change) -> list[str]:
    """Signals, with the table's name alone where nothing else happens to any of the table's."""
    every = [*change.keeps, *change.adds, *change.renews, *change.drops]
    tables: dict[str, list[str]] = {}
    for name in names:
        tables.setdefault(name.split(".")[0], []).append(name)
    said: list[str] = []
    for table, found in tables.items():
        whole = sum(name.split(".")[0] == table for name in every)
        said += [f"{table} (all of it)"] if 1 < len(found) == whole else sorted(found)
    return said


def compare(old: Recipe, new: Recipe, holds: Callable[[str], bool]) -> Change:
    """What becomes of `old` where `new` is processed.

    Args:
        holds: whether a stored column, which the pipeline itself filled, has any value.
    """
    if old.sampling != new.sampling:
        return _resampled(old, new)
    renews = [name for name in old.columns if _renewed(name, old, new, holds)]
    moved = {t for t, key in old.rows.items() if t in new.rows and new.rows[t] != key}
    gone = {old.rows[table] for table in moved}
    gone |= {old.columns[n].stage for n in renews if old.columns[n].stage != new.columns[n].stage}
    gone.discard(None)
    drops = []
    for name, column in old.columns.items():
        table = name.split(".")[0]
        if name in new.columns:
            continue
        if table in moved or old.ancestry([column.stage, old.rows[table]]) & gone:
            drops.append(name)
    lost = {*renews, *drops}
    # Rows of the pipeline alone say nothing that the new rows do not.
    renewed_rows = sorted(
        n for n in old.columns if n.split(".")[0] in moved and n in new.columns and n not in lost
    )
    renews += renewed_rows
    lost |= set(renewed_rows)
    reasons = dict.fromkeys(
        why
        for n in (*renews, *(f"{t}." for t in moved))
        if (why := _reason(n, old, new)) is not None
    )
    return Change(
        keeps=tuple(n for n in old.columns if n not in lost),
        adds=tuple(n for n in new.columns if n not in old.columns),
        renews=tuple(renews),
        drops=tuple(drops),
        reasons=tuple(reasons),
    )


def merged(old: Recipe, new: Recipe, change: Change) -> Recipe:
    """How everything is made that is stored after the change."""
    columns = {name: old.columns[name] for name in change.keeps} | {
        name: column for name, column in new.columns.items() if not from_old(name, old, new, change)
    }
    tables = {name.split(".")[0] for name in columns}
    rows = {table: key for table, key in {**old.rows, **new.rows}.items() if table in tables}
    stages = {**old.stages, **new.stages}
    both = Recipe(new.sampling, stages, rows, columns)
    needed = both.ancestry([*(c.stage for c in columns.values()), *rows.values()])
    return Recipe(new.sampling, {k: s for k, s in stages.items() if k in needed}, rows, columns)


def from_old(name: str, old: Recipe, new: Recipe, change: Change) -> bool:
    """Whether a column's values are those that are stored already."""
    if name in _OWN or name not in change.keeps:
        return False
    if name not in new.columns:
        return True
    return new.columns[name].stage is None and old.columns[name].stage is not None


def _renewed(name: str, old: Recipe, new: Recipe, holds: Callable[[str], bool]) -> bool:
    before, after = old.columns[name], new.columns.get(name)
    if after is None or after.stage is None:
        return False
    return before != after and (before.stage is not None or holds(name))


def _resampled(old: Recipe, new: Recipe) -> Change:
    asked = ", ".join(
        f"{name} {before!r} and now {new.sampling.get(name)!r}"
        for name, before in old.sampling.items()
        if before != new.sampling.get(name)
    ) or "a rate for images"  # fmt: skip
    facts = [  # of the source, whatever frames are analysed
        name
        for name, column in old.columns.items()
        if name.startswith("videos.") and column.stage is None and name in new.columns
    ]
    return Change(
        keeps=tuple(facts),
        adds=tuple(n for n in new.columns if n not in old.columns),
        renews=tuple(n for n in old.columns if n in new.columns and n not in facts),
        drops=tuple(n for n in old.columns if n not in new.columns),
        reasons=(f"other frames are analysed ({asked}), and their rows cannot be joined",),
    )


def _reason(name: str, old: Recipe, new: Recipe) -> str | None:
    table = name.split(".")[0]
    if name in old.columns:
        before, after = old.columns[name].stage, new.columns[name].stage
    else:
        before, after = old.rows[table], new.rows[table]
    if before == after:
        return "the calibration of confidences is another" if name in old.columns else None
    if before is None or after is None:
        ends = ["the source" if k is None else r.stages[k].name
                for r, k in ((new, after), (old, before))]  # fmt: skip
        return f"{name.rstrip('.')} now comes from {ends[0]} and came from {ends[1]}"
    return _difference(old, before, new, after)


def _difference(old: Recipe, before: str, new: Recipe, after: str) -> str:
    """The first thing that differs between two runs of a stage, or of what it reads."""
    pending = [(before, after)]
    seen = set()
    while pending:
        first, second = pending.pop(0)
        one, two = old.stages[first], new.stages[second]
        if (said := _said(one, two)) is not None:
            return said
        others = {new.stages[key].name: key for key in two.upstream}
        pairs = {(k, others.get(old.stages[k].name)) for k in one.upstream}
        for key, other in sorted(pairs, key=str):
            if other is not None and key != other and (key, other) not in seen:
                seen.add((key, other))
                pending.append((key, other))
    return f"{old.stages[before].name} reads other signals"


def _said(one: StageRecipe, two: StageRecipe) -> str | None:
    if one.name != two.name:
        return f"{two.name} makes what {one.name} made"
    if one.version != two.version:
        return f"{one.name} is of version {two.version} and was {one.version}"
    for role in {**one.models, **two.models}:
        was, now = one.models.get(role), two.models.get(role)
        if was != now:
            named = [f"{m[0]} ({m[2]})" if m else "no model" for m in (now, was)]
            more = ", of another revision" if named[0] == named[1] else ""
            return f"{one.name} uses {named[0]} as {role} and used {named[1]}{more}"
    for option in {**one.options, **two.options}:
        if one.options.get(option) != two.options.get(option):
            return f"{one.name} is given another {option}"
    return None
