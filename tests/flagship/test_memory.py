"""The memory planner, with models that really load and memory that really runs out."""

import multiprocessing
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.allocator import released, resident_bytes, steady  # noqa: E402
from stpe.dataset.reader import open_dataset  # noqa: E402
from stpe.engine import Engine  # noqa: E402
from stpe.errors import ModelError, OutOfMemoryError, StageError  # noqa: E402
from stpe.models import loader  # noqa: E402
from stpe.models.backends.transformers import dinov3  # noqa: E402
from stpe.models.memory import planner  # noqa: E402
from stpe.models.memory.device import Cpu, asked_for, ran_out  # noqa: E402
from stpe.models.memory.planner import DeviceMemory, memory_of  # noqa: E402
from stpe.models.notes import noted  # noqa: E402
from stpe.stages import registry  # noqa: E402
from stpe.stages.features import Features  # noqa: E402

Save = Callable[..., tuple[Path, Any]]
MB = 1 << 20


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model of another test on the device, and a heap that gives back what is freed."""
    steady()
    torch.set_num_threads(1)
    monkeypatch.setattr(planner, "_planners", {})


def config(width: int = 32, layers: int = 2, **more: Any) -> Any:
    return transformers.DINOv3ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        num_register_tokens=4,
        **more,
    )


@contextmanager
def room_for(more: int) -> Iterator[None]:
    """The process may map only so many bytes more: malloc fails as on a full machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_what_runs_out_of_memory_is_halved_and_noted(save: Save, picture: np.ndarray) -> None:
    folder, _ = save("DINOv3ViTModel", config(256, 1))
    # In a process of its own: what other tests have mapped and free would be used before the limit.
    process = multiprocessing.get_context("spawn").Process(
        target=halved_and_noted, args=(folder, picture)
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0


def halved_and_noted(folder: Path, picture: np.ndarray) -> None:
    steady()
    torch.set_num_threads(1)
    embedder = dinov3.load({"repository": folder}, {"patches": 512, "batch": 16})
    images = [np.roll(picture, i, axis=1) for i in range(16)]
    one = [f.global_D for image in images for f in embedder.embed([image])]
    (model,) = memory_of("cpu").stats().models
    (known,) = model.peaks.values()
    released()
    with room_for(6 * known[1]), noted() as notes:
        found = [f.global_D for f in embedder.embed(images)]
    np.testing.assert_allclose(found, one, atol=1e-4)
    assert notes, "all of it fitted"
    assert "did not fit into the memory of cpu; the batch was reduced to" in notes[0]
    (size,) = memory_of("cpu").stats().models[0].batches.values()
    assert 1 <= size < 16
    large = np.zeros((4000, 4000, 3), np.uint8)
    with room_for(32 * MB), pytest.raises(ModelError) as failed:
        embedder.embed([large])
    assert folder.name in str(failed.value)
    assert "needs at least" in str(failed.value)
    assert "are free" in str(failed.value)


def test_a_run_goes_on_when_memory_runs_out_and_the_dataset_says_so(
    save: Save, picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    images = tmp_path / "frames"
    images.mkdir()
    for i in range(12):
        cv2.imwrite(str(images / f"{i:03}.png"), np.roll(picture, i, axis=1))
    holds = {"items": 100}
    forward = transformers.DINOv3ViTModel.forward

    def small(self: Any, pixel_values: Any, **named: Any) -> Any:
        """As on a device that holds so many images, in the words that torch has for it."""
        if len(pixel_values) > holds["items"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
        return forward(self, pixel_values=pixel_values, **named)

    monkeypatch.setattr(transformers.DINOv3ViTModel, "forward", small)
    # One frame a call as ever, and calls that meet share a batch.
    monkeypatch.setattr(registry, "STAGES", (Features,))
    monkeypatch.setattr(Features, "length", 4)
    monkeypatch.setattr(dinov3, "load", with_options(batch=4, patches=60))
    with Engine("flagship", {"image_embedder": str(folder)}, workers=1) as engine:
        engine.process(images, tmp_path / "whole", fps="native")
        holds["items"] = 2
        report = engine.process(images, tmp_path / "ds", fps="native").videos[0]
        (device,) = engine.memory_stats().devices
        holds["items"] = 0
        with pytest.raises(StageError, match=r"needs at least 2\.68 GB .* are free on cpu"):
            engine.process(images, tmp_path / "none", fps="native")
    assert any("4 x embed 96x160x3 did not fit" in w for w in report.warnings)
    rows = open_dataset(tmp_path / "ds").arrow("videos")["warnings"][0].as_py()
    assert rows == list(report.warnings)
    whole, halved = (
        np.array(open_dataset(tmp_path / name).arrow("frames")["embedding"].to_pylist())
        for name in ("whole", "ds")
    )
    assert len(whole) == 12
    np.testing.assert_allclose(halved, whole, atol=1e-5)
    (model,) = device.models
    assert model.resident
    assert list(model.batches.values()) == [2]
    assert model.weights_bytes > 0
    assert all(peak > 0 for known in model.peaks.values() for peak in known.values())


def with_options(**more: Any) -> Callable[..., Any]:
    load = dinov3.load
    return lambda files, options: load(files, {**options, **more})


def test_models_that_cannot_share_take_turns(save: Save, picture: np.ndarray) -> None:
    folder, direct = save("DINOv3ViTModel", config(128, 4))
    size = sum(p.nbytes for p in direct.parameters())
    planner._planners["cpu"] = memory = DeviceMemory(Cpu(), limit=int(1.9 * size))
    one, two = (dinov3.load({"repository": folder}, {"patches": 60}) for _ in range(2))
    answers = [m.embed([picture])[0].global_D for m in (one, two, one, two)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
    assert [m.resident for m in memory.stats().models].count(True) == 1
    threads = [threading.Thread(target=m.embed, args=([picture],)) for m in (one, two) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    one.close()
    two.close()
    assert memory.stats().models == ()
    planner._planners["cpu"] = DeviceMemory(Cpu(), limit=size // 2)
    with pytest.raises(ModelError, match=r"its weights need .* and .* are free on cpu"):
        dinov3.load({"repository": folder}, {})


def test_a_load_waits_for_turns_that_give_its_memory_back(save: Save) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    planner._planners["cpu"] = memory = DeviceMemory(Cpu(), limit=100 * MB)
    network = dinov3.load({"repository": folder}, {})._network
    loaded: list[Any] = []
    for need, measure in ((100 * MB, False), (0, True)):
        thread = threading.Thread(
            target=lambda: loaded.append(dinov3.load({"repository": folder}, {}))
        )
        before = len(loaded)
        with memory.turn(network, need, measure):
            thread.start()
            while thread.is_alive() and not memory._line:
                pass
            assert thread.is_alive(), "it waits"
            assert len(loaded) == before
        thread.join(30)
        assert len(loaded) == before + 1
    with (
        memory.turn(network, 100 * MB),
        pytest.raises(OutOfMemoryError, match="its weights need"),
    ):
        dinov3.load({"repository": folder}, {})  # it would wait for itself


def test_nobody_is_moved_out_for_what_a_turn_will_give_back(save: Save) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    planner._planners["cpu"] = memory = DeviceMemory(Cpu(), limit=100 * MB)
    one, two, _idle = (dinov3.load({"repository": folder}, {})._network for _ in range(3))
    begun = threading.Event()

    def work() -> None:
        with memory.turn(two, 60 * MB):
            begun.set()

    thread = threading.Thread(target=work)
    with memory.turn(one, 60 * MB):
        thread.start()
        while not memory._line and not begun.is_set():
            pass
        with memory._changed:  # it has looked, and waits
            assert not begun.is_set()
            assert [m.resident for m in memory.stats().models] == [True] * 3
    thread.join(30)
    assert begun.is_set()


def test_a_backend_that_fails_keeps_no_weights(save: Save) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    model = loader.resolve("flagship", {"image_embedder": str(folder)}).models["image_embedder"]
    kept = loader.load(model)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="has no preprocessor_config"):
        loader.load(model)
    assert len(memory_of("cpu").stats().models) == 1
    kept.close()


def test_what_was_measured_is_known_the_next_time_and_sizes_the_batch(
    save: Save, picture: np.ndarray
) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    images = [np.roll(picture, i, axis=1) for i in range(8)]
    first = dinov3.load({"repository": folder}, {"patches": 60, "batch": 8})
    first.embed(images[:1])
    first.embed(images)
    (peaks,) = memory_of("cpu").stats().models[0].peaks.values()
    assert set(peaks) == {1, 8}
    assert 4 * peaks[1] < peaks[8] < 12 * peaks[1], "eight take about eight times one"
    first.close()
    weights = sum(p.numel() for p in transformers.DINOv3ViTModel(config()).parameters()) * 4
    limit = int((weights + 1.1 * (peaks[1] + peaks[8]) / 2) / 0.92)  # of eight, half
    planner._planners["cpu"] = memory = DeviceMemory(Cpu(), limit=limit)
    again = dinov3.load({"repository": folder}, {"patches": 60, "batch": 8})
    again.embed(images)
    (model,) = memory.stats().models
    assert list(model.batches.values()) == [4]
    assert model.peaks
    assert set(*model.peaks.values()) >= {1, 8}


def test_calls_of_several_threads_share_batches(save: Save, picture: np.ndarray) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    embedder = dinov3.load({"repository": folder}, {"patches": 60, "batch": 8})
    images = [np.roll(picture, i, axis=1) for i in range(9)]
    expected = [embedder.embed([image])[0].global_D for image in images]
    seen: list[int] = []
    busy, go = threading.Event(), threading.Event()

    def hold(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.append(len(given["pixel_values"]))
        busy.set()
        go.wait(20)

    embedder._network.model.register_forward_pre_hook(hold, with_kwargs=True)
    found: dict[int, Any] = {}

    def call(i: int) -> None:
        found[i] = embedder.embed([images[i]])[0].global_D

    threads = [threading.Thread(target=call, args=(i,)) for i in range(9)]
    threads[0].start()
    busy.wait(20)
    for thread in threads[1:]:
        thread.start()
    while len(embedder._network._batches._waiting) < 8:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert seen == [1, 8]
    for i, answer in enumerate(expected):
        np.testing.assert_allclose(found[i], answer, atol=1e-5)


def test_a_frame_is_uploaded_once_for_all_models(save: Save, picture: np.ndarray) -> None:
    folder, _ = save("DINOv3ViTModel", config())
    one, two = (dinov3.load({"repository": folder}, {"patches": p}) for p in (60, 30))
    uploads = one._network.uploads
    assert uploads is two._network.uploads
    before = uploads.copied
    for embedder in (one, two, one):
        embedder.embed([picture])
    assert uploads.copied == before + 1


def test_unloading_gives_the_memory_back(save: Save, tmp_path: Path, picture: np.ndarray) -> None:
    folder, model = save("DINOv3ViTModel", config(768, 6))
    size = sum(p.nbytes for p in model.parameters())
    del model
    others = dict.fromkeys(loader.ROLES, "none") | {"image_embedder": str(folder)}
    engine = Engine("flagship", others)
    engine.load_models()
    engine.unload_models()  # what torch itself keeps from its first model on
    before = resident_bytes()
    with engine:
        engine.load_models()
        engine.embed_image(picture)
        assert resident_bytes() > before + 0.9 * size
        assert engine.memory_stats().devices[0].models[0].weights_bytes == pytest.approx(size, 0.01)
    assert resident_bytes() < before + 0.1 * size
    assert engine.memory_stats().devices[0].models == ()
    assert np.isfinite(engine.embed_image(picture)).all(), "the next use loads it again"
    engine.unload_models()


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has", int(2.5 * 2**30)),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.", 4096),
        ("something else", 0),
    ],
)
def test_the_size_that_failed_is_read_from_the_message(words: str, size: int) -> None:
    assert asked_for(RuntimeError(words)) == size


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be reported later", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_memory_that_ran_out_outside_the_allocator_is_recognised(words: str, out: bool) -> None:
    assert ran_out(RuntimeError(words)) is out
