"""A crew on a ray cluster: chunk shares as calls of ray actors, which keep their models.

`RAY_ADDRESS` names the cluster; without it ray starts on this machine. The dataset's folder and
the source must be readable under the same path on every node, and so must the weights be cached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from stpe.errors import MissingExtraError, StageError, StpeError
from stpe.models.processor import core_count
from stpe.pipeline.crew import Made, Share
from stpe.pipeline.progress import Progress


class RayCrew:
    """One actor for each of `devices`; by default one a GPU of the cluster where `gpus` says that
    a model can use one, else one a node.

    Raises:
        MissingExtraError: ray is not installed.
    """

    def __init__(
        self, devices: Sequence[str] | None, gpus: bool, threads: int | None = None
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "--engine ray needs ray, which is not installed: pip install 'stpe[ray]'"
            ) from error
        self._ray: Any = ray
        self._devices = devices
        self._gpus = gpus
        self._threads = threads
        self._actors: list[Any] = []
        self._actor: Callable[[], Any] = lambda: None
        self._asked: dict[Any, int] = {}

    def start(self) -> int:
        """See `Crew`."""
        self._actors = self._actors or self._start()
        return len(self._actors)

    def give(self, member: int, share: Share) -> None:
        """See `Crew`."""
        if self._actors[member] is None:
            self._actors[member] = self._actor()
        self._asked[self._actors[member].run.remote(share)] = member

    def take(self, progress: Callable[[int], Progress]) -> tuple[int, Made | StpeError]:
        """See `Crew`. Actors do not tell how far they are."""
        (done,), _ = self._ray.wait(list(self._asked), num_returns=1)
        member = self._asked.pop(done)
        try:
            made: Made = self._ray.get(done)
            return member, made
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, StpeError):
                return member, error.cause
            return member, StageError(f"a ray worker failed: {error.cause!r}")
        except self._ray.exceptions.RayError as error:
            self._actors[member] = None
            return member, StageError(f"a ray worker was lost: {error}; the same call continues")

    def _start(self) -> list[Any]:
        ray = self._ray
        if not ray.is_initialized():
            paths = os.pathsep.join(filter(None, sys.path))
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # we tell nobody
            ray.init(
                address=os.environ.get("RAY_ADDRESS"),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="warning",
                runtime_env={"env_vars": {"PYTHONPATH": paths}},
            )
        cluster_gpus = int(ray.cluster_resources().get("GPU", 0)) if self._gpus else 0
        nodes = sum(node["Alive"] for node in ray.nodes())
        count = len(self._devices) if self._devices else cluster_gpus or nodes
        on_gpu = all(d != "cpu" for d in self._devices) if self._devices else cluster_gpus > 0
        threads = self._threads or max(1, core_count() * nodes // count)
        kind = ray.remote(num_cpus=1, num_gpus=int(on_gpu))(RayMember)
        self._actor = lambda: kind.remote(threads)
        return [self._actor() for _ in range(count)]

    def close(self) -> None:
        """See `Crew`."""
        actors, self._actors = list(filter(None, self._actors)), []
        self._asked.clear()
        for actor in actors:
            self._ray.kill(actor)


class RayMember:
    """The actor."""

    def __init__(self, threads: int) -> None:
        from stpe.pipeline.crew_member import Member

        self._member = Member(threads)

    def run(self, share: Any) -> Made:
        """Run one share, without telling how far it is."""
        return self._member.run(share, Progress())
