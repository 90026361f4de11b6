"""What the operator decides: address, key, limits. One environment variable each."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from stpe.serve.environment import Environment, Words
from stpe.video.limits import Limits

_MiB = 1 << 20


def _folders(value: object) -> object:
    if isinstance(value, str):
        return tuple(Path(part) for part in value.split(":") if part)
    return value


class Settings(Environment):
    """Settings of the server as a whole; an API with more of its own has its own `Environment`."""

    prefixes: ClassVar[tuple[str, ...]] = ("STPE_SERVE_",)

    host: str = Field(default="127.0.0.1", alias="STPE_SERVE_HOST")
    port: int = Field(default=8000, ge=0, le=65535, alias="STPE_SERVE_PORT")
    shared: Path | None = Field(
        default=None,
        alias="STPE_SERVE_SHARED",
        description="folder of what replicas share; set by --replicas",
    )
    request_s: float | None = Field(
        default=None,
        gt=0,
        alias="STPE_SERVE_REQUEST_SECONDS",
        description="after which a request that has no answer yet gets a 504",
    )
    api_key: SecretStr | None = Field(default=None, min_length=8, alias="STPE_API_KEY")
    cors_origins: Words = Field(default=(), alias="STPE_SERVE_CORS_ORIGINS")
    replicas: int = Field(
        default=1, ge=1, alias="STPE_SERVE_REPLICAS", description="set by --replicas"
    )
    profile: str = Field(default="auto", alias="STPE_SERVE_PROFILE")
    models: Words = Field(default=(), alias="STPE_SERVE_MODELS", description="role=id, with commas")

    media_roots: Annotated[tuple[Path, ...], BeforeValidator(_folders)] = Field(
        default=(),
        alias="STPE_SERVE_MEDIA_ROOTS",
        description="folders of `video_path`, with colons",
    )
    fetch_networks: Words = Field(
        default=(),
        alias="STPE_SERVE_FETCH_NETWORKS",
        description="private networks URLs may point to",
    )
    fetch_seconds: float = Field(default=120.0, gt=0, le=86400, alias="STPE_SERVE_FETCH_SECONDS")

    max_body_bytes: int = Field(default=256 * _MiB, ge=1024, alias="STPE_SERVE_MAX_BODY_BYTES")
    max_video_bytes: int = Field(default=4096 * _MiB, ge=1024, alias="STPE_SERVE_MAX_VIDEO_BYTES")
    max_pixels: int = Field(default=1 << 25, ge=1, alias="STPE_SERVE_MAX_PIXELS")
    max_frames: int = Field(default=108_000, ge=1, alias="STPE_SERVE_MAX_FRAMES")
    max_seconds: float = Field(default=3600.0, gt=0, alias="STPE_SERVE_MAX_SECONDS")

    decoder_bytes: int = Field(
        default=1024 * _MiB,
        ge=64 * _MiB,
        alias="STPE_SERVE_DECODER_BYTES",
        description="memory that the decoder of one video may take",
    )

    max_pending: int = Field(default=256, ge=1, alias="STPE_SERVE_MAX_PENDING")
    memory_bytes: int = Field(default=2048 * _MiB, ge=_MiB, alias="STPE_SERVE_MEMORY_BYTES")
    max_batch: int = Field(default=8, ge=1, le=256, alias="STPE_SERVE_MAX_BATCH")
    batch_wait_ms: float = Field(default=2.0, ge=0, le=1000, alias="STPE_SERVE_BATCH_WAIT_MS")
    model_wait_s: float = Field(default=60.0, ge=0, alias="STPE_SERVE_MODEL_WAIT_SECONDS")
    idle_body_s: float = Field(default=30.0, gt=0, alias="STPE_SERVE_IDLE_BODY_SECONDS")
    body_s: float = Field(
        default=120.0,
        gt=0,
        alias="STPE_SERVE_BODY_SECONDS",
        description="for a whole body, and a second more for every 64 KiB of it",
    )
    head_s: float = Field(default=10.0, gt=0, alias="STPE_SERVE_HEAD_SECONDS")
    max_connections: int = Field(default=512, ge=1, alias="STPE_SERVE_MAX_CONNECTIONS")
    max_address_connections: int = Field(
        default=128,
        ge=1,
        alias="STPE_SERVE_MAX_ADDRESS_CONNECTIONS",
        description="of one client address; raise it behind a proxy",
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.loopback and self.api_key is None:
            raise ValueError(
                f"{self.host} can be reached by others, so set STPE_API_KEY (8 characters or "
                "more), or bind to 127.0.0.1"
            )
        for network in self.fetch_networks:
            ipaddress.ip_network(network)
        for pair in self.models:
            role, separator, model = pair.partition("=")
            if not (role and separator and model):
                raise ValueError(f"STPE_SERVE_MODELS: {pair!r} is not role=id")
        return self

    @property
    def limits(self) -> Limits:
        """Limits for `open_source` on what clients send."""
        return Limits(
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_seconds=self.max_seconds,
            max_bytes=self.max_video_bytes,
            max_entries=self.max_frames * 2,
            isolated=True,
            decoder_bytes=self.decoder_bytes,
        )

    @property
    def overrides(self) -> dict[str, str]:
        """`models` as role to model id."""
        return dict(pair.split("=", 1) for pair in self.models)
