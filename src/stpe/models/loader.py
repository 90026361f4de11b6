"""From a profile and overrides to models, and from a model to the object that plays its role."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stpe.errors import ModelError, UsageError
from stpe.models import hub
from stpe.models.catalog import (
    HubSource,
    LocalSource,
    Model,
    PackageSource,
    Source,
    UrlSource,
    WeightFile,
    catalog,
)
from stpe.models.content import content_of
from stpe.models.machine import best, gpu, why_not
from stpe.models.memory.planner import whole_or_closed
from stpe.models.packages import Progress, silent
from stpe.models.roles import ROLES
from stpe.models.weights import fetch

_PARALLEL_DOWNLOADS = 3


@dataclass(frozen=True)
class Selection:
    """Which model plays each role.

    Attributes:
        profile: name of the profile taken.
        reason: why this one.
        models: role to model, for the roles that can be played here.
        missing: role to why no model plays it. Every role is in one of the two.
        named: roles whose model the user chose.
        asked: whether the user named the profile.
        falls: what runs elsewhere or as another model than the profile has it; a line each.
    """

    profile: str
    reason: str
    models: Mapping[str, Model]
    missing: Mapping[str, str]
    named: frozenset[str] = field(default_factory=frozenset)
    asked: bool = False
    falls: tuple[str, ...] = ()


def resolve(profile: str = "auto", overrides: Mapping[str, str] | None = None) -> Selection:
    """Choose a model a role. Looks at this machine; asks no network and loads nothing.

    Args:
        profile: a profile of the catalog, or "auto" for the best one whose device and weights
            are here.
        overrides: role to a model id, to "none", to a path of local weights for the profile's
            model of that role (a file, or a folder holding the files the model names), or for the
            captioner to the address of an OpenAI-compatible endpoint.

    Raises:
        UsageError: an unknown profile, role, model or path.
        ModelError: a model that was named cannot run here.
    """
    overrides = overrides or {}
    for role in overrides:
        if role not in ROLES:
            raise UsageError(f"no role is called {role!r}; there are {', '.join(ROLES)}")
    name, reason = best(gpu(), overrides) if profile == "auto" else (profile, "it was asked for")
    taken = catalog().profile(name)
    chosen = taken.roles
    falls: list[str] = []
    if taken.device != "cpu" and isinstance(device := gpu(), str):
        falls.append(f"{name} is made for a GPU; its models run on the CPU, as {device}")

    models: dict[str, Model] = {}
    missing: dict[str, str] = {}
    for role in ROLES:
        override = overrides.get(role)
        if override == "none":
            missing[role] = "it was turned off by the request"
            continue
        if override is None and role not in chosen:
            missing[role] = f"the {name} profile has no model for it"
            continue
        model = _named(role, override, chosen) if override else catalog().model(chosen[role])
        obstacle = why_not(model)
        if obstacle is not None and override is None and role in taken.instead:
            falls.append(f"{role} is {taken.instead[role]}, as for {model.id} {obstacle}")
            model = catalog().model(taken.instead[role])
            obstacle = why_not(model)
        if obstacle is None:
            models[role] = _pinned(model)
        elif override:
            raise ModelError(f"{model.id} cannot be used: {obstacle}")
        else:
            missing[role] = f"{model.id}: {obstacle}"
    for role, model in list(models.items()):
        absent = [part for part in model.parts if part not in models]
        if absent:
            del models[role]
            missing[role] = f"{model.id} is made of {', '.join(model.parts)}: no {absent[0]}"
    return Selection(
        name,
        "; ".join([reason, *falls]),
        models,
        missing,
        frozenset(overrides),
        profile != "auto",
        tuple(falls),
    )


def prepare(selection: Selection, progress: Progress = silent) -> Selection:
    """Fetch the weights of every chosen model, several at once.

    Returns:
        The selection with those models moved to `missing` whose weights cannot be had, and hub
        models known by the commit that is here.

    Raises:
        ModelError: the weights of a model that the user named cannot be had.
    """

    def attempt(model: Model) -> str | None:
        try:
            fetch(model, progress)
        except ModelError as error:
            return str(error)
        return None

    roles = list(selection.models)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        errors = dict(zip(roles, pool.map(attempt, selection.models.values()), strict=True))
    failed = {role: error for role, error in errors.items() if error is not None}
    for role, error in failed.items():
        if role in selection.named:
            raise ModelError(error)
    for role, model in selection.models.items():
        for part in model.parts:
            if part in failed:
                failed.setdefault(role, f"{model.id} is made of {part}: {failed[part]}")
    return replace(
        selection,
        models={r: _pinned(model) for r, model in selection.models.items() if r not in failed},
        missing={**selection.missing, **failed},
    )


def refuse_gaps(selection: Selection, roles: Iterable[str]) -> None:
    """Refuse a GPU profile that the user named where it lacks models that a run needs.

    Args:
        selection: of `resolve` or `prepare`.
        roles: that the run would use.

    Raises:
        ModelError: names each role that is missing, why, and how to go on.
    """
    taken = catalog().profile(selection.profile)
    if not selection.asked or taken.device == "cpu":
        return
    gaps = (set(roles) & set(taken.roles) & set(selection.missing)) - selection.named
    if not gaps:
        return
    why: dict[str, list[str]] = {}  # a reason that several roles share is said once
    for role in sorted(gaps):
        model, colon, reason = selection.missing[role].partition(": ")
        why.setdefault(reason if colon else model, []).append(role)
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in why.items())
    raise ModelError(
        f"profile {selection.profile} lacks models that this run needs: {told}. "
        f"Get them, or leave roles out with --model role=none, or take --profile auto"
    )


def load(
    model: Model, progress: Progress = silent, part: Callable[[str], Any] | None = None
) -> Any:
    """The object that plays the model's role, its weights fetched where they are not cached.

    Args:
        model: of a selection.
        progress: told of downloads.
        part: the loaded model of a role, for models that are made of others.

    Raises:
        ModelError: the weights cannot be had or read, or the backend cannot run here.
    """
    obstacle = why_not(model)
    if obstacle is not None:
        raise ModelError(f"{model.id} cannot be used: {obstacle}")
    files = fetch(model, progress)
    backend = importlib.import_module(f"stpe.models.backends.{model.backend}.{model.module}")
    if model.parts and part is None:
        raise ModelError(f"{model.id} is made of other models; load it with an Engine")
    try:
        if part is not None and model.parts:
            return backend.compose({role: part(role) for role in model.parts}, model.options)
        with whole_or_closed():
            return backend.load(files, model.options)
    except (LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{model.id}: its files are not what this backend reads ({what}); "
            "`stpe models verify` checks those of the catalog"
        ) from error


def _pinned(model: Model) -> Model:
    """The model with the commit of its hub repository that is here, which results depend on."""
    files = [
        file.model_copy(
            update={
                "sources": [hub.pinned(s) if isinstance(s, HubSource) else s for s in file.sources]
            }
        )
        for file in model.files
    ]
    return model.model_copy(update={"files": files}) if files != model.files else model


def _named(role: str, value: str, chosen: Mapping[str, str]) -> Model:
    known = catalog()
    if value in known.models:
        model = known.model(value)
        if model.role != role:
            raise UsageError(f"{value} is a {model.role}, not a {role}")
        return model
    if value.startswith(("http://", "https://")):
        if role != "captioner":
            raise UsageError(f"{value}: only a captioner can be an address, not a {role}")
        remote = known.model("openai-chat")
        options = {**remote.options, "url": value}
        return remote.model_copy(update={"id": f"openai-chat:{value}", "options": options})
    path = Path(value).expanduser()
    if not path.exists():
        if "/" in value:
            raise UsageError(f"{value} does not exist; --model {role}= takes an id or a path")
        ids = ", ".join(m.id for m in known.of_role(role)) or "none"
        raise UsageError(f"no {role} model is called {value!r}; there are {ids}")
    base = chosen.get(role) or next((m.id for m in known.of_role(role)), None)
    if base is None:
        raise UsageError(f"the catalog has no {role} model to run {value} with")
    return _with_local(known.model(base), path.resolve())


def _with_local(model: Model, path: Path) -> Model:
    """The model with its weights taken from `path`."""
    if not model.files:
        raise UsageError(f"{model.id} has no weights to replace with {path}")
    files = []
    for number, file in enumerate(model.files):
        names = [file.name, *(published for s in file.sources if (published := _name(s)))]
        if any(isinstance(s, HubSource) and s.file is None for s in file.sources):
            found: Path | None = path
        elif path.is_dir():
            found = next((path / n for n in names if (path / n).is_file()), None)
            if found is None:
                raise UsageError(f"{path} has no {' or '.join(names)}, which {model.id} needs")
        else:
            found = path if number == 0 else None  # the catalog's own small files go with it
        files.append(file if found is None else _local(file, found))
    return model.model_copy(update={"id": f"{model.id}:{path.name}", "files": files})


def _name(source: Source) -> str | None:
    """What the source calls its file."""
    if isinstance(source, PackageSource):
        return Path(source.member).name
    if isinstance(source, UrlSource):
        return source.url.rsplit("/", 1)[-1]
    return source.file if isinstance(source, HubSource) else None


def _local(file: WeightFile, path: Path) -> WeightFile:
    return file.model_copy(
        update={
            "sources": [LocalSource(path=str(path))],
            "sha256": content_of(path),
            "size_mb": sum(p.stat().st_size for p in (path, *path.rglob("*"))) / 1e6,
        }
    )
