"""Settings read from environment variables, checked when the server starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from stpe.errors import UsageError

log = logging.getLogger(__name__)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


#: A tuple of words, written as one value with commas.
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]


def replicas() -> int:
    """Processes that serve this port, as `stpe serve --replicas` tells each of them."""
    return int(os.environ.get("STPE_SERVE_REPLICAS", "1"))


@cache
def _unknown(name: str, known: str) -> None:
    """Say once of a variable that nothing reads it."""
    log.warning("%s is not a setting of this server and was not used; there are %s", name, known)


class Environment(BaseModel):
    """Fields whose alias is the variable's name. Frozen; out-of-range values are refused.

    `prefixes` are those of variable names that belong to this model alone: one that begins so and
    that no field knows is a typing mistake, and refused. `shared_prefixes` are those of names that
    other programs also read: one that no field knows is warned about and not used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)
    prefixes: ClassVar[tuple[str, ...]] = ()
    shared_prefixes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> Self:
        """The settings that `variables` (by default those of the process) hold; an empty value
        counts as none. Raises UsageError naming each wrong one."""
        variables = os.environ if variables is None else variables
        known = {field.alias for field in cls.model_fields.values()}
        for name in sorted(variables):
            if cls.shared_prefixes and name.startswith(cls.shared_prefixes) and name not in known:
                _unknown(name, ", ".join(sorted(a for a in known if a)))
        own = {
            name: value
            for name, value in variables.items()
            if value != "" and (name in known or (cls.prefixes and name.startswith(cls.prefixes)))
        }
        try:
            return cls.model_validate(own)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise UsageError(f"wrong setting in the environment: {wrong}") from None
