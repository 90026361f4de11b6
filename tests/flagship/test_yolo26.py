"""YOLO26 through the real loading path equals ultralytics' own prediction."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
try:
    import ultralytics
    from ultralytics.nn.tasks import DetectionModel, PoseModel
    from ultralytics.utils import YAML
except (ImportError, RuntimeError) as error:
    pytest.skip(f"ultralytics with a fitting torchvision is not here: {error}", True)

from stpe.errors import ModelError  # noqa: E402
from stpe.models.backends.ultralytics import yolo_detect, yolo_pose  # noqa: E402


def checkpoint(folder: Path, task: str, **changes) -> Path:
    """A tiny network of the task, random weights, saved as ultralytics saves it."""
    name = "yolo26.yaml" if task == "detect" else "yolo26-pose.yaml"
    layout = YAML.load(Path(ultralytics.__file__).parent / "cfg/models/26" / name)
    layout |= {"scales": {"n": [0.25, 0.125, 128]}, "scale": "n", **changes}
    torch.manual_seed(0)
    model = (DetectionModel if task == "detect" else PoseModel)(
        copy.deepcopy(layout), verbose=False
    )
    for parameter in model.parameters():
        parameter.requires_grad = False
        if parameter.ndim == 1:
            parameter += torch.randn_like(parameter) * 0.2
    head = model.model[-1]
    for layer in (*head.cv3, *head.one2one_cv3):  # sure enough that a threshold can cut
        layer[-1].bias[:] = -2.0
        layer[-1].weight *= 20
    model.names = {0: "person", 1: "car", 2: "dog"} if layout["nc"] == 3 else {0: "person"}
    model.task = task
    model.args = {"imgsz": 160, "task": task}
    path = folder / f"{task}.pt"
    torch.save({"model": model, "ema": None, "train_args": model.args}, path)
    return path


def theirs(path: Path, picture: np.ndarray, threshold: float, size: int):
    model = ultralytics.YOLO(path)
    (result,) = model.predict(
        picture[..., ::-1], imgsz=size, conf=threshold, nms=False, verbose=False, device="cpu"
    )
    return result


@pytest.mark.parametrize(("size", "close"), [(160, 1e-3), (96, 0.3)])
def test_boxes_equal_ultralytics(tmp_path, picture, size, close):
    path = checkpoint(tmp_path, "detect", nc=3)
    detector = yolo_detect.load({"weights": path}, {"batch": 2, "size": size})
    assert detector.labels == ("person", "car", "dog")
    every = detector.detect([picture], 0.001)[0]
    threshold = float(np.sort(every.scores_N)[-8:].mean())
    found = detector.detect([picture, picture[::-1].copy(), picture], threshold)
    expected = theirs(path, picture, threshold, size).boxes
    assert 0 < len(expected) < 8
    for detections in (found[0], found[2]):
        np.testing.assert_allclose(detections.boxes_N4, expected.xyxy, atol=close)
        np.testing.assert_allclose(detections.scores_N, expected.conf, atol=close / 30)
        assert detections.labels == tuple(detector.labels[int(c)] for c in expected.cls)
    assert len(detector.detect([picture], 1.1)[0]) == 0


def test_joints_equal_ultralytics(tmp_path, picture):
    path = checkpoint(tmp_path, "pose", nc=1)
    estimator = yolo_pose.load({"weights": path}, {})
    every = estimator.estimate([picture], 0.001)[0]
    threshold = float(np.sort(every.scores_N)[-6:].mean())
    (people,) = estimator.estimate([picture], threshold)
    expected = theirs(path, picture, threshold, 160)
    assert 0 < len(people.scores_N) < 6
    np.testing.assert_allclose(people.boxes_N4, expected.boxes.xyxy, atol=1e-3)
    np.testing.assert_allclose(people.keypoints_N173, expected.keypoints.data, atol=1e-3)


def test_other_tasks_damaged_files_and_code_in_a_pickle_are_refused(tmp_path):
    pose = checkpoint(tmp_path, "pose", nc=1)
    with pytest.raises(ModelError, match="for 'pose', not for 'detect'"):
        yolo_detect.load({"weights": pose}, {})
    few = checkpoint(tmp_path, "pose", nc=1, kpt_shape=[5, 3])
    with pytest.raises(ModelError, match="17 COCO joints"):
        yolo_pose.load({"weights": few}, {})
    few.write_bytes(few.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be read"):
        yolo_pose.load({"weights": few}, {})

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps({"model": Bomb()}))
    torch.save({"model": Bomb()}, tmp_path / "zip.pt")
    for name in ("bomb.pt", "zip.pt"):
        with pytest.raises(ModelError, match="cannot be read"):
            yolo_detect.load({"weights": tmp_path / name}, {})
    assert not (tmp_path / "ran").exists()
