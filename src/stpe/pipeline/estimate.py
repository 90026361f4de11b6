"""What a plan would cost on a source, before it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stpe.models.catalog import Model
from stpe.models.processor import core_count, native_bf16
from stpe.pipeline import rates
from stpe.pipeline.plan import Node, Plan
from stpe.stages.stage import ANALYSIS, MOTION
from stpe.video.frame import Grid, SourceInfo

#: Frames one call of a role's model answers for, where it is not one.
FRAMES_A_CALL = {"clip_classifier": 32, "shot_detector": 50}
#: Catalog costs are measured with this many cores at work on one call.
_CATALOG_CORES = 2


@dataclass(frozen=True)
class StageEstimate:
    """One stage's contract and expected work.

    Attributes:
        stage, version, scope: identity.
        grid: "name fps widthxheight", or None for rows only.
        reads, writes: signals.
        models: role to model id.
        frames: frames it will look at; None where the source does not tell its length.
        seconds: its expected share of the wall time, beside other stages at work on the other
            cores; None where a model's cost or the length is unknown.
        purpose: the wanted signal that it runs for; None where it writes one itself.
    """

    stage: str
    version: str
    scope: str
    grid: str | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    models: dict[str, str]
    frames: int | None
    seconds: float | None
    purpose: str | None


def estimate(plan: Plan, info: SourceInfo | None = None) -> list[StageEstimate]:
    """Each stage of the plan in order; with a source, its expected work."""
    return [_stage(plan, node, info) for node in plan.nodes]


def describe(plan: Plan, info: SourceInfo | None = None) -> dict[str, Any]:
    """The plan as one JSON-ready document: stages in order, what is absent, what is stored.

    `seconds` is the expected wall time of the run: stages of known cost and `seconds_beside`, which
    are starting, decoding and writing.
    """
    stages = estimate(plan, info)
    beside = {} if info is None else _beside(plan, info)
    known = [s.seconds for s in stages if s.seconds is not None]
    return {
        "stages": [asdict(stage) for stage in stages],
        "absent": dict(plan.absent),
        "signals": sorted(plan.stored),
        "unasked": sorted(plan.unasked),
        "chunk_s": None if info is None else plan.sampling.chunk_s(info, plan.known_grids),
        "seconds_beside": beside,
        "seconds": sum(known) + sum(beside.values()) if beside else None,
    }


def shares(plan: Plan, info: SourceInfo) -> dict[str, float]:
    """Expected share of the work of each stage, for a progress display; they sum to 1."""
    costs = {s.stage: s.seconds or 0.0 for s in estimate(plan, info)}
    # A stage without models, or with one of unknown cost, still counts for something.
    least = max(0.01 * sum(costs.values()), 1e-6)
    whole = sum(max(cost, least) for cost in costs.values())
    return {name: max(cost, least) / whole for name, cost in costs.items()}


def _stage(plan: Plan, node: Node, info: SourceInfo | None) -> StageEstimate:
    stage, grid = node.stage, None
    if node.grid is not None:
        fps = "native" if node.grid.fps is None else f"{node.grid.fps:g} fps"
        grid = f"{node.grid.name} {fps}"
        if info is not None:
            grid += " {}x{}".format(*node.grid.frame_size(info.width, info.height))
    frames = _frames(node.grid, info)
    models = {role: plan.selection.models[role] for role in node.roles}
    return StageEstimate(
        stage.name,
        stage.version,
        stage.scope,
        grid,
        (*stage.reads, *stage.optional),
        stage.writes,
        {role: model.id for role, model in models.items()},
        frames,
        _seconds(plan, node, info),
        node.purpose,
    )


def _seconds(plan: Plan, node: Node, info: SourceInfo | None) -> float | None:
    """Wall time of a stage: the calls of its models, and its own work beside them."""
    name, grid = node.name, node.grid
    if grid is not None:
        rate = rates.BY_FRAME_S.get(name, 0.0)
    elif name in rates.BY_INTERVAL_S:
        grid, rate = plan.sampling.resolve(MOTION), rates.BY_INTERVAL_S[name]
    else:
        grid, rate = plan.sampling.resolve(ANALYSIS), rates.BY_ROW_S.get(name, 0.0)
    for role in node.roles if node.grid else ():
        cost_s = _call(plan.selection.models[role], role)
        if cost_s is None:
            return None
        rate += cost_s
    frames = _frames(grid, info)
    return None if frames is None else _wall(frames * rate)


def _call(model: Model, role: str) -> float | None:
    """Processor seconds of a role's model for a frame; None where they are unknown."""
    if model.cost_ms is None:
        return None
    slower = 1.0
    if model.backend.startswith("openvino") and not native_bf16():
        slower = rates.WITHOUT_BF16
    once = model.cost_ms / 1000 * _CATALOG_CORES / FRAMES_A_CALL.get(role, 1)
    return slower * (once + rates.CALLS_S.get(role, 0.0))


def _beside(plan: Plan, info: SourceInfo) -> dict[str, float]:
    """Wall time of what no stage does."""
    decoded = _frames(Grid("decoded"), info)
    analysed = _frames(plan.sampling.resolve(ANALYSIS), info)
    if decoded is None or analysed is None:
        return {}
    models = {role for node in plan.nodes for role in node.roles}
    return {
        "starting": _wall(len(models) * rates.STARTING_S),
        "decoding": _wall(decoded * info.width * info.height / 1e6 * rates.DECODING_S),
        "writing": _wall(analysed * rates.WRITING_S),
    }


def _wall(processor_s: float) -> float:
    return processor_s / (core_count() * rates.BUSY)


def _frames(grid: Grid | None, info: SourceInfo | None) -> int | None:
    """Frames of a source on a grid; 0 for no grid, None where the source has no known length."""
    if grid is None:
        return 0
    if info is None or info.duration_s is None:
        return None
    native = info.fps or 30.0
    fps = native if grid.fps is None else min(grid.fps, native)
    return max(1, round(info.duration_s * fps))
