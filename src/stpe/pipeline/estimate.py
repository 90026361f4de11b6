"""What a plan would cost on a source, before it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stpe.models.processor import core_count
from stpe.pipeline.plan import Node, Plan
from stpe.video.frame import SourceInfo

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
        seconds: expected time with every core at work; None where a model's cost or the length is
            unknown. Work outside models is not counted.
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
    """The plan as one JSON-ready document: stages in order, what is absent, what is stored."""
    stages = estimate(plan, info)
    known = [s.seconds for s in stages if s.seconds is not None]
    return {
        "stages": [asdict(stage) for stage in stages],
        "absent": dict(plan.absent),
        "signals": sorted(plan.stored),
        "unasked": sorted(plan.unasked),
        "chunk_s": None if info is None else plan.sampling.chunk_s(info, plan.known_grids),
        "seconds": sum(known) if known else None,
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
    frames = _frames(node, info)
    models = {role: plan.selection.models[role] for role in node.roles}
    seconds: float | None = 0.0
    for role, model in models.items():
        if model.cost_ms is None or frames is None or seconds is None:
            seconds = None
        else:
            calls = frames / FRAMES_A_CALL.get(role, 1)
            seconds += calls * model.cost_ms / 1000 * _CATALOG_CORES / core_count()
    return StageEstimate(
        stage.name,
        stage.version,
        stage.scope,
        grid,
        (*stage.reads, *stage.optional),
        stage.writes,
        {role: model.id for role, model in models.items()},
        frames,
        seconds,
        node.purpose,
    )


def _frames(node: Node, info: SourceInfo | None) -> int | None:
    if node.grid is None:
        return 0
    if info is None or info.duration_s is None:
        return None
    native = info.fps or 30.0
    fps = native if node.grid.fps is None else min(node.grid.fps, native)
    return max(1, round(info.duration_s * fps))
