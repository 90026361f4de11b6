"""The names of COCO's categories (Lin et al. 2014, arXiv:1405.0312) by their number.

Networks trained on COCO with its own numbers have 91 classes: 0 is nothing, and eleven numbers of
the 90 were never used.
"""

from __future__ import annotations

_NAMES = """
- person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign
parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - -
handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard
surfboard tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed - dining_table - - toilet - tv
laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator - book clock vase
scissors teddy_bear hair_drier toothbrush
"""

#: 91 names; None for a number without a category.
CATEGORIES: tuple[str | None, ...] = tuple(
    None if name == "-" else name.replace("_", " ") for name in _NAMES.split()
)
