"""How a job stands, in the shapes that clients know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

#: An operation's answer; in the OpenAPI document one of `ANSWER`, which lists all operations' own.
ANSWER = "OperationAnswer"
Output = Annotated[
    dict[str, Any], WithJsonSchema({"$ref": f"#/components/schemas/{ANSWER}"}, mode="serialization")
]


class RunStatus(BaseModel):
    """A job in RunPod's shape."""

    id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
    operation: str
    progress: float | None = Field(None, ge=0, le=1)
    stage: str | None = Field(None, description="what is being done")
    output: Output | None = Field(None, description="what the operation answers")
    error: str | None = None
    delayTime: int | None = Field(None, description="ms in the queue")
    executionTime: int | None = Field(None, description="ms at work")


class JobStatus(BaseModel):
    """A job in the prototype's shape."""

    job_id: str
    status: Literal["queued", "processing", "completed", "failed", "cancelled"]
    operation: str
    progress: float | None = Field(None, ge=0, le=1)
    stage: str | None = Field(None, description="what is being done")
    result: dict[Literal["output"], Output] | None = Field(
        None, description="`output`: the operation's answer"
    )
    error: str | None = None


class JobEvent(BaseModel):
    """A change of a job, as its event stream tells it."""

    id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
    progress: float | None = Field(None, ge=0, le=1)
    stage: str | None = None
    error: str | None = None
