"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from stpe import strict_json
from stpe.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass
class Settings:
    """What holds for any command."""

    debug: bool = False
    json: bool = False


def common(command: F) -> F:
    """`-v`, `--debug` and `--log-file`, which every command takes."""

    def debug(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.obj.debug = context.obj.debug or value
        if value:
            logging.getLogger("stpe").setLevel(logging.DEBUG)

    def verbose(_: click.Context, __: click.Parameter, count: int) -> None:
        if count:
            level = logging.INFO if count == 1 else logging.DEBUG
            logging.getLogger("stpe").setLevel(level)

    def log_file(_: click.Context, __: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        try:
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--log-file {path}: {error.strerror}") from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(logging.DEBUG)
        logger = logging.getLogger("stpe")
        logger.addHandler(handler)
        # The file has everything; what the terminal shows stays what -v says.
        shown = logger.getEffectiveLevel()
        for other in logging.getLogger().handlers:
            other.setLevel(shown)
        logger.setLevel(logging.DEBUG)

    command = click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=log_file,
        help="Log everything to this file too.",
    )(command)
    command = click.option(
        "--debug", is_flag=True, expose_value=False, callback=debug, help="Show tracebacks."
    )(command)
    return click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=verbose, help="Log more."
    )(command)


def json_option(command: F) -> F:
    """`--json`."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> bool:
        context.obj.json = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="One JSON document on stdout."
    )(command)


class Fps(click.ParamType[Any]):
    """A rate, or `native`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A float, or the word."""
        if value == "native":
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor `native`", param, ctx)


class Resolution(click.ParamType[Any]):
    """`854x480`, `854` for the long side, or `native`."""

    name = "WxH or long side"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """(width, height), a long side, or None."""
        if value == "native":
            return None
        try:
            sides = [int(side) for side in str(value).lower().split("x")]
        except ValueError:
            sides = []
        if len(sides) == 1:
            return sides[0]
        if len(sides) == 2:
            return sides[0], sides[1]
        self.fail(f"{value!r} is no size: give 854x480, 854 for the long side, or native", param)


def split(value: str | None) -> tuple[str, ...] | None:
    """Words between commas."""
    if value is None:
        return None
    return tuple(part.strip() for part in value.split(",") if part.strip())


def overrides(pairs: Sequence[str]) -> dict[str, str]:
    """Role to model from `role=id` pairs."""
    chosen = {}
    for pair in pairs:
        role, found, model = pair.partition("=")
        if not (role and found and model):
            raise UsageError(f"--model {pair!r}: write role=id, such as flow=raft")
        chosen[role] = model
    return chosen


def engine_options(command: F) -> F:
    """What `process` and `plan` ask for."""
    for option in reversed(
        (
            click.option("--profile", default="auto", show_default=True, help="Choice of models."),
            click.option("--model", "models", multiple=True, metavar="ROLE=ID", help="Override."),
            click.option("--device", metavar="D",
                         help="Run torch models on it: cpu, cuda, cuda:1. By default every GPU."),
            click.option("--fps", type=Fps(), default=2.0, show_default=True,
                         help="Analysed frames a second, or `native`."),
            click.option("--resolution", type=Resolution(), default="854", show_default=True,
                         help="Size of analysed frames: 854x480, 854 (long side), or native."),
            click.option("--signals", metavar="A,B",
                         help="Store only these signals or tables; captions only if named."),
            click.option("--without", metavar="A,B", help="Store all but these."),
            click.option("--concepts", metavar="A,B",
                         help="What to look for: words, or lists of them: @general, @game."),
            click.option("--context", default="", metavar="TEXT", help="Told to the captions."),
            click.option("--camera", multiple=True, metavar="[SOURCE=]FILE",
                         help="Intrinsics, poses, depth: JSON, RealEstate10K, TUM, 7-Scenes. Of "
                         "several sources as --state."),
            click.option("--state", multiple=True, metavar="[SOURCE=]LOG",
                         help="Log of the game or robot: JSON, JSONL, CSV, Parquet, MCAP. Of "
                         "several sources: once for each in their order, or SOURCE=LOG."),
            click.option("--pooling", metavar="FILE",
                         help="Module of `stpe train --weights`; else parameter-free pooling."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def arguments(chosen: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Engine.process` and `Engine.plan` from the options above, but for
    `camera` and `state`, which are of a source."""
    return {
        "fps": chosen["fps"],
        "resolution": chosen["resolution"],
        "signals": split(chosen["signals"]),
        "without": split(chosen["without"]) or (),
        "concepts": split(chosen["concepts"]) or (),
        "context": chosen["context"],
        "pooling": chosen["pooling"],
    }


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(strict_json.dumps(document, indent=1, default=_plain))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
