import threading

import numpy as np
import pytest

from stpe.models import loader


@pytest.mark.weights
def test_two_threads_may_be_first_at_once():
    model = loader.load(loader.resolve("embedded", {}).models["shot_detector"])
    frames = np.random.default_rng(0).integers(0, 255, (60, 27, 48, 3), dtype=np.uint8)
    threads = [
        threading.Thread(target=model.transitions, args=(frames,), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    model.close()
