"""Commands that list and tidy datasets: `stpe ls`, `prune`, `remove`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stpe import console
from stpe.options import common, json_option, print_json

_dataset = click.argument("dataset", type=click.Path(path_type=Path))


@click.command()
@_dataset
@json_option
@common
def ls(dataset: Path, as_json: bool) -> None:
    """List the videos of a dataset."""
    from stpe.dataset.listing import list_videos
    from stpe.dataset.reader import open_dataset
    from stpe.dataset.report import videos_table

    rows = list_videos(open_dataset(dataset))
    if as_json:
        print_json(rows)
    else:
        console.out().print(videos_table(rows))


@click.command()
@_dataset
@json_option
@common
def prune(dataset: Path, as_json: bool) -> None:
    """Remove artifacts, which only spare a later run work, and unused media; every row stays."""
    from stpe.dataset import prune as tidy
    from stpe.dataset.reader import open_dataset
    from stpe.dataset.writer import DatasetWriter

    open_dataset(dataset)  # a folder that is none is not made one
    with DatasetWriter(dataset) as writer:
        freed = tidy.prune(writer)
    if as_json:
        print_json(freed)
    else:
        print(f"{freed.files} files removed, {freed.bytes / 1e6:.1f} MB", file=sys.stderr)


@click.command()
@_dataset
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO_ID...")
@json_option
@common
def remove(dataset: Path, videos: tuple[str, ...], as_json: bool) -> None:
    """Take videos out of a dataset: rows, media and state logs. The begin of an id is enough."""
    from stpe.dataset.names import named
    from stpe.dataset.reader import open_dataset
    from stpe.dataset.writer import DatasetWriter

    open_dataset(dataset)
    with DatasetWriter(dataset) as writer:
        found = named(writer, videos)
        for video_id in found:
            writer.remove(video_id)
    if as_json:
        print_json({"removed": found, "left": len(writer.videos)})
    else:
        print(f"removed {', '.join(found)}; {len(writer.videos)} videos left", file=sys.stderr)
