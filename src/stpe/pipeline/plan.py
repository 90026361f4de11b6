"""From what the user asked for to the stages that must run, in order, and what stays absent.

A plan does not depend on a source: the same plan serves every source of a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stpe.errors import UsageError
from stpe.models.catalog import Model
from stpe.models.processor import native_bf16
from stpe.models.temporal import ModuleFile
from stpe.pipeline.sampling import Sampling
from stpe.signals import CALIBRATED, KEYS, RAW, SIGNALS, TOLD, expand, requested, written
from stpe.stages import registry
from stpe.stages.stage import Request, Stage
from stpe.state.reading import StateFile
from stpe.video.frame import Grid

#: Tables whose rows the pipeline itself makes, and the columns it fills.
BASE: dict[str, tuple[str, ...]] = {
    "frames": ("frame_index", "pts", "state", "alignment"),
    "videos": (
        "uri",
        "sha256",
        "kind",
        "codec",
        "width",
        "height",
        "fps",
        "start_pts",
        "unix_start_s",
        "duration_s",
        "frame_count",
        "warnings",
        "state_sha256",
    ),
}
_BASE_SIGNALS = frozenset(f"{table}.{column}" for table, cs in BASE.items() for column in cs)
_KEY_SIGNALS = frozenset(s.name for s in SIGNALS if s.key)


class Choice(Protocol):
    """What a plan must know of the models: who plays each role, and why some roles have no one."""

    @property
    def models(self) -> Mapping[str, Model]:
        """Role to model."""
        ...

    @property
    def missing(self) -> Mapping[str, str]:
        """Role to the reason it has none."""
        ...


@dataclass(frozen=True)
class Read:
    """How a stage gets one table: from which stages, and which columns of each.

    Attributes:
        table: the table's name.
        creator: stage whose rows they are; None where the pipeline makes the rows.
        columns: stage name (or None for the pipeline) to the columns read from it.
    """

    table: str
    creator: str | None
    columns: Mapping[str | None, tuple[str, ...]]


@dataclass(frozen=True)
class Node:
    """One stage of a plan.

    Attributes:
        stage: its class.
        grid: its sampling grid with the request's rate and size, None for rows only.
        reads: its tables.
        upstream: names of the stages whose artifacts it reads, in plan order.
        roles: the model roles it gets.
        purpose: the wanted signal that it runs for, where it writes none that is wanted.
        phase: how many whole-video results it must wait for: chunk stages of phase n run in the
            n-th pass over the chunks, video stages of phase n after that pass.
    """

    stage: type[Stage]
    grid: Grid | None
    reads: tuple[Read, ...]
    upstream: tuple[str, ...]
    roles: tuple[str, ...]
    phase: int
    purpose: str | None = None

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name


@dataclass(frozen=True)
class Plan:
    """What will run. See `make_plan`.

    Attributes:
        nodes: stages in an order in which each follows what it reads.
        absent: stage name to the reason it does not run.
        stored: signals that go into the dataset.
        unasked: signals of tables that were named, which are only made if named themselves.
        tables: for each stored table, where its rows and columns come from.
        sampling, request, selection: what it was made for.
    """

    nodes: tuple[Node, ...]
    absent: Mapping[str, str]
    stored: frozenset[str]
    unasked: frozenset[str]
    tables: Mapping[str, Read]
    sampling: Sampling
    request: Request
    selection: Choice
    known_grids: tuple[Grid, ...]

    @property
    def roles(self) -> frozenset[str]:
        """Every role that its stages use, those of absent stages included."""
        names = {n.name for n in self.nodes} | set(self.absent)
        stages = [s for s in registry.STAGES if s.name in names]
        return frozenset(r for s in stages for r in (*s.roles, *s.optional_roles))

    def node(self, name: str) -> Node:
        """The node of the stage called `name`."""
        return next(n for n in self.nodes if n.name == name)

    def options(self, node: Node) -> dict[str, object]:
        """The fields of the request that the stage uses."""
        given = {name: getattr(self.request, name) for name in node.stage.options}
        files = (StateFile, ModuleFile)
        return {k: v.sha256 if isinstance(v, files) else v for k, v in given.items()}

    def models(self, node: Node) -> dict[str, list[str]]:
        """What the results of the stage's models depend on, by role."""
        chosen = {role: self.selection.models[role] for role in node.roles}
        return {role: [m.fingerprint, precision_of(m)] for role, m in chosen.items()}


def precision_of(model: Model) -> str:
    """Number format its matrix products run in on this machine."""
    if model.backend != "openvino" or model.options.get("precision") == "f32":
        return "f32"
    return "bf16" if native_bf16() else "f32"


def make_plan(
    selection: Choice,
    request: Request | None = None,
    sampling: Sampling | None = None,
    signals: Sequence[str] | None = None,
    without: Sequence[str] = (),
    stages: Sequence[type[Stage]] | None = None,
) -> Plan:
    """Choose, order and connect stages.

    Args:
        selection: which model plays each role, and why some are missing.
        request: what the user said that stages care for.
        sampling: the analysis grid.
        signals: `table.column` or table names to store; None for everything. A table's name
            stands for it without captions and summaries, which nearly every stage works for.
        without: names that are not stored; a stage all of whose signals are named does not run,
            nor does what needs it.
        stages: the registry, by default `stpe.stages.registry.STAGES`.

    Raises:
        UsageError: an unknown signal, or one that no stage writes.
    """
    request = request or Request()
    asked = registry.STAGES if stages is None else stages
    known = {s.name: s for s in asked if all(getattr(request, name) for name in s.needs)}
    sampling = sampling or Sampling()
    writer = {signal: s for s in known.values() for signal in s.writes}
    left_out = expand(without)
    signals = None if signals is None else [written(name) for name in signals]
    if signals is None:
        wanted = frozenset(writer) - left_out
    else:
        # What was asked for by an option of its own is stored, whatever else is.
        asked_for = {signal for s in known.values() if s.needs for signal in s.writes}
        wanted = (requested(signals) | asked_for) - left_out
        wanted -= (_BASE_SIGNALS - asked_for) | _KEY_SIGNALS
        unwritten = sorted(wanted - set(writer))
        named = sorted(set(signals) & set(unwritten))
        if named or (wanted and not wanted & set(writer)):
            raise UsageError(f"no stage of this version writes {', '.join(named or unwritten)}")
        wanted &= set(writer)
    unasked = frozenset() if signals is None else (expand(signals) & TOLD) - wanted - left_out
    order = _sort(known, writer)
    absent = _absent(order, writer, left_out, selection)
    needed = _closure(order, writer, wanted, left_out, absent)
    running = [s for s in order if s.name in needed and s.name not in absent]
    creators = _creators(running)
    live = {signal: s for s in running for signal in s.writes}

    nodes: list[Node] = []
    for stage in running:
        reads = _reads(stage, creators, live)
        sources = {name for read in reads for name in (read.creator, *read.columns) if name}
        upstream = tuple(n.name for n in nodes if n.name in sources)
        phase = 0
        for node in nodes:
            if node.name in sources:
                waits = node.stage.scope == "video" and stage.scope == "chunk"
                phase = max(phase, node.phase + waits)
        roles = stage.roles + tuple(r for r in stage.optional_roles if r in selection.models)
        grid = stage.grid_for(selection.models)
        grid = None if grid is None else sampling.resolve(grid)
        nodes.append(Node(stage, grid, reads, upstream, roles, phase, needed[stage.name]))

    stored = wanted & set(live)
    raw = frozenset(name + RAW for name in stored if name in CALIBRATED) - left_out
    return Plan(
        nodes=tuple(nodes),
        absent={name: absent[name] for name in sorted(absent) if name in needed},
        stored=frozenset(stored) | _BASE_SIGNALS | raw,
        unasked=unasked & frozenset(writer),
        tables=_stored_tables(stored, creators, live),
        sampling=sampling,
        request=request,
        selection=selection,
        known_grids=tuple(s.grid for s in asked if s.grid is not None),
    )


def _read_signals(stage: type[Stage]) -> tuple[str, ...]:
    return stage.reads + stage.optional


def _tables(signals: Iterable[str]) -> set[str]:
    return {s.split(".")[0] for s in signals}


def _creates(stage: type[Stage], table: str) -> bool:
    """Whether the stage makes rows of `table` rather than filling columns of rows it reads."""
    read = _tables(_read_signals(stage))
    return table not in BASE and table in _tables(stage.writes) and table not in read


def _sources(
    stage: type[Stage], signals: Iterable[str], known: Iterable[type[Stage]]
) -> dict[str, list[type[Stage]]]:
    """For each signal read, the stages it comes from: its writer and the makers of its rows."""
    found: dict[str, list[type[Stage]]] = {}
    for signal in signals:
        table = signal.split(".")[0]
        found[signal] = [
            s for s in known if s is not stage and (signal in s.writes or _creates(s, table))
        ]
    return found


def _sort(known: Mapping[str, type[Stage]], writer: Mapping[str, type[Stage]]) -> list[type[Stage]]:
    """Stages so that each follows what it reads; ties in the registry's order."""
    waiting = dict(known)
    done: list[type[Stage]] = []
    while waiting:
        for stage in waiting.values():
            sources = _sources(stage, _read_signals(stage), known.values())
            if not any(s.name in waiting for ss in sources.values() for s in ss):
                break
        else:
            raise UsageError(f"stages read each other in a circle: {', '.join(sorted(waiting))}")
        done.append(waiting.pop(stage.name))
    return done


def _absent(
    order: Sequence[type[Stage]],
    writer: Mapping[str, type[Stage]],
    left_out: frozenset[str],
    selection: Choice,
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for stage in order:
        missing = [role for role in stage.roles if role not in selection.models]
        if missing:
            why = selection.missing.get(missing[0], "no model was chosen")
            reasons[stage.name] = f"no {missing[0]}: {why}"
            continue
        if stage.writes and set(stage.writes) <= left_out:
            reasons[stage.name] = "left out by --without"
            continue
        for signal in stage.reads:
            if signal in _BASE_SIGNALS and signal not in writer:
                continue
            sources = _sources(stage, (signal,), order)[signal]
            live = [s for s in sources if s.name not in reasons]
            if signal in writer and writer[signal].name in reasons:
                reasons[stage.name] = f"needs {signal}, which {writer[signal].name} does not give"
            elif signal not in writer and signal not in _KEY_SIGNALS:
                reasons[stage.name] = f"needs {signal}, which no stage writes"
            elif not live:
                gone = f", which {sources[0].name} does not give" if sources else ""
                reasons[stage.name] = f"needs {signal}{gone or ', which no stage writes'}"
            else:
                continue
            break
    return reasons


def _closure(
    order: Sequence[type[Stage]],
    writer: Mapping[str, type[Stage]],
    wanted: frozenset[str],
    left_out: frozenset[str],
    absent: Mapping[str, str],
) -> dict[str, str | None]:
    """Names of the stages that write what is wanted, and of all they read, absent ones included.
    Each with the wanted signal that it is needed for, None where it writes one itself."""
    pending = deque[tuple[type[Stage], str]]()
    for signal in sorted(wanted):
        table = signal.split(".")[0]
        writers = [writer[signal], *(s for s in order if _creates(s, table))]
        pending += [(s, signal) for s in writers]
    needed: dict[str, str | None] = {}
    while pending:
        stage, signal = pending.popleft()
        if stage.name in needed:
            continue
        needed[stage.name] = None if wanted & set(stage.writes) else signal
        optional = [s for s in stage.optional if s not in left_out]
        sources = _sources(stage, (*stage.reads, *optional), order)
        found = [s for ss in sources.values() for s in ss]
        # An absent stage needs nothing to run, but the reason may lie further up.
        if stage.name in absent:
            found = [s for s in found if s.name in absent]
        pending += [(s, signal) for s in found]
    return needed


def _creators(running: Sequence[type[Stage]]) -> dict[str, type[Stage]]:
    """For each table, the first stage in order that makes its rows."""
    found: dict[str, type[Stage]] = {}
    for stage in running:
        for table in _tables(stage.writes):
            if _creates(stage, table):
                found.setdefault(table, stage)
    return found


def _reads(
    stage: type[Stage], creators: Mapping[str, type[Stage]], live: Mapping[str, type[Stage]]
) -> tuple[Read, ...]:
    reads = []
    signals = [
        s for s in _read_signals(stage) if s in _BASE_SIGNALS or s in _KEY_SIGNALS or s in live
    ]
    for table in KEYS:
        columns = [s.split(".")[1] for s in signals if s.split(".")[0] == table]
        if columns and (table in BASE or table in creators):
            reads.append(_read(table, columns, creators, live))
    return tuple(reads)


def _read(
    table: str,
    columns: Iterable[str],
    creators: Mapping[str, type[Stage]],
    live: Mapping[str, type[Stage]],
) -> Read:
    creator = None if table in BASE else creators[table].name
    by_source: dict[str | None, list[str]] = {creator: []}
    for column in columns:
        signal = f"{table}.{column}"
        if signal in _KEY_SIGNALS:
            continue
        source = live[signal].name if signal in live else None
        by_source.setdefault(source, []).append(column)
    return Read(table, creator, {name: tuple(found) for name, found in by_source.items()})


def _stored_tables(
    stored: Iterable[str], creators: Mapping[str, type[Stage]], live: Mapping[str, type[Stage]]
) -> dict[str, Read]:
    signals = set(stored)
    tables: dict[str, Read] = {}
    for table in KEYS:
        columns = [s.column for s in SIGNALS if s.table == table and s.name in signals]
        if table in BASE:
            columns = [*columns, *(c for c in BASE[table] if c not in columns)]
        if columns and (table in BASE or table in creators):
            tables[table] = _read(table, columns, creators, live)
    return tables
