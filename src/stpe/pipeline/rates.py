"""Processor seconds of work that the catalog's cost of a model does not count, for `stpe plan`.

From `benchmarks/results/pipeline-2026-11-27.md`: on two cores with bfloat16 and nothing else at
work, a minute of 720p took 104.5 s, and the plan says 102 s. `benchmarks/beside_models.py` lists a
run's costs beside the plan's. What is in the picture changes them by half or twice, and a machine
that is busy with something else needs longer.
"""

from __future__ import annotations

#: Share of the cores that a run keeps busy.
BUSY = 0.86
#: Times the cost of an OpenVINO model where the processor does not multiply bfloat16 in hardware.
WITHOUT_BF16 = 2.5
#: Imports, and reading and compiling a model: of each model of a plan.
STARTING_S = 1.2
#: Decoding, and bringing to the grids' sizes: a megapixel of the source.
DECODING_S = 0.0031
#: Rows, artifacts and the dataset's tables: an analysed frame.
WRITING_S = 0.02
#: Further calls of a role's model: a frame. A segmenter decodes about 16 prompts.
CALLS_S = {"segmenter": 0.2}
#: The stage's own code: a frame of its grid.
BY_FRAME_S = {"objects": 0.08, "features": 0.022, "flow": 0.008, "view_shift": 0.0015}
#: Likewise of stages that see rows and no pixels: an interval of the motion grid,
BY_INTERVAL_S = {"camera": 0.0083}
#: or an analysed frame.
BY_ROW_S = {"object_motion": 0.015, "object_depth": 0.015, "tracklets": 0.01, "tracks": 0.01}
