"""The models of a selection, each loaded when it is first asked for."""

from __future__ import annotations

import logging
import threading
from typing import Any

from stpe.errors import ModelError, UsageError
from stpe.models import loader
from stpe.models.roles import ROLES

log = logging.getLogger(__name__)


class Loaded:
    """Loads a role's model once, whichever thread asks first; `close` frees them all.

    Attributes:
        selection: who plays each role.
    """

    def __init__(self, selection: loader.Selection) -> None:
        self.selection = selection
        self._models: dict[str, Any] = {}
        self._locks = {role: threading.Lock() for role in ROLES}

    def role(self, name: str) -> Any:
        """The loaded model that plays a role.

        Raises:
            UsageError: there is no such role.
            ModelError: no model plays it here; the message says why.
        """
        if name not in ROLES:
            raise UsageError(f"no role is called {name!r}; there are {', '.join(ROLES)}")
        if name not in self.selection.models:
            why = self.selection.missing.get(name, "the profile has none")
            raise ModelError(f"no model plays {name}: {why}")
        with self._locks[name]:
            if name not in self._models:
                log.info("loading %s as %s", self.selection.models[name].id, name)
                self._models[name] = loader.load(self.selection.models[name], part=self.role)
            return self._models[name]

    def close(self) -> None:
        """Free every model; the next use loads it again."""
        for role, lock in self._locks.items():
            with lock:
                model = self._models.pop(role, None)
            if model is not None:
                model.close()
