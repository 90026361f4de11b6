"""Speed of the flagship profile's models, against what the device can do.

    python benchmarks/flagship.py [--size small] [--modes eager,graphs] [--only role,role]
                                  [--deadline-s 420] [--out benchmarks/results]

1. The device's ceilings: a matrix product in the dtype in use, and a copy in its memory.
2. Each model alone, real size and random weights (`--size small` on a CPU), through its backend:
   items a second in the batches that the memory planner allows, operations a second as a share of
   the matrix product's, and for text the weights read a second as a share of the copy's.
3. All of them together, called as the stages call them from as many threads as there are cores,
   for one video-minute at 2 analysed frames a second: seconds, and where the time goes.

Needs torch, transformers, platformdirs, numpy and opencv, and torchvision for RAFT; no weights, no
network and no decoder: decoding and the stages' own work are not part of it
(`benchmarks/pipeline.py` has those). The report is written anew after every step, so that what was
measured is kept; past the deadline what is left is named and skipped.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent))

import flagship_models
from stpe.models.clip_input import ClipInput, clip_count, trained_on
from stpe.models.memory.planner import memory_of, told
from stpe.models.notes import noted

#: Roles whose networks are called with the same shapes again and again. The detector's can be
#: compiled, but not recorded: RF-DETR's forward waits for a copy.
FIXED_SHAPES = (
    "image_embedder", "detector", "depth", "pose", "clip_classifier", "segmenter", "captioner"
)  # fmt: skip
NOT_RECORDED = ("detector", "captioner")
FPS = 2.0
FLOW_FPS = 10.0
CHUNK_S = 16.0  # what is cut into clips at once, at these rates (stpe.pipeline.sampling)
CONCEPTS = [f"thing {letter}" for letter in "abcde"]
PEOPLE = 3
#: What the first prototype takes on an H100, and what this project must stay below.
PROTOTYPE_S, MUST_S = (450, 630), 60


class Bench:
    """Measures on one device, and keeps the report."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.small = asked.size == "small"
        self.on_gpu = torch.cuda.is_available()
        self.place = "cuda" if self.on_gpu else "cpu"
        self.dtype = torch.bfloat16 if self.on_gpu else torch.float32
        self.begun = time.perf_counter()
        self.memory = memory_of(self.place)
        self.rng = np.random.default_rng(0)
        self.flops: dict[str, float | None] = {}
        self.threads = len(os.sched_getaffinity(0))
        self.report: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": self.memory.device.name,
            "memory": told(self.memory.total()),
            "cores": self.threads,
            "load": os.getloadavg()[0],
            "size": asked.size,
            "dtype": str(self.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "command": "python benchmarks/flagship.py " + " ".join(sys.argv[1:]),
            "models": [],
            "skipped": [],
        }

    def late(self, what: str) -> bool:
        """Whether the deadline has passed; `what` is then noted as skipped."""
        if time.perf_counter() - self.begun < self.asked.deadline_s:
            return False
        self.report["skipped"].append(f"{what}: the deadline passed")
        return True

    def sync(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], least_s: float = 2.0, most: int = 20) -> float:
        """Median seconds of a call, after one unmeasured."""
        work()
        self.sync()
        taken: list[float] = []
        while not taken or (sum(taken) < least_s and len(taken) < most):
            begun = time.perf_counter()
            work()
            self.sync()
            taken.append(time.perf_counter() - begun)
        return float(np.median(taken))

    def ceilings(self) -> None:
        """A matrix product and a copy."""
        self.report["gemm_flops"] = self._gemm()
        self.report["copy_bytes_s"] = self._copy()
        self.memory.device.empty()

    def _gemm(self) -> float:
        side = 8192 if self.on_gpu else 1024
        a, b = (torch.randn(side, side, device=self.place, dtype=self.dtype) for _ in range(2))
        return 2 * side**3 / self.seconds(lambda: a @ b, 1.0)

    def _copy(self) -> float:
        size = (2 << 30) if self.on_gpu else (256 << 20)
        source = torch.zeros(size, dtype=torch.uint8, device=self.place)
        target = torch.empty_like(source)
        return 2 * size / self.seconds(lambda: target.copy_(source), 1.0)

    def image(self, height: int = 480, width: int = 854) -> np.ndarray[Any, Any]:
        """Random blocks, as hard for the models as anything."""
        blocks = self.rng.integers(0, 255, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        return np.kron(blocks, np.ones((8, 8, 1), np.uint8))[:height, :width].copy()

    @property
    def clip(self) -> ClipInput:
        """What the classifier is shown."""
        config = flagship_models.vjepa2(self.small).to_dict()
        return trained_on(config, flagship_models.IMAGENET)

    def clips_in(self, seconds: float) -> int:
        """As the stage cuts a piece of video."""
        return clip_count(round(seconds * self.clip.fps), self.clip.frames, resamples=False)

    def items(self, role: str, count: int) -> list[Any]:
        """What one call of the role is about."""
        if role == "clip_classifier":
            shown = self.clip
            size = shown.short_side, round(shown.short_side * 16 / 9)
            frames = max(1, round(CHUNK_S * shown.fps) // self.clips_in(CHUNK_S))
            return [np.stack([self.image(*size) for _ in range(frames)]) for _ in range(count)]
        if role == "flow":
            return list(pairwise([self.image(270, 480) for _ in range(count + 1)]))
        return [self.image() for _ in range(count)]


def fresh(role: str, items: list[Any]) -> list[Any]:
    """The same; pairs of frames as new arrays, so that no feature map of the last round is known.
    Within a run of pairs each frame but the ends is in two, as in a video."""
    if role != "flow":
        return items
    return list(pairwise([items[0][0].copy(), *(later.copy() for _, later in items)]))


def call(role: str, model: Any, items: list[Any], threads: int) -> None:
    """The role's method on items, one a call, from several threads, as stages do."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda item: one(role, model, item), items))


def one(role: str, model: Any, item: Any) -> Any:
    """One call."""
    if role == "image_embedder":
        return model.embed([item])
    if role == "detector":
        return model.detect([item])
    if role == "depth":
        return model.depth([item])
    if role == "pose":
        height, width = item.shape[:2]
        boxes = np.array([[i * width / 4, 20, (i + 1) * width / 4, height] for i in range(PEOPLE)])
        return model.joints(item, boxes.astype(np.float32))
    if role == "flow":
        return model.flow(*item), model.flow(*item[::-1])  # there, and back to be checked
    if role == "clip_classifier":
        return model.classify(item)
    if role == "segmenter":
        encoded = model.encode(item)
        height, width = item.shape[:2]
        boxes = np.array([[10, 10, width / 2, height / 2], [50, 50, width - 10, height - 10]])
        return model.from_boxes(encoded, boxes.astype(np.float32)), model.from_text(
            encoded, CONCEPTS, 0.99
        )
    return model.caption([item], "a person walks to the left")


def networks(model: Any) -> list[Any]:
    """The networks behind a backend."""
    found = [v for v in vars(model).values() if hasattr(v, "weights_bytes")]
    return list({id(n): n for n in found}.values())


def flops(bench: Bench, role: str, model: Any) -> float | None:
    """Operations of one call's matrix products, convolutions and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    before, item = bench.items(role, 2)
    if role == "flow":
        one(role, model, before)  # of a run of pairs only the later frame is new
    with FlopCounterMode(display=False) as counter:
        one(role, model, item)
    return float(counter.get_total_flops()) or None


def alone(bench: Bench, role: str, name: str, load: Callable[..., Any], folder: Path) -> None:
    """One model, in each mode."""
    for mode in bench.asked.modes.split(","):
        if mode != "eager" and (not bench.on_gpu or role not in FIXED_SHAPES):
            continue
        if mode == "graphs" and role in NOT_RECORDED:
            continue
        if bench.late(f"{name} {mode}"):
            continue
        options = {} if mode == "eager" else {mode: True}
        row: dict[str, Any] = {"role": role, "model": name, "mode": mode}
        try:
            model = load(folder, options)
            row |= measured(bench, role, model)
            model.close()
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            traceback.print_exc()
        model = None
        gc.collect()
        bench.memory.device.empty()
        bench.report["models"].append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
        write(bench)


def measured(bench: Bench, role: str, model: Any) -> dict[str, Any]:
    """Items a second in calls from many threads; the warm-up apart."""
    begun = time.perf_counter()
    count = 1 if role == "captioner" else 8
    if bench.on_gpu and role in ("image_embedder", "detector", "depth", "pose"):
        count = 64
    items = bench.items(role, count)
    threads = 1 if role == "captioner" else max(bench.threads, 32 if bench.on_gpu else 1)
    with noted() as notes:
        for _ in range(3 if bench.on_gpu else 1):  # batch sizes are found, graphs recorded
            call(role, model, items[: max(1, count // (1 if bench.on_gpu else 4))], threads)
        warm_up = time.perf_counter() - begun
        least = 3.0 if bench.on_gpu else 1.0
        seconds = bench.seconds(lambda: call(role, model, fresh(role, items), threads), least, 6)
    rate = count / seconds
    row: dict[str, Any] = {"items_s": rate, "warm_up_s": warm_up, "notes": notes}
    nets = networks(model)
    row["weights_bytes"] = sum(n.weights_bytes for n in nets)
    row["memory"] = [asdict(n.memory(True)) for n in nets]
    row["batches"] = {k: v for n in row["memory"] for k, v in n["batches"].items()}
    if role not in bench.flops:  # a replayed graph hides its operations from the counter
        bench.flops[role] = flops(bench, role, model)
    work = bench.flops[role]
    if work is not None:
        row["flop_an_item"] = work
        row["of_gemm"] = work * rate / bench.report["gemm_flops"]
    if role == "captioner":
        tokens = model._tokens
        row["tokens_s"] = rate * tokens
        row["of_copy"] = row["weights_bytes"] * rate * tokens / bench.report["copy_bytes_s"]
    return row


def together(bench: Bench, loads: dict[str, tuple[str, Callable[..., Any]]], root: Path) -> None:
    """All models, for one video-minute's calls, as the executor mixes them."""
    seconds = bench.asked.plan_s or (60.0 if bench.on_gpu else 2.0)
    models: dict[str, Any] = {}
    for role, (_, load) in loads.items():
        try:
            models[role] = load(root / f"all-{role}", {})
        except Exception as error:
            bench.report["skipped"].append(f"{role} in the plan: {error}")
    frames = [bench.image() for _ in range(max(1, round(FPS * seconds)))]
    clips = bench.items("clip_classifier", 4)
    work = {role: frames for role in models if role not in ("flow", "clip_classifier")}
    said = work.pop("captioner", [])
    if "flow" in models:
        work["flow"] = bench.items("flow", round(FLOW_FPS * seconds))
    if "clip_classifier" in models:
        chunks = [min(CHUNK_S, seconds - s) for s in np.arange(0, seconds, CHUNK_S)]
        count = sum(bench.clips_in(chunk) for chunk in chunks)
        work["clip_classifier"] = [clips[i % 4] for i in range(count)]
    for role, items in work.items():
        call(role, models[role], items[:2], 2)
    spent = dict.fromkeys([*work, *(["captioner"] if said else [])], 0.0)

    def run(task: tuple[str, Any]) -> None:
        role, item = task
        begun = time.perf_counter()
        one(role, models[role], item)
        spent[role] += time.perf_counter() - begun

    # In the order of time, as chunks come: each second's calls of every stage, then the next.
    tasks: list[tuple[float, str, Any]] = []
    for role, items in work.items():
        tasks += [(i / len(items) // (16 / seconds), role, item) for i, item in enumerate(items)]
    tasks.sort(key=lambda t: t[0])
    bench.sync()
    begun = time.perf_counter()
    with ThreadPoolExecutor(bench.threads) as pool, ThreadPoolExecutor(1) as teller:
        # Captions go one after another: each is told what was said before.
        captions = [teller.submit(run, ("captioner", frame)) for frame in said]
        list(pool.map(run, [(role, item) for _, role, item in tasks]))
        for caption in captions:
            caption.result()
    bench.sync()
    wall = time.perf_counter() - begun
    bench.report["plan"] = {
        "video_s": seconds,
        "wall_s": wall,
        "s_a_video_minute": wall * 60 / seconds,
        "calls": {role: len(items) for role, items in {**work, "captioner": said}.items()},
        "waited_and_worked_s": spent,
        "memory": asdict(bench.memory.stats()),
    }
    for model in models.values():
        model.close()


def write(bench: Bench) -> None:
    """The report as JSON and Markdown."""
    folder = Path(bench.asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "gpu" if bench.on_gpu else "cpu"
    base = folder / f"{bench.report['date']}-flagship-{kind}-{bench.asked.size}"
    bench.report["seconds"] = time.perf_counter() - bench.begun
    base.with_suffix(".json").write_text(json.dumps(bench.report, indent=1) + "\n")
    base.with_suffix(".md").write_text(markdown(bench.report, bench.on_gpu))


def markdown(report: dict[str, Any], on_gpu: bool) -> str:
    """The report for people."""
    lines = [f"# Flagship models on {report['device']}, {report['date']}", ""]
    if report["size"] == "small" or not on_gpu:
        lines += [
            "**A CPU run at small sizes.** The architectures are the flagship's with far narrower "
            "layers, so that this shows that the benchmark and every backend run, and nothing of "
            "the flagship's speed. No GPU was at hand.",
            "",
        ]
    lines += [
        f"`{report['command'].strip()}`; random weights, {report['dtype']}, torch "
        f"{report['torch']}, transformers {report['transformers']}, {report['cores']} cores (load "
        f"{report['load']:.1f} at the start), "
        f"{report['memory']} of device memory; {report['seconds']:.0f} s in all.",
        "",
        f"Ceilings: matrix product {report['gemm_flops'] / 1e12:.3g} TFLOP/s, copy "
        f"{report['copy_bytes_s'] / 1e9:.3g} GB/s (read and written).",
        "",
        "| role | model | mode | items/s | batch | TFLOP an item | of the matrix product "
        "| weights | warm-up s | |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in report["models"]:
        if "error" in row:
            lines.append(
                f"| {row['role']} | {row['model']} | {row['mode']} | | | | | | | {row['error']} |"
            )
            continue
        batch = max(row["batches"].values(), default=1)
        more = f"{row['tokens_s']:.1f} tokens/s, {row['of_copy']:.0%} of the copy; " if (
            "tokens_s" in row) else ""  # fmt: skip
        lines.append(
            f"| {row['role']} | {row['model']} | {row['mode']} | {row['items_s']:.3g} | {batch} "
            f"| {row.get('flop_an_item', 0) / 1e12:.3g} | {row.get('of_gemm', 0):.0%} "
            f"| {told(row['weights_bytes'])} | {row['warm_up_s']:.1f} "
            f"| {more}{'; '.join(row['notes'])} |"
        )
    lines += [
        "",
        "An item is a frame of 854x480; for pose a frame with 3 people; for the segmenter a frame "
        "with 2 boxes and 5 concepts; for flow a pair of 480x270; for the classifier a clip; for "
        "the captioner a caption. Warm-up: first calls, measuring and recording included. "
        "Operations are those of matrix products, convolutions and attention.",
    ]
    plan = report.get("plan")
    if plan:
        rates = {r["role"]: r["items_s"] for r in report["models"]
                 if r["mode"] == "eager" and "items_s" in r}  # fmt: skip
        minute = 60 / plan["video_s"]
        need = {r: n * minute / rates[r] for r, n in plan["calls"].items() if r in rates}
        lines += [
            "",
            "## The plan's model calls, all together",
            "",
            f"{plan['video_s']:.0f} s of video at {FPS:g} fps in {plan['wall_s']:.2f} s: "
            f"**{plan['s_a_video_minute']:.1f} s a video-minute**"
            + (f" (the prototype: {PROTOTYPE_S[0]} to {PROTOTYPE_S[1]}; must be below {MUST_S})."
               if on_gpu and report["size"] == "full" else "."),
            "",
            "| role | calls a video-minute | s alone | share |",
            "|---|---:|---:|---:|",
        ]  # fmt: skip
        whole = sum(need.values()) or 1.0
        for role, cost in sorted(need.items(), key=lambda pair: -pair[1]):
            calls = plan["calls"][role] * minute
            lines.append(f"| {role} | {calls:.0f} | {cost:.2f} | {cost / whole:.0%} |")
        lines.append(f"| all, one after the other | | {whole:.2f} | |")
    if report["skipped"]:
        lines += ["", "Skipped: " + "; ".join(report["skipped"]) + "."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--modes", default="eager,graphs", help="of eager, graphs, compile")
    parser.add_argument("--only", help="roles")
    parser.add_argument("--deadline-s", type=float, default=420.0)
    parser.add_argument("--plan-s", type=float, help="seconds of video for the plan")
    parser.add_argument("--out", default=str(Path(__file__).resolve().parent / "results"))
    bench = Bench(parser.parse_args())
    only = set(bench.asked.only.split(",")) if bench.asked.only else None
    bench.ceilings()
    loads: dict[str, tuple[str, Callable[..., Any]]] = {
        entry.role: (entry.model, entry.load) for entry in flagship_models.entries(bench.small)
    }
    loads["flow"] = ("raft-large", lambda f, o: flagship_models.flow(bench.small, f, o))
    loads = {role: found for role, found in loads.items() if only is None or role in only}
    with tempfile.TemporaryDirectory() as name:
        os.environ["STPE_CACHE"] = name  # peaks are measured anew
        root = Path(name)
        for role, (model, load) in loads.items():
            alone(bench, role, model, load, root / role)
        if not bench.late("the plan"):
            try:
                together(bench, loads, root)
            except Exception as error:
                bench.report["skipped"].append(f"the plan: {type(error).__name__}: {error}"[:300])
                traceback.print_exc()
        write(bench)


if __name__ == "__main__":
    main()
