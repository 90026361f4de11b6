"""What `stpe models list`, `pull` and `verify` do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stpe.errors import ModelError
from stpe.models import hub
from stpe.models.catalog import HubSource, Model, WeightFile, catalog
from stpe.models.content import sha256_of, stated_hash
from stpe.models.loader import Selection, resolve
from stpe.models.weights import cached


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, as `stpe models list` shows it.

    Attributes:
        id, role, summary, dimension: as in the catalog.
        licence: of the weights, "(believed)" where it is not stated with the file.
        wrapper_licence: of the package that carries them; None where it states none.
        copyleft: whether the weights' licence is copyleft.
        size_mb: of the weights.
        cached: whether they are all on this machine.
        sources: where they come from.
    """

    id: str
    role: str
    summary: str
    dimension: int | None
    licence: str
    wrapper_licence: str | None
    copyleft: bool
    size_mb: float
    cached: bool
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyRow:
    """One file, as `stpe models verify` shows it; `state` is ok, damaged, missing or unpinned."""

    model: str
    file: str
    state: str
    path: str | None


def list_models(profile: str | None = None) -> list[ModelRow]:
    """Models of a profile ("auto" resolves it first), or of the whole catalog for None."""
    return [
        ModelRow(
            id=model.id,
            role=model.role,
            summary=model.summary,
            dimension=model.dimension,
            licence=str(model.licence),
            wrapper_licence=model.licence.wrapper,
            copyleft=model.licence.copyleft,
            size_mb=model.size_mb,
            cached=all(cached(file) is not None for file in model.files),
            sources=tuple(dict.fromkeys(str(file.sources[0]) for file in model.files)),
        )
        for model in _models(profile)
    ]


@dataclass(frozen=True, slots=True)
class Download:
    """What `stpe models pull` is about to do for one model.

    Attributes:
        role, model, licence: as in the catalog.
        bytes: still to be downloaded, as the hub says; as the catalog says where it cannot be
            asked; 0 where everything is here.
    """

    role: str
    model: str
    licence: str
    bytes: int


def wanted(profile: str = "auto", overrides: Mapping[str, str] | None = None) -> Selection:
    """What `stpe models pull` is to fetch: a profile's models, or only those that are named.

    Raises:
        UsageError, ModelError: as `loader.resolve`.
    """
    selection = resolve(profile, overrides)
    roles = set(overrides or catalog().profile(selection.profile).roles)
    return replace(
        selection,
        models={role: model for role, model in selection.models.items() if role in roles},
        missing={role: why for role, why in selection.missing.items() if role in roles},
    )


def downloads(selection: Selection) -> list[Download]:
    """What is still to be downloaded for the models of a selection; asks the hub."""
    return [
        Download(role, model.id, str(model.licence), sum(_missing(f) for f in model.files))
        for role, model in selection.models.items()
    ]


def _missing(file: WeightFile) -> int:
    if cached(file) is not None:
        return 0
    source = file.sources[0]
    if isinstance(source, HubSource) and not hub.offline():
        with contextlib.suppress(ModelError):  # the download itself will say why
            return hub.size(source)
    return round(file.size_mb * 1e6)


def verify(profile: str | None = None) -> list[VerifyRow]:
    """Hash the cached files of a profile, or of the whole catalog for None, again."""
    return [
        VerifyRow(model.id, file.name, _state(file, path), str(path) if path else None)
        for model in _models(profile)
        for file, path in ((f, cached(f)) for f in model.files)
    ]


def _state(file: WeightFile, path: Path | None) -> str:
    if path is None:
        return "missing"
    if file.sha256 is not None:
        pairs = [(path, file.sha256)]
    else:
        parts = path.rglob("*") if path.is_dir() else [path]
        pairs = [(p, known) for p in parts if (known := stated_hash(p)) is not None]
    if not pairs:
        return "unpinned"
    return "ok" if all(sha256_of(p) == known for p, known in pairs) else "damaged"


def _models(profile: str | None) -> list[Model]:
    known = catalog()
    if profile is None:
        return list(known.models.values())
    name = resolve().profile if profile == "auto" else profile
    return [known.model(model_id) for model_id in known.profile(name).roles.values()]
