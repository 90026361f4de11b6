"""The command line: parses, calls, prints. What it promises is in docs/cli.md.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 some
inputs failed (the rest are whole), 130 interrupted (the same call resumes).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from stpe import __version__, console
from stpe.errors import StpeError, UsageError
from stpe.models.catalog import catalog

F = TypeVar("F", bound=Callable[..., Any])

_err = Console(stderr=True)
_out = Console()


@dataclasses.dataclass
class _Settings:
    """What holds for any command."""

    debug: bool = False
    json: bool = False


def main() -> None:
    """Entry point of `stpe`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Never raises; errors are one line on stderr."""
    settings = _Settings()
    try:
        code = cli.main(list(arguments), "stpe", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        return _failed(settings, "interrupted", 130)
    except StpeError as error:
        return _failed(settings, str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        what = " ".join(f"unexpected {type(error).__name__}: {error}".split())
        return _failed(settings, f"{what}; --debug shows where", 1)


def _failed(settings: _Settings, message: str, code: int) -> int:
    if settings.debug:
        traceback.print_exc()
    print(f"stpe: error: {message}", file=sys.stderr)
    if settings.json:
        _print_json({"error": message})
    return code


def _print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=1, default=_plain)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


# options -------------------------------------------------------------------------------


def _common(command: F) -> F:
    """`-v` and `--debug`, which every command takes."""

    def debug(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.obj.debug = context.obj.debug or value
        if value:
            logging.getLogger("stpe").setLevel(logging.DEBUG)

    def verbose(_: click.Context, __: click.Parameter, count: int) -> None:
        if count:
            level = logging.INFO if count == 1 else logging.DEBUG
            logging.getLogger("stpe").setLevel(level)

    command = click.option(
        "--debug", is_flag=True, expose_value=False, callback=debug, help="Show tracebacks."
    )(command)
    return click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=verbose, help="Log more."
    )(command)


def _json_option(command: F) -> F:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> bool:
        context.obj.json = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="One JSON document on stdout."
    )(command)


class _Fps(click.ParamType[Any]):
    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "native":
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor `native`", param, ctx)


class _Resolution(click.ParamType[Any]):
    name = "WxH or long side"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
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


def _split(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _overrides(pairs: Sequence[str]) -> dict[str, str]:
    chosen = {}
    for pair in pairs:
        role, found, model = pair.partition("=")
        if not (role and found and model):
            raise UsageError(f"--model {pair!r}: write role=id, such as flow=raft")
        chosen[role] = model
    return chosen


def _engine_options(command: F) -> F:
    for option in reversed(
        (
            click.option("--profile", default="auto", show_default=True, help="Choice of models."),
            click.option("--model", "models", multiple=True, metavar="ROLE=ID", help="Override."),
            click.option("--fps", type=_Fps(), default=2.0, show_default=True,
                         help="Analysed frames a second, or `native`."),
            click.option("--resolution", type=_Resolution(), default="854", show_default=True,
                         help="Size of analysed frames: 854x480, 854 (long side), or native."),
            click.option("--signals", metavar="A,B", help="Store only these signals or tables."),
            click.option("--without", metavar="A,B", help="Store all but these."),
            click.option("--concepts", metavar="A,B", help="Words for what to look for."),
            click.option("--context", default="", metavar="TEXT", help="Told to the captions."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _arguments(chosen: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Engine.process` and `Engine.plan` from the options above."""
    return {
        "fps": chosen["fps"],
        "resolution": chosen["resolution"],
        "signals": _split(chosen["signals"]),
        "without": _split(chosen["without"]) or (),
        "concepts": _split(chosen["concepts"]) or (),
        "context": chosen["context"],
    }


# commands ------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stpe")
def cli() -> None:
    """Raw video in, structured and measured training data out."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Dataset folder.")
@_engine_options
@click.option("--workers", type=int, help="Worker threads; by default one a core.")
@_json_option
@_common
def process(
    sources: tuple[str, ...], out: Path, workers: int | None, as_json: bool, **chosen: Any
) -> int:
    """Process sources into a dataset: files, folders of frames, ZIPs, http(s) or s3 URLs."""
    from stpe.engine import Engine

    watcher = console.watcher(_err)
    with Engine(chosen["profile"], _overrides(chosen["models"]), workers) as engine:
        try:
            result = engine.process(sources, out, progress=watcher, **_arguments(chosen))
        finally:
            watcher.close()
    if as_json:
        _print_json(result)
    console.summary(_err, result)
    for video in result.failed:
        print(f"stpe: error: {video.uri}: {video.error}", file=sys.stderr)
    if not result.failed:
        return 0
    return 1 if len(result.failed) == len(result.videos) else 3


@cli.command()
@click.argument("source")
@_engine_options
@_json_option
@_common
def plan(source: str, as_json: bool, **chosen: Any) -> None:
    """Show what `process` would run on SOURCE, and about what it would cost."""
    from stpe.engine import Engine
    from stpe.pipeline.estimate import describe
    from stpe.video.opening import open_source

    with (
        Engine(chosen["profile"], _overrides(chosen["models"])) as engine,
        open_source(source) as opened,
    ):
        document = describe(engine.plan(**_arguments(chosen)), opened.info)
        document["profile"] = engine.selection.profile
        document["profile_reason"] = engine.selection.reason
    if as_json:
        _print_json(document)
    else:
        console.plan_table(_out, document)


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--format", "format_", required=True, help="parquet, coco, mot, video, rerun, ...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File or folder.")
@_common
def export(dataset: Path, format_: str, out: Path) -> None:
    """Write a dataset in another format."""
    from stpe.dataset.export import export as write
    from stpe.dataset.reader import open_dataset

    print(write(open_dataset(dataset), format_, out), file=sys.stderr)


@cli.group()
def simulate() -> None:
    """Record video with perfect ground truth from a simulator."""


@simulate.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--seconds", type=float, default=20.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--scenario", default="deathmatch", show_default=True)
@_json_option
@_common
def doom(out: Path, seconds: float, seed: int, scenario: str, as_json: bool) -> None:
    """Record a seeded game episode, headless."""
    from stpe.simulate.doom import record

    recording = record(out, seconds, seed, scenario)
    if as_json:
        _print_json(recording)
    else:
        print(f"{recording.video}: {recording.frames} frames; truth in {recording.truth}")


@cli.group()
def models() -> None:
    """What models there are, and their weights on this machine."""


_profile = click.option("--profile", help="Only this profile's models; `auto` for the best here.")


@models.command("list")
@_profile
@_json_option
@_common
def list_(profile: str | None, as_json: bool) -> None:
    """List models: role, licence, size, and whether the weights are here."""
    from stpe.models.inventory import list_models

    rows = list_models(profile)
    if as_json:
        _print_json(rows)
    else:
        console.models_table(_out, rows)


@models.command()
@click.option("--profile", default="auto", show_default=True)
@_json_option
@_common
def pull(profile: str, as_json: bool) -> int:
    """Fetch a profile's weights; exit code 3 if some cannot be had."""
    from stpe.models import inventory

    selection = inventory.pull(profile)
    lost = {
        role: why
        for role, why in selection.missing.items()
        if role in catalog().profile(selection.profile).roles
    }
    if as_json:
        _print_json({"profile": selection.profile, "missing": lost,
                     "models": {r: m.id for r, m in selection.models.items()}})  # fmt: skip
    for role, model in selection.models.items():
        print(f"{role}: {model.id} is here", file=sys.stderr)
    for role, why in lost.items():
        print(f"stpe: error: {role}: {why}", file=sys.stderr)
    if not lost:
        return 0
    return 3 if selection.models else 1


@models.command()
@_profile
@_json_option
@_common
def verify(profile: str | None, as_json: bool) -> int:
    """Hash the weights on this machine again; exit code 1 if any is damaged."""
    from stpe.models import inventory

    rows = inventory.verify(profile)
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            print(f"{row.state:9} {row.model} {row.file}")
    return int(any(row.state == "damaged" for row in rows))
