import pytest

from stpe import open_dataset
from stpe.demo import run
from stpe.errors import UsageError


@pytest.mark.weights
def test_demo_makes_everything_and_does_nothing_the_second_time(tmp_path):
    pytest.importorskip("vizdoom")
    out = tmp_path / "demo"
    first = run(out, seconds=1.0)
    for path in first.files.values():
        assert path.stat().st_size > 1000
    assert {"video", "sheet"} <= first.files.keys()
    assert open_dataset(out).tables["frames"] == 2
    assert first.summary
    assert str(out) in "\n".join(first.lines())
    assert first.card.row("motion.camera_rotation_deg rotation error, median").n > 1
    assert str(first.page) in first.lines()[-1]
    assert "<svg" in first.page.read_text()
    again = run(out, seconds=1.0)
    assert again.result.videos[0].status == "unchanged"
    with pytest.raises(UsageError, match="another recording"):
        run(out, seconds=1.0, seed=5)
