"""What a vision-language model says of each frame, told the facts, and where they contradict it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from stpe import strict_json
from stpe.models.captioning import LEVELS, NoAnswerError
from stpe.narrate.contradictions import contradictions
from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, Output, Stage, Window

_COLUMNS = ("vlm_brief", "vlm_normal", "vlm_detailed", "vlm_contradictions")
_CARRIED = pa.schema([("shot_id", pa.int32()), ("measured", pa.string()), ("said", pa.string())])


class VlmCaptions(Stage):
    """One generation a frame, beside the narrator's captions, which stay what they are.

    The model gets the frame, the narrator's detailed caption as facts, what was measured and said
    of the frame before within the same shot, and the user's context.
    """

    name = "vlm_captions"
    reads = ("frames.caption_normal", "frames.caption_detailed", "frames.caption_facts")
    optional = ("frames.shot_id",)
    writes = tuple(f"frames.{column}" for column in _COLUMNS)
    roles = ("captioner",)
    options = ("context",)
    grid = ANALYSIS
    ordered = True

    def process(self, window: Window) -> Output:
        """Ask about one frame."""
        (frame,) = window.core_frames
        (row,) = window.rows["frames"].to_pylist()
        captioner: Any = self.models["captioner"]
        shot, before = row.get("shot_id"), ""
        if window.state is not None:
            (last,) = window.state.to_pylist()
            if last["shot_id"] == shot:
                before = f"Measured then: {last['measured']}\nSaid then: {last['said']}"
        try:
            told = captioner.caption(
                [frame.image], row["caption_detailed"], self.request.context, before
            )
        except NoAnswerError:
            told = {}
        texts = [told.get(level) for level in LEVELS]
        against = None
        if told:
            claims = json.loads(row["caption_facts"] or "[]")
            found = contradictions([text for text in texts if text], claims)
            against = strict_json.dumps(found, ensure_ascii=False, sort_keys=True)
        values = {"frame_index": [frame.index], "pts": [frame.pts]}
        values |= {name: [v] for name, v in zip(_COLUMNS, (*texts, against), strict=True)}
        carried = {"shot_id": shot, "measured": row["caption_normal"], "said": texts[1] or ""}
        return Output(
            {"frames": pa.table(values, schema("frames", _COLUMNS))},
            pa.Table.from_pylist([carried], _CARRIED),
        )
