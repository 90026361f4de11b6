"""How the Rerun viewer arranges what a recording holds: a tab a video, a view a kind."""

from __future__ import annotations

from typing import Any

from stpe.dataset.export.part import Part
from stpe.dataset.export.scene import names
from stpe.dataset.reader import Dataset

#: Entities drawn over each other in the picture's view.
_PICTURE = ("frame", "masks", "boxes", "joints", "velocity")
#: Views that are there where any row has a value: entity, then the column.
_MAPS = (
    ("depth", "frames", "depth"),
    ("geometric_depth", "frames", "geometric_depth"),
    ("flow", "motion", "flow"),
)


def blueprint(dataset: Dataset, part: Part) -> Any:
    """The viewer's layout of a part."""
    import rerun.blueprint as rrb

    def there(table: str, column: str) -> bool:
        return dataset.rows.nulls(table, column) < dataset.tables[table]

    maps = [entity for entity, table, column in _MAPS if there(table, column)]
    path = there("frames", "camera_to_world")
    tabs = []
    for name in names(dataset, part).values():
        views: list[Any] = [
            rrb.Spatial2DView(
                origin=f"/{name}", contents=[f"$origin/{e}/**" for e in _PICTURE], name=name
            )
        ]
        beside = [
            rrb.Spatial2DView(origin=f"/{name}/{e}", contents=["$origin"], name=e) for e in maps
        ]
        if path:
            beside.append(rrb.Spatial3DView(origin=f"/{name}/path", name="camera path"))
        if beside:
            views.append(rrb.Tabs(*beside))
        tabs.append(
            rrb.Vertical(
                rrb.Horizontal(*views),
                rrb.Horizontal(
                    rrb.TextDocumentView(origin=f"/{name}/caption", name="caption"),
                    rrb.TextLogView(origin=f"/{name}/events", name="events"),
                    rrb.TimeSeriesView(origin=f"/{name}/camera", name="camera"),
                ),
                row_shares=[3, 1],
                name=name,
            )
        )
    return rrb.Blueprint(rrb.Tabs(*tabs), rrb.TimePanel(timeline="pts"))
