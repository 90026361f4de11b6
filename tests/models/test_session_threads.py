import subprocess
import sys
import threading

import numpy as np
import pytest

from stpe.models import loader

#: What the binding does in every inference, in threads of a process that ran none yet, which change
#: places as often as Python lets them.
FIRST_LOOKS = """
import sys, threading
import openvino as ov
import stpe.models.backends.openvino.session

start = threading.Barrier(4)
sys.setswitchinterval(1e-6)

def look():
    start.wait()
    ov.Type.f32.to_dtype()

threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_different_graphs_may_be_first_at_once():
    for _ in range(4):
        subprocess.run([sys.executable, "-c", FIRST_LOOKS], check=True, timeout=30)


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
