"""A crew on a ray cluster: chunk shares as calls of ray actors, which keep their models.

`RAY_ADDRESS` names the cluster; without it ray starts on this machine. The dataset's folder and
the source must be readable under the same path on every node, and so must the weights be cached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stpe.errors import MissingExtraError, StageError, StpeError
from stpe.models.backends.openvino.session import core_count
from stpe.pipeline.crew import Made, shares
from stpe.pipeline.plan import Plan
from stpe.pipeline.progress import Progress
from stpe.video.source import Source


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

    def run(
        self,
        plan: Plan,
        source: Source,
        artifacts: Path,
        stages: tuple[str, ...],
        progress: Progress,
    ) -> list[Made]:
        """See `Crew`."""
        if not self._actors:
            self._actors = self._start()
        asked = shares(plan, source, artifacts, stages, len(self._actors))
        calls = [actor.run.remote(share) for actor, share in zip(self._actors, asked, strict=True)]
        made: list[Made] = []
        finished = False
        try:
            while calls:
                done, calls = self._ray.wait(calls)
                made += self._ray.get(done)
            finished = True
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, StpeError):
                raise error.cause from None
            raise StageError(f"a ray worker failed: {error.cause!r}") from error
        except self._ray.exceptions.RayError as error:
            raise StageError(f"a ray worker was lost: {error}; the same call continues") from error
        finally:
            if not finished:
                self.close()
        return made

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
        actor = ray.remote(num_cpus=1, num_gpus=int(on_gpu))(RayMember)
        return [actor.remote(threads) for _ in range(count)]

    def close(self) -> None:
        """See `Crew`."""
        actors, self._actors = self._actors, []
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
