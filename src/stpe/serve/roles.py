"""The models behind the server: loaded in the background, waited for without blocking others."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from pydantic import BaseModel

from stpe.engine import Engine
from stpe.errors import ModelError, StpeError
from stpe.models.roles import ROLES
from stpe.serve.failures import LoadingError

#: Seconds after which a model that could not be loaded is tried again.
_AGAIN_S = 60.0

log = logging.getLogger(__name__)


class ModelState(BaseModel):
    """Which model plays a role here, and whether it can be used yet."""

    state: Literal["loading", "ready", "missing"]
    model: str | None = None
    reason: str | None = None


class Roles:
    """Models by role, each loaded once by a background thread."""

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self.engine = engine
        self._wait_s = wait_s
        self._loader = ThreadPoolExecutor(2, "stpe-load")
        self._loads: dict[str, Future[Any]] = {}
        self._begun: dict[str, float] = {}

    def start(self) -> None:
        """Begin to load every model of the selection."""
        for role in self.engine.selection.models:
            self._begin(role)

    def _begin(self, role: str) -> Future[Any]:
        self._begun[role] = time.monotonic()
        self._loads[role] = self._loader.submit(self.engine.role, role)
        self._loads[role].add_done_callback(lambda future: _report(role, future))
        return self._loads[role]

    def model_id(self, role: str) -> str | None:
        """Id of the model that plays a role, loaded or not."""
        model = self.engine.selection.models.get(role)
        return None if model is None else model.id

    def loaded(self, role: str) -> bool:
        """Whether a role can be used now."""
        load = self._loads.get(role)
        return load is not None and load.done() and load.exception() is None

    async def get(self, role: str) -> Any:
        """The object that plays a role (`stpe.models.roles`); waits while it is being loaded.

        Raises:
            LoadingError: it is not ready within the time that a request may wait.
            ModelError: no model plays it here; the message says why.
        """
        load = self._future(role)
        if not load.done():
            done = asyncio.wrap_future(load)
            done.add_done_callback(lambda f: f.cancelled() or f.exception())  # it is seen below
            await asyncio.wait({done}, timeout=self._wait_s)
        return _outcome(role, load)

    def _future(self, role: str) -> Future[Any]:
        if role not in self.engine.selection.models:
            why = self.engine.selection.missing.get(role, "the profile has none")
            raise ModelError(f"no model plays {role}: {why}; `stpe models pull` fetches weights")
        load = self._loads.get(role)
        failed = load is not None and load.done() and load.exception() is not None
        if load is None or (failed and time.monotonic() - self._begun[role] > _AGAIN_S):
            load = self._begin(role)
        return load

    def states(self) -> dict[str, ModelState]:
        """State of every role."""
        return {role: self._state(role) for role in ROLES}

    def _state(self, role: str) -> ModelState:
        model = self.model_id(role)
        if model is None:
            return ModelState(state="missing", reason=self.engine.selection.missing.get(role))
        load = self._loads.get(role)
        if load is None or not load.done():
            return ModelState(state="loading", model=model)
        error = load.exception()
        if error is None:
            return ModelState(state="ready", model=model)
        return ModelState(state="missing", model=model, reason=_told(role, error))

    def close(self) -> None:
        """Wait for loads under way, then free the models."""
        self._loader.shutdown(wait=True, cancel_futures=True)
        self.engine.unload_models()


def _outcome(role: str, load: Future[Any]) -> Any:
    """What was loaded. Its error is raised anew each time: one that is raised again and again
    gathers every traceback, and with it what those requests held."""
    if not load.done() or load.cancelled():
        raise LoadingError(f"the model for {role} is being loaded; try again", 5.0)
    error = load.exception()
    if error is not None:
        raise ModelError(_told(role, error))
    return load.result()


def _told(role: str, error: BaseException) -> str:
    if isinstance(error, StpeError):
        return str(error)
    return f"the model for {role} failed to load; the server's log says more"


def _report(role: str, future: Future[Any]) -> None:
    if future.cancelled():
        return
    error = future.exception()
    if error is None:
        log.info("%s is ready", role)
    else:
        unforeseen = None if isinstance(error, StpeError) else error
        log.warning("%s cannot be loaded: %s", role, error, exc_info=unforeseen)
