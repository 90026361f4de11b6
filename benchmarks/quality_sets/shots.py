"""Shot boundaries against PySceneDetect's detectors, each at its defaults.

A predicted boundary is right within 2 frames of a true cut, or within 2 frames of a gradual
transition's extent; each truth counts once. A fade to black and the fade out of black are two
transitions, as the labels of `testvideo` have it. TRECVID instead takes a fade out and the fade in
that follows for one gradual transition from the start of the one to the end of the other (and
PySceneDetect's threshold detector answers with its middle), so `fades`, which does nothing but
fade, is scored by both conventions.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scenedetect

from stpe import Engine, open_dataset
from stpe.evaluate.shots import Transition, score_shots

SAMPLING = "every frame of the three clips"
Truth = list[Transition]
# Not the captions: they need every other stage.
SIGNALS = ["shots.start_frame", "shots.transition"]


def run(data: Path) -> list[dict[str, Any]]:
    """F1, precision and recall of each set against each baseline."""
    rows = []
    for name, video, truth in _sets(data):
        predicted = _ours(video)
        ours = score_shots(truth, predicted)
        for baseline, detect in BASELINES.items():
            theirs = score_shots(truth, [Transition(c, c) for c in detect(video)])
            rows += [
                {
                    "set": name,
                    "metric": metric,
                    "ours": getattr(ours, metric),
                    "baseline": baseline,
                    "baseline_value": getattr(theirs, metric),
                    "n": ours.n,
                }
                for metric in ("f1", "precision", "recall")
            ]
    return rows


def _ours(video: Path) -> Truth:
    """First frames of the shots that the default plan finds."""
    with tempfile.TemporaryDirectory() as folder, Engine(profile="embedded") as engine:
        engine.process(video, out=folder, signals=SIGNALS)
        rows = open_dataset(folder).arrow("shots").to_pylist()
    starts = [row["start_frame"] for row in rows if row["transition"] != "start"]
    return [Transition(s, s) for s in sorted(starts)]


def _sets(data: Path) -> list[tuple[str, Path, Truth]]:
    bikes = data / "shots_bikes"
    scenes = data / "pyscenedetect_resources"
    fades = scenes / "fades.mp4"
    light = _brightness(fades)
    return [
        ("shots_bikes", bikes / "bikes.mp4", _labels(bikes / "transitions.json")),
        ("testvideo", scenes / "testvideo.mp4", _labels(scenes / "testvideo_transitions.json")),
        ("fades, each", fades, _fades(light)),
        ("fades, out and in as one", fades, _through_black(light)),
    ]


def _labels(path: Path) -> Truth:
    found = []
    for entry in json.loads(path.read_text())["transitions"]:
        first = entry.get("first", entry.get("first_frame_of_next_shot"))
        first = entry["first_black_frame"] if first is None else first
        found.append(Transition(first, entry.get("last", first)))
    return found


def _brightness(video: Path) -> np.ndarray:
    capture, means = cv2.VideoCapture(str(video)), []
    while True:
        more, frame = capture.read()
        if not more:
            return np.array(means)
        means.append(frame.mean())


def _turns(light_T: np.ndarray) -> list[int]:
    """Middles of the stretches of black and of white, in order."""
    extreme = np.where(light_T < 3, -1, np.where(light_T > 249, 1, 0))
    edges = np.flatnonzero(np.diff(extreme)) + 1
    parts = np.split(np.arange(len(light_T)), edges)
    return [int(part.mean()) for part in parts if extreme[part[0]]]


def _fades(light_T: np.ndarray) -> Truth:
    turns = _turns(light_T)
    return [Transition(a, b) for a, b in itertools.pairwise(turns)]


def _through_black(light_T: np.ndarray) -> Truth:
    turns = _turns(light_T)
    around = zip(turns, turns[1:], turns[2:], strict=False)
    return [Transition(a, b) for a, dark, b in around if light_T[dark] < 3]


def _detector(*kinds: str) -> Callable[[Path], list[int]]:
    def detect(video: Path) -> list[int]:
        manager = scenedetect.SceneManager()
        for kind in kinds:
            manager.add_detector(getattr(scenedetect, f"{kind}Detector")())
        manager.detect_scenes(scenedetect.open_video(str(video)))
        scenes = manager.get_scene_list()
        return [start.frame_num for start, _ in scenes[1:]]

    return detect


BASELINES = {
    "PySceneDetect content": _detector("Content"),
    "PySceneDetect adaptive": _detector("Adaptive"),
    "PySceneDetect threshold": _detector("Threshold"),
    "PySceneDetect content + threshold": _detector("Content", "Threshold"),
    "PySceneDetect histogram": _detector("Histogram"),
    "PySceneDetect hash": _detector("Hash"),
}
