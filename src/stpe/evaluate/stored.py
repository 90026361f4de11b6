"""Scorecards as files: `evaluation/<video_id>.json` in the dataset, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stpe.dataset.layout import write_atomically
from stpe.errors import TruthError, UsageError
from stpe.evaluate.scorecard import VERSION, Row, Scorecard


def path_of(dataset: Path, video_id: str, suffix: str = ".json") -> Path:
    """Where a dataset keeps the scorecard of a video."""
    return dataset / "evaluation" / f"{video_id}{suffix}"


def store(dataset: Path, card: Scorecard) -> Path:
    """Write the card into the dataset, whole or not at all; returns its path."""
    path = path_of(dataset, card.video_id)
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(card.document(), indent=1, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
    return path


def load(path: Path) -> Scorecard:
    """A stored card. Raises UsageError where the file is none, TruthError for another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("version")
        if version != VERSION:
            raise TruthError(f"{path} has version {version}, this reads {VERSION}: evaluate again")
        rows = [{**r, "draws": tuple(r["draws"])} for r in content.pop("rows")]
        content.pop("curves")
        content.pop("trust")
        content["truth_read_as"] = tuple(content.get("truth_read_as", ()))
        return Scorecard(**content, rows=tuple(_stored_row(r) for r in rows))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a scorecard ({error!r})") from None


def _stored_row(content: dict[str, Any]) -> Row:
    for name in ("interval", "baseline_gain_interval"):
        if content[name] is not None:
            content[name] = tuple(content[name])
    return Row(**content)
