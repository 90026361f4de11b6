"""In which rounds a crew and its leader take turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stpe.pipeline.plan import Node


@dataclass
class Round:
    """Stages that read only earlier rounds, and in this one only what stands before them:
    `parallel` (any chunk, any order), then `ordered` (chunk by chunk), then `video`."""

    parallel: list[Node] = field(default_factory=list)
    ordered: list[Node] = field(default_factory=list)
    video: list[Node] = field(default_factory=list)


def rounds(nodes: Sequence[Node]) -> list[Round]:
    """The fewest rounds for stages in plan order: a new one wherever a stage that is free of order
    reads one that is not, or a chunk stage a whole-video one."""
    number: dict[str, int] = {}
    rank: dict[str, int] = {}
    found: list[Round] = []
    for node in nodes:
        place = 2 if node.stage.scope == "video" else int(node.stage.ordered)
        turn = max((number[up] + (rank[up] > place) for up in node.upstream), default=0)
        number[node.name], rank[node.name] = turn, place
        found += [Round() for _ in range(turn + 1 - len(found))]
        (found[turn].parallel, found[turn].ordered, found[turn].video)[place].append(node)
    return found
