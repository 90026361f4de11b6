"""Settings of the video sessions API. One environment variable each."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from stpe.serve.environment import Environment

_MiB = 1 << 20


_WHICHEVER = ("all", "any", "auto", "none", "cpu")


def _numbers(value: object) -> object:
    """GPU ids from `0,1`, `[0, 1]`, `cuda:0 cuda:1`; none named is whichever there are."""
    if not isinstance(value, str):
        return value
    words = [word for word in re.split(r"[\s,;\[\]]+", value.lower()) if word]
    return tuple(re.sub(r"^(cuda|gpu):?", "", w) for w in words if w not in _WHICHEVER)


class VideoSettings(Environment):
    """Whether there is a video model, and how many sessions may live how long."""

    shared_prefixes: ClassVar[tuple[str, ...]] = ("VIDEO_MODEL_", "VIDEO_SESSION_")

    enabled: bool = Field(default=True, alias="VIDEO_MODEL_ENABLED")
    required: bool = Field(
        default=False,
        alias="VIDEO_MODEL_REQUIRED",
        description="the server does not start without the model",
    )
    gpus: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = Field(
        default=(), alias="VIDEO_MODEL_GPUS", description="ids clients may ask for, with commas"
    )
    max_sessions: int = Field(default=10, ge=1, le=1000, alias="MAX_CONCURRENT_SESSIONS")
    timeout_s: float = Field(default=3600.0, gt=0, alias="SESSION_TIMEOUT_SECONDS")
    cleanup_s: float = Field(default=300.0, gt=0, alias="SESSION_CLEANUP_INTERVAL_SECONDS")
    frame_bytes: int = Field(
        default=64 * _MiB,
        ge=_MiB,
        alias="VIDEO_SESSION_FRAME_BYTES",
        description="decoded frames a session holds; the rest is decoded again",
    )
    upload_bytes: int = Field(
        default=16384 * _MiB,
        ge=_MiB,
        alias="VIDEO_SESSION_UPLOAD_BYTES",
        description="of all uploads on disk together",
    )
