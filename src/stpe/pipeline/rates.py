"""What work costs beside the calls of models, in processor seconds, for `stpe plan`.

From the run in benchmarks/results/pipeline-2026-11-27.md, on two cores with nothing else at work:
60 s of 1280x720 took 104.5 s, and the plan says 99 s. `benchmarks/beside_models.py` lists a run's
costs beside the plan's. What lies in the picture changes them by half or twice, and a machine that
is busy with something else needs longer.
"""

from __future__ import annotations

#: A megapixel of source that is decoded and brought to the grids' sizes.
DECODING_S = 0.0031
#: Imports, and reading and compiling the models of a plan: a model.
STARTING_S = 1.0
#: An analysed frame that is brought into tables, artifacts and the dataset.
WRITING_S = 0.02
#: Share of the cores that a run keeps busy.
BUSY = 0.86
#: A frame of the stage's grid: masks for a segmenter's prompts, regions, appearance, scaling.
BESIDE_MODELS_S = {"objects": 0.28, "features": 0.022, "flow": 0.008, "clips": 0.001}
#: An interval of the motion grid, in stages that have rows and no pixels.
BY_INTERVAL_S = {"camera": 0.0083}
#: An analysed frame, in stages that have rows and no pixels.
BY_FRAME_S = {"object_motion": 0.02}
