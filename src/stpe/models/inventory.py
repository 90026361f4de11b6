"""What `stpe models list`, `pull` and `verify` do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stpe.models.catalog import Model, catalog
from stpe.models.loader import Selection, prepare, resolve
from stpe.models.packages import Progress, silent
from stpe.models.weights import cached, sha256_of


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


def pull(
    profile: str = "auto",
    overrides: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Selection:
    """Fetch a profile's weights. `.missing` of the result says what cannot be had, and why.

    Raises:
        UsageError, ModelError: as `loader.resolve` and `loader.prepare`.
    """
    return prepare(resolve(profile, overrides), progress)


def verify(profile: str | None = None) -> list[VerifyRow]:
    """Hash the cached files of a profile, or of the whole catalog for None, again."""
    rows = []
    for model in _models(profile):
        for file in model.files:
            path = cached(file)
            if path is None:
                state = "missing"
            elif file.sha256 is None:
                state = "unpinned"
            else:
                state = "ok" if sha256_of(path) == file.sha256 else "damaged"
            rows.append(VerifyRow(model.id, file.name, state, str(path) if path else None))
    return rows


def _models(profile: str | None) -> list[Model]:
    known = catalog()
    if profile is None:
        return list(known.models.values())
    name = resolve().profile if profile == "auto" else profile
    return [known.model(model_id) for model_id in known.profile(name).roles.values()]
