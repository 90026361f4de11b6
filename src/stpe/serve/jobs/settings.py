"""Settings of the jobs API. One environment variable each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import platformdirs
from pydantic import Field, model_validator

from stpe.serve.environment import Environment, replicas


def _home() -> Path:
    return platformdirs.user_data_path("stpe", appauthor=False)


class JobSettings(Environment):
    """Where jobs are kept and how many may wait."""

    prefixes: ClassVar[tuple[str, ...]] = ("STPE_JOBS_",)

    url: str = Field(
        default_factory=lambda: f"sqlite:///{_home() / 'jobs.sqlite3'}",
        alias="STPE_JOBS_URL",
        description="sqlite:///PATH, or postgresql://...",
    )
    dataset: Path = Field(
        default_factory=lambda: _home() / "dataset",
        alias="STPE_JOBS_DATASET",
        description="folder of the dataset that videos are processed into",
    )
    max_queued: int = Field(64, ge=1, alias="STPE_JOBS_MAX_QUEUED")
    max_queued_bytes: int = Field(4 << 30, ge=1024, alias="STPE_JOBS_MAX_QUEUED_BYTES")
    parallel: int = Field(
        default_factory=lambda: replicas(),
        ge=1,
        le=256,
        alias="STPE_JOBS_PARALLEL",
        description="videos processed at a time, over all servers of one database; by default one "
        "a replica",
    )
    keep_days: float = Field(7.0, gt=0, alias="STPE_JOBS_KEEP_DAYS", description="of ended jobs")

    @property
    def uploads(self) -> Path:
        """Folder of uploads: beside the dataset, so that whoever shares that shares these."""
        return self.dataset.with_name(f"{self.dataset.name}.uploads")

    @property
    def staging(self) -> Path:
        """Folder of what jobs that run beside others have made so far, one folder a job."""
        return self.dataset.with_name(f"{self.dataset.name}.staging")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.url.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("STPE_JOBS_URL: give sqlite:///PATH or postgresql://...")
        return self
