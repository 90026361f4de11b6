"""The command line: parses, calls, prints. What it promises is in docs/cli.md.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 some
inputs failed (the rest are whole), 130 interrupted, 143 ended by SIGTERM (the same call resumes).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from stpe import __version__, console
from stpe.errors import InterruptedRunError, MissingExtraError, StpeError
from stpe.keep import ls, prune, remove
from stpe.options import (
    Settings,
    arguments,
    common,
    engine_options,
    json_option,
    overrides,
    print_json,
)

_err = Console(stderr=True)
_out = console.out()


#: Signals that asked this process to end.
_ended_by: list[int] = []


def _end_tidily() -> None:
    """Have SIGTERM and SIGHUP do what Ctrl-C does; a server has its own way."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        _ended_by.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def main() -> None:
    """Entry point of `stpe`."""
    if sys.argv[1:2] != ["serve"]:
        _end_tidily()
    code = run(sys.argv[1:])
    if code == InterruptedRunError.exit_code:
        code = 128 + _ended_by[0] if _ended_by else code
        # A worker may still be inside a model call, which an orderly exit would wait for or crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Never raises; errors are one line on stderr."""
    settings = Settings()
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


def _failed(settings: Settings, message: str, code: int) -> int:
    if settings.debug:
        traceback.print_exc()
    print(f"stpe: error: {message}", file=sys.stderr)
    if settings.json:
        print_json({"error": message})
    return code


def _use(device: str | None) -> None:
    if device is not None:
        from stpe.models.devices import use_only

        use_only(device)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stpe")
def cli() -> None:
    """Raw video in, structured and measured training data out."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Dataset folder.")
@engine_options
@click.option(
    "--engine",
    "executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="`local`: this machine, a process a GPU where there are "
    "several. `ray`: the cluster that RAY_ADDRESS names.",
)
@click.option("--workers", type=int, help="Worker threads a process; by default one a core.")
@click.option("--replace", is_flag=True, help="Let the call renew or drop what OUT holds.")
@json_option
@common
def process(
    sources: tuple[str, ...],
    out: Path,
    executor: Any,
    workers: int | None,
    replace: bool,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Process sources into a dataset: files, folders of frames, ZIPs, http(s) or s3 URLs.

    A folder of videos, a folder of folders of frames, a LeRobot dataset and a quoted pattern
    ('clips/*.mp4', 'clips/**/*.mp4') are many sources; what was found is said. A call adds what it
    makes to what OUT holds of a source.
    """
    from stpe.engine import Engine
    from stpe.pipeline.pairing import files_of
    from stpe.video.expansion import expand

    found = expand(sources)
    for line in found.notes:
        print(line, file=sys.stderr)
    states, cameras = files_of(found, chosen["state"], chosen["camera"])
    _use(chosen["device"])
    watcher = console.watcher(_err)
    with Engine(chosen["profile"], overrides(chosen["models"]), workers, executor) as engine:
        try:
            result = engine.process(
                found.uris,
                out,
                progress=watcher,
                replace=replace,
                state=states,
                camera=cameras,
                **arguments(chosen),
            )
        finally:
            watcher.close()
    if as_json:
        print_json(result)
    console.summary(_err, result)
    if any(states):
        from stpe.certificates import certificates

        for line in certificates(out, result):
            print(line, file=sys.stderr)
    if any(cameras):
        from stpe.certificates import camera_warnings

        for line in camera_warnings(out, result):
            print(line, file=sys.stderr)
    if not result.failed:
        return 0
    return 1 if len(result.failed) == len(result.videos) else 3


@cli.command()
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A dataset: also say what the call would keep, add, renew and drop there.",
)
@engine_options
@json_option
@common
def plan(source: str, out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Show what `process` would run on SOURCE, and about what it would cost.

    Where SOURCE names several (a folder of videos, a pattern), the plan is of the first.
    """
    from stpe.engine import Engine
    from stpe.pipeline.estimate import describe
    from stpe.pipeline.holding import foreseen
    from stpe.pipeline.pairing import files_of
    from stpe.video.expansion import expand
    from stpe.video.opening import open_source

    _use(chosen["device"])
    found = expand([source])
    for line in found.notes:
        print(line, file=sys.stderr)
    states, cameras = files_of(found, chosen["state"], chosen["camera"])
    with (
        Engine(chosen["profile"], overrides(chosen["models"])) as engine,
        open_source(found.uris[0]) as opened,
    ):
        for line in engine.selection.falls:
            print(f"profile {line}", file=sys.stderr)
        planned = engine.plan(**arguments(chosen), state=states[0], camera=cameras[0] or "")
        document = describe(planned, opened.info)
        if out is not None:
            document["change"] = foreseen(out, opened.info.sha256, planned).document()
        document["profile"] = engine.selection.profile
        document["profile_reason"] = engine.selection.reason
    if as_json:
        print_json(document)
    else:
        console.plan_table(_out, document)


@cli.command()
@click.argument("video")
@click.argument("log")
@click.option("--profile", default="auto", show_default=True)
@json_option
@common
def align(video: str, log: str, profile: str, as_json: bool) -> int:
    """Match a state log to a video.

    Exit code 0: aligned, and something in the video confirms it. 3: unverified, the log fits the
    video's length and names, and nothing in the video can confirm or contradict it. 1: unaligned,
    or an error, which alone is said on stderr as `stpe: error:`.
    """
    from stpe.certificates import measure, told

    watcher = console.watcher(_err)
    try:
        document = measure(video, log, profile, watcher)
    finally:
        watcher.close()
    if as_json:
        print_json(document)
    else:
        print(told(document))
    return {"aligned": 0, "unverified": 3}.get(document["verdict"], 1)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default="demo", show_default=True)
@click.option("--video", help="Process this file instead of recording a game episode.")
@click.option("--seconds", type=float, default=20.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--profile", default="auto", show_default=True)
@json_option
@common
def demo(
    out: Path, video: str | None, seconds: float, seed: int, profile: str, as_json: bool
) -> None:
    """Record a game episode, process it, show what came out, and score it."""
    from stpe import demo as show

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    watcher = console.watcher(_err)
    try:
        report = show.run(out, video, seconds, seed, profile, progress=watcher, say=say)
    finally:
        watcher.close()
    console.summary(_err, report.result)
    if as_json:
        print_json(report)
    else:
        print("\n".join(report.lines()))


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@json_option
@common
def inspect(dataset: Path, as_json: bool) -> int:
    """Say what is inside a dataset; exit code 1 if it is not sound."""
    from stpe.dataset import inspect as look
    from stpe.dataset.reader import open_dataset
    from stpe.dataset.report import report

    inspection = look.inspect(open_dataset(dataset))
    if as_json:
        print_json(inspection)
    else:
        console.out(width=120).print(report(inspection))
    return int(bool(inspection.problems))


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("query", required=False)
@click.option("--image", type=click.Path(path_type=Path), help="Look for what looks like this.")
@click.option("--limit", type=int, default=10, show_default=True)
@click.option("--profile", default="auto", show_default=True)
@json_option
@common
def search(
    dataset: Path, query: str | None, image: Path | None, limit: int, profile: str, as_json: bool
) -> None:
    """Find moments by text or by image."""
    from stpe.dataset.reader import open_dataset
    from stpe.models import loader
    from stpe.models.loaded import Loaded
    from stpe.search import phrase_file
    from stpe.search import search as find

    opened = open_dataset(dataset)
    role = "text_embedder" if image is None else "image_embedder"
    # The model that made the dataset's embeddings, whatever the profile would choose today.
    used = opened.arrow("artifacts", columns=["models"])["models"].to_pylist()
    made_by = {m["role"]: m["model"] for models in used for m in models or ()}
    chosen = {role: made_by[role]} if role in made_by else {}
    with closing(Loaded(loader.resolve(profile, chosen))) as loaded:
        model = loaded.selection.models.get(role)
        roles = {role: loaded.role(role)} if model else {}
        kept = phrase_file(opened, model) if model and image is None else None
        hits = find(opened, query, image=image, roles=roles, kept=kept, limit=limit)
    if as_json:
        print_json(hits)
        return
    for hit in hits:
        print(f"{hit.video_id} {hit.pts:9.3f} s  {hit.score:.3f}  {hit.caption or hit.because}")


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--format", "format_", required=True, help="parquet, coco, mot, video, rerun, ...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File or folder.")
@click.option("--video", "videos", multiple=True, metavar="ID", help="Only this video; may repeat.")
@click.option("--since", "since_s", type=float, metavar="S", help="Only from this time on.")
@click.option("--until", "until_s", type=float, metavar="S", help="Only before this time.")
@click.option(
    "--fps", type=float, metavar="F", help="At most so many frames a second; by default all."
)
@click.option("--labels", metavar="a,b", help="For mot: only tracks with one of these labels.")
@click.option("--shard-mb", type=float, metavar="MB", help="For webdataset: size of a shard; 32.")
@click.option("--local-paths", is_flag=True, help="For parquet: `uri` with the folders in it.")
@common
def export(
    dataset: Path, format_: str, out: Path, videos: tuple[str, ...], since_s: float | None,
    until_s: float | None, fps: float | None, labels: str | None, shard_mb: float | None,
    local_paths: bool,
) -> None:  # fmt: skip
    """Write a dataset in another format.

    Times are in seconds on the video's own clock, as `pts` in the tables. `parquet` takes neither
    times nor --fps, `sheet` no --fps. `video` has every frame of the source, the other formats the
    analysed ones.
    """
    from stpe.dataset.export import export as write
    from stpe.dataset.reader import open_dataset

    options: dict[str, Any] = {
        "videos": videos, "since_s": since_s, "until_s": until_s, "fps": fps
    }  # fmt: skip
    if labels is not None:
        options["labels"] = [label.strip() for label in labels.split(",") if label.strip()]
    if shard_mb is not None:
        options["shard_mb"] = shard_mb
    if local_paths:
        options["local_paths"] = True
    print(write(open_dataset(dataset), format_, out, **options), file=sys.stderr)


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("other", required=False, type=click.Path(path_type=Path))
@click.option("--truth", help="Ground truth: a recording, MOT, masks, .flo, depth, poses, cuts.")
@click.option(
    "--truth-format", metavar="F", help="Of --truth, where its names leave it open: mot, ..."
)
@click.option("--video", help="Which video, where a dataset has several.")
@json_option
@common
def evaluate(
    dataset: Path,
    other: Path | None,
    truth: str | None,
    truth_format: str | None,
    video: str | None,
    as_json: bool,
) -> int:
    """Score a dataset against ground truth, or compare OTHER with DATASET.

    To compare, each is a dataset or the JSON of a scorecard; exit code 1 if OTHER is worse at
    anything by more than chance, or no longer has it.
    """
    from stpe.errors import UsageError
    from stpe.evaluate import report, run

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    if other is not None:
        found = run.compare_paths(dataset, other, truth, video, say, truth_format)
        if as_json:
            print_json(found)
        else:
            print("\n".join(report.comparison_lines(found)))
        return int(found.worse)
    if truth is None:
        raise UsageError("give --truth PATH, or a second dataset to compare with")
    done = run.evaluate_dataset(dataset, truth, video, say, truth_format)
    if as_json:
        print_json(done.document())
    else:
        print("\n".join([*report.card_lines(done.card), f"page: {done.page}"]))
    return 0


@cli.group()
def simulate() -> None:
    """Record video with perfect ground truth from a simulator."""


@simulate.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--seconds", type=float, default=20.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--scenario", default="deathmatch", show_default=True)
@click.option("--resolution", metavar="WxH", default="640x480", show_default=True)
@click.option(
    "--policy", type=click.Choice(["scripted", "random"]), default="scripted", show_default=True
)
@json_option
@common
def doom(
    out: Path,
    seconds: float,
    seed: int,
    scenario: str,
    resolution: str,
    policy: str,
    as_json: bool,
) -> None:
    """Record a seeded game episode, headless."""
    from stpe.simulate.doom import record
    from stpe.simulate.episode import size

    _recorded(record(out, seconds, seed, scenario, size(resolution), policy), as_json)


@simulate.command("physics")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--seconds", type=float, default=10.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Also chooses the camera.")
@click.option(
    "--scenario",
    metavar="NAME",
    default="colliding",
    show_default=True,
    help="rolling, falling, colliding, walkers, or hand.",
)
@click.option("--resolution", metavar="WxH", default="640x480", show_default=True)
@json_option
@common
def physics(
    out: Path, seconds: float, seed: int, scenario: str, resolution: str, as_json: bool
) -> None:
    """Record a seeded scene of simulated bodies, headless."""
    from stpe.simulate.episode import size
    from stpe.simulate.physics import record

    _recorded(record(out, seconds, seed, scenario, size(resolution)), as_json)


def _recorded(recording: Any, as_json: bool) -> None:
    if as_json:
        print_json(recording)
    else:
        print(f"{recording.video}: {recording.frames} frames; truth in {recording.truth}")


@cli.group()
def models() -> None:
    """What models there are, and their weights on this machine."""


_profile = click.option("--profile", help="Only this profile's models; `auto` for the best here.")


@models.command("list")
@_profile
@json_option
@common
def list_(profile: str | None, as_json: bool) -> None:
    """List models: role, licence, size, and whether the weights are here."""
    from stpe.models.inventory import list_models

    rows = list_models(profile)
    if profile is not None:
        from stpe.models.loader import resolve

        for line in resolve(profile).falls:
            print(f"profile {line}", file=sys.stderr)
    if as_json:
        print_json(rows)
    else:
        console.models_table(_out, rows)


@models.command()
@click.option("--profile", default="auto", show_default=True)
@click.option("--model", "models_", multiple=True, metavar="ROLE=ID", help="Only these models.")
@json_option
@common
def pull(profile: str, models_: tuple[str, ...], as_json: bool) -> int:
    """Fetch weights; exit code 3 if some cannot be had.

    Sizes and licences are shown first. A gated model needs HF_TOKEN or `hf auth login`; what was
    begun is resumed; with HF_HUB_OFFLINE=1 only what is here is used.
    """
    from stpe.models import inventory
    from stpe.models.loader import prepare

    selection = inventory.wanted(profile, overrides(models_))
    print(f"stpe: profile {selection.profile}: {selection.reason}", file=sys.stderr)
    wanted = inventory.downloads(selection)
    console.downloads_table(_err, wanted)
    with console.downloading(_err) as progress:
        got = prepare(selection, progress)
    lost = got.missing
    if as_json:
        print_json({"profile": got.profile, "reason": got.reason, "missing": lost,
                     "downloads": wanted,
                     "models": {r: m.id for r, m in got.models.items()}})  # fmt: skip
    for role, model in got.models.items():
        print(f"{role}: {model.id} is here", file=sys.stderr)
    for role, why in lost.items():
        print(f"stpe: error: {role}: {why}", file=sys.stderr)
    if not lost:
        return 0
    return 3 if got.models else 1


@models.command()
@_profile
@json_option
@common
def verify(profile: str | None, as_json: bool) -> int:
    """Hash the weights on this machine again; exit code 1 if any is damaged."""
    from stpe.models import inventory

    rows = inventory.verify(profile)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row.state:9} {row.model} {row.file}")
    return int(any(row.state == "damaged" for row in rows))


@cli.command()
@click.argument("datasets", nargs=-1, required=True, type=click.Path(path_type=Path),
                metavar="DATASET...")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the tables to this file.")
@click.option("--weights", type=click.Path(path_type=Path), help="Keep the temporal module here.")
@json_option
@common
def train(
    datasets: tuple[Path, ...], seed: int, out: Path | None, weights: Path | None, as_json: bool
) -> None:
    """Measure which signals tell what comes next, and a temporal module, on held-out videos."""
    from stpe.train.report import train as measure

    report = measure(datasets, seed, weights, lambda line: print(line, file=sys.stderr))
    if out is not None:
        out.write_text(report.markdown(), encoding="utf-8")
    if as_json:
        print_json(report.document())
    else:
        print(report.markdown(), end="")


@cli.command()
@click.option("--host", help="Address to bind; STPE_API_KEY is needed for any but loopback.")
@click.option("--port", type=int, help="Port; 8000 if not given.")
@click.option("--profile", help="Models to serve; by default the best this machine can run.")
@click.option("--model", "models_", multiple=True, metavar="ROLE=ID", help="Override a role.")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True)
@common
def serve(
    host: str | None, port: int | None, profile: str | None, models_: tuple[str, ...], replicas: int
) -> None:
    """Serve over HTTP and WebSocket; settings are in docs/serving.md."""
    try:
        from stpe.serve.run import serve as run_server
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; run `pip install 'stpe[serve]'`"
        ) from error
    given = {
        "STPE_SERVE_HOST": host,
        "STPE_SERVE_PORT": None if port is None else str(port),
        "STPE_SERVE_PROFILE": profile,
        "STPE_SERVE_MODELS": ",".join(models_) or None,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})
    run_server(replicas)


@cli.command()
@click.argument("stream_url")
@click.option(
    "--server",
    envvar="VJEPA_SERVICE_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    show_envvar=True,
)
@common
def consume(stream_url: str, server: str) -> None:
    """Read an RTSP or UDP stream and print the best class of each 16 frames."""
    from stpe.client import Client
    from stpe.consume import Consumer
    from stpe.serve.clip import Prediction

    logging.getLogger("stpe.consume").setLevel(logging.INFO)

    def report(best: Prediction, seconds: float) -> None:
        print(f"{best.label} {best.confidence:.2f} ({1000 * seconds:.0f} ms)", flush=True)

    address = server.rstrip("/").removesuffix("/api/v1/infer")
    with Client(address, os.environ.get("STPE_API_KEY"), timeout_s=30.0) as client:
        consumer = Consumer(stream_url, client, report)
        try:
            consumer.run()
        finally:
            counted = ", ".join(f"{n} {k}" for k, n in dataclasses.asdict(consumer.counts).items())
            print(counted, file=sys.stderr)


for _command in (ls, prune, remove):
    cli.add_command(_command)
