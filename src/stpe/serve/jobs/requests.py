"""Bodies that name an operation and its input, as one union for OpenAPI and validation."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model, model_validator

from stpe.serve.jobs import inputs
from stpe.serve.jobs.operations import OPERATIONS


def nested(value: Any) -> Any:
    """`{"operation", "data"}`, also where the input's fields stand beside the operation, as is
    usual with RunPod."""
    if isinstance(value, dict) and "operation" in value and "data" not in value:
        rest = {name: field for name, field in value.items() if name != "operation"}
        return {"operation": value["operation"], "data": rest}
    return value


class _Call(BaseModel):
    operation: str
    data: inputs.Input | None

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, value: Any) -> Any:
        return nested(value)


def _call(name: str) -> type[_Call]:
    """The body of one operation."""
    kind = OPERATIONS[name].input
    title = "".join(word.capitalize() for word in name.split("_")) + "Call"
    data: Any = (kind | None, None) if kind is inputs.Empty else (kind, ...)
    member: Any = Literal[name]  # known at run time only: each operation is one of the union
    return create_model(title, __base__=_Call, operation=(member, ...), data=data)


#: One of the operations with its input.
Call: Any = Annotated[
    reduce(or_, (_call(name) for name in OPERATIONS)),
    Field(discriminator="operation"),
]
