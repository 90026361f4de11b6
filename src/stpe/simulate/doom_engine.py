"""The recording process: drives the game engine and writes video, state log and truth.

Run as `python -m stpe.simulate.doom_engine OUT` with the settings as JSON on standard input.
It is a process of its own because the engine and an inference runtime in one process can hang.

Measured on this engine: the game's world is drawn 1.2 times taller than wide, so the focal length
is 320 px across and 384 px down at 640x480. Depth: on level floors, where the row says how far a
pixel is, value d covers 7.163 d + 10.85 to 7.163 (d + 1) + 10.85 units, the same in every scenario
and resolution; `offset` is the middle of value 0. tests/simulate holds the proof by reprojection.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.rle import encode_mask
from stpe.simulate.doom_policy import Act, Player, RandomPlayer, Sight
from stpe.simulate.moving import Still, Window
from stpe.simulate.recording import Recorder
from stpe.simulate.truth_files import TruthWriter

TICS_PER_S = 35
UNITS_PER_METRE = 32.0  # the usual reading of the map unit: a player is 56 units tall
VERTICAL_STRETCH = 1.2
DEPTH = {"step": 7.163, "offset": 14.43, "saturated": 255}
#: Tics before and after that an object's velocity is the mean over: figures walk in steps of 3, 4.
HALF_WINDOW = 4
#: Units a second. Things that lie are exactly still; the slowest monster walks at 35.
STILL = Still(static_below=1.0, moving_above=4.0)
#: Speed of the player, units a second, below which he stands.
_STANDS = 5.0
#: Played before the recording begins, because monsters arrive over the first seconds.
WARM_UP_TICS = 12 * TICS_PER_S
_BUTTONS = ("MOVE_FORWARD", "MOVE_BACKWARD", "MOVE_LEFT", "MOVE_RIGHT", "ATTACK")
_AXES = ("X", "Y", "Z")
_VARIABLES = (
    *(f"{name}_{axis}" for name in ("POSITION", "VELOCITY", "CAMERA_POSITION") for axis in _AXES),
    *("ANGLE", "PITCH", "CAMERA_ANGLE", "CAMERA_FOV"),
    *("HEALTH", "ARMOR", "SELECTED_WEAPON_AMMO", "KILLCOUNT"),
)


def _game(settings: dict[str, Any]) -> Any:
    import vizdoom

    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / f"{settings['scenario']}.cfg"))
    width, height = settings["resolution"]
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{width}X{height}"))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_depth_buffer_enabled(True)
    game.set_labels_buffer_enabled(True)
    game.set_objects_info_enabled(True)
    game.set_render_hud(False)
    game.set_render_weapon(True)
    game.set_render_crosshair(False)
    game.set_render_screen_flashes(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_episode_timeout(0)
    game.set_seed(settings["seed"])
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in _BUTTONS])
    game.add_available_button(vizdoom.Button.TURN_LEFT_RIGHT_DELTA)
    game.set_available_game_variables([getattr(vizdoom.GameVariable, n) for n in _VARIABLES])
    game.init()
    return game


def _states(
    game: Any, player: Player | RandomPlayer, count: int
) -> Iterator[tuple[int, int, Any, Act]]:
    """(episode, tic, engine state, action taken next) of `count` frames after the warm-up."""
    episode, made = 0, -WARM_UP_TICS
    while made < count:
        game.new_episode()
        while made < count and not game.is_episode_finished() and not game.is_player_dead():
            state = game.get_state()
            if state is None:
                break
            act = player.act(_sight(state))
            if made >= 0:
                yield episode, game.get_episode_time(), state, act
            made += 1
            game.make_action([name in act.buttons for name in _BUTTONS] + [act.turn_deg])
        episode += 1


def _variables(state: Any) -> dict[str, float]:
    return dict(zip(_VARIABLES, (float(v) for v in state.game_variables), strict=True))


def _sight(state: Any) -> Sight:
    depth_HW = state.depth_buffer
    height, width = depth_HW.shape
    values = _variables(state)
    band = depth_HW[int(0.42 * height) : int(0.51 * height)]
    parts = np.array_split(band, 21, axis=1)
    free = np.array([np.percentile(part, 20) for part in parts], np.float32) * DEPTH["step"]
    focal = _focal(width, values["CAMERA_FOV"])
    monsters = []
    for label in state.labels:
        if label.object_category == "Monster" and label.width * label.height > 60:
            middle = label.x + label.width / 2 - width / 2
            distance = math.hypot(
                label.object_position_x - values["CAMERA_POSITION_X"],
                label.object_position_y - values["CAMERA_POSITION_Y"],
            )
            monsters.append((math.degrees(math.atan2(middle, focal)), distance))
    speed = math.hypot(values["VELOCITY_X"], values["VELOCITY_Y"])
    return Sight(free, values["CAMERA_FOV"], tuple(monsters), speed)


def _focal(width: int, fov_deg: float) -> float:
    return width / 2 / math.tan(math.radians(fov_deg) / 2)


def _camera_to_world(values: dict[str, float]) -> NDArray[np.float64]:
    yaw = math.radians(values["CAMERA_ANGLE"])
    # The engine shears the picture for pitch instead of turning the camera; the policy never
    # looks up or down, so pitch is zero and the optical axis is level.
    right = (math.sin(yaw), -math.cos(yaw), 0.0)
    down = (0.0, 0.0, -1.0)
    forward = (math.cos(yaw), math.sin(yaw), 0.0)
    place = tuple(values[f"CAMERA_POSITION_{axis}"] for axis in _AXES)
    pose = np.eye(4)
    pose[:3] = np.array([right, down, forward, place]).T
    return pose


def _objects(
    state: Any, episode: int, frame: int, pose: NDArray[np.float64]
) -> list[dict[str, Any]]:
    rows = []
    for label in state.labels:
        mask_HW = state.labels_buffer == label.value
        columns, lines = np.flatnonzero(mask_HW.any(0)), np.flatnonzero(mask_HW.any(1))
        if not len(columns):
            continue
        own = label.object_category == "Self"
        place = [getattr(label, f"object_position_{axis}") for axis in "xyz"]
        speed = [getattr(label, f"object_velocity_{axis}") * TICS_PER_S for axis in "xyz"]
        rows.append(
            {
                "frame_index": frame,
                "object_id": label.object_id,
                "episode": episode,
                "label": label.object_name,
                "category": label.object_category,
                "box_xyxy": [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1],
                "area_px": int(mask_HW.sum()),
                "mask_rle": encode_mask(mask_HW),
                "position": None if own else place,
                "velocity": None if own else speed,
                "moving": None,
                "distance_units": None
                if own
                else float((np.array(place) - pose[:3, 3]) @ pose[:3, 2]),
            }
        )
    return rows


def _activity(values: dict[str, float], act: Act, hurt: bool) -> str:
    """The player's state: hurt, attacking, moving, turning or standing, the first that holds."""
    if hurt:
        return "hurt"
    if "ATTACK" in act.buttons:
        return "attacking"
    if math.hypot(values["VELOCITY_X"], values["VELOCITY_Y"]) * TICS_PER_S >= _STANDS:
        return "moving"
    return "turning" if act.turn_deg else "standing"


def _frame(
    values: dict[str, float],
    episode: int,
    tic: int,
    index: int,
    act: Act,
    pose: NDArray[Any],
    hurt: bool,
) -> dict[str, Any]:
    return {
        "frame_index": index,
        "pts": index / TICS_PER_S,
        "episode": episode,
        "tic": tic,
        "buttons": sorted(act.buttons),
        "turn_deg": act.turn_deg,
        "position": [values[f"POSITION_{axis}"] for axis in _AXES],
        "velocity": [values[f"VELOCITY_{axis}"] * TICS_PER_S for axis in _AXES],
        "angle_deg": values["ANGLE"],
        "pitch_deg": values["PITCH"],
        "health": values["HEALTH"],
        "armor": values["ARMOR"],
        "ammo": values["SELECTED_WEAPON_AMMO"],
        "kills": int(values["KILLCOUNT"]),
        "activity": _activity(values, act, hurt),
        "camera_to_world": pose.ravel().tolist(),
    }


def _log(frame: dict[str, Any]) -> dict[str, Any]:
    """The row a game would log: state and inputs, as `stpe.narrate.state` reads them."""
    speed = math.hypot(*frame["velocity"][:2])
    turning = [] if not frame["turn_deg"] else ["TURN_" + ("RIGHT", "LEFT")[frame["turn_deg"] < 0]]
    return {
        "game": "doom",
        "time": frame["pts"],
        "frame": frame["frame_index"],
        "episode": frame["episode"],
        "player": {
            "position": frame["position"],
            "velocity": frame["velocity"],
            "speed": round(speed, 3),
            "angle_deg": frame["angle_deg"],
            "pitch_deg": frame["pitch_deg"],
            "state": frame["activity"],
        },
        "health": frame["health"],
        "armor": frame["armor"],
        "ammo": frame["ammo"],
        "kills": frame["kills"],
        "inputs": frame["buttons"] + turning,
        "turn_deg": frame["turn_deg"],
    }


def main(out: Path, settings: dict[str, Any]) -> None:
    """Record one video and its truth into the existing folder `out`."""
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    os.chdir(out.parent)  # the engine leaves settings in the working folder, which is scratch
    width, height = settings["resolution"]
    game = _game(settings)
    player = (Player if settings["policy"] == "scripted" else RandomPlayer)(settings["seed"])
    window = Window(HALF_WINDOW, TICS_PER_S, STILL)
    try:
        with (
            Recorder(out / "episode.mp4", (width, height), TICS_PER_S) as video,
            TruthWriter(out, _facts(settings)) as truth,
        ):
            health, before = math.nan, -1
            for index, (episode, tic, state, act) in enumerate(
                _states(game, player, settings["frames"])
            ):
                values = _variables(state)
                pose = _camera_to_world(values)
                hurt = episode == before and values["HEALTH"] < health
                health, before = values["HEALTH"], episode
                frame = _frame(values, episode, tic, index, act, pose, hurt)
                video.write(np.ascontiguousarray(state.screen_buffer))
                places = {o.id: (o.position_x, o.position_y, o.position_z) for o in state.objects}
                rows = _objects(state, episode, index, pose)
                rest = (frame, state.depth_buffer, _log(frame))
                for objects, known in window.push(episode, places, rows, rest):
                    truth.write(*known, objects=objects)
            for objects, known in window.flush():
                truth.write(*known, objects=objects)
    finally:
        game.close()


def _facts(settings: dict[str, Any]) -> dict[str, Any]:
    import vizdoom

    width, height = settings["resolution"]
    fx = _focal(width, 90.0)
    return {
        "engine": f"vizdoom {vizdoom.__version__}",
        "scenario": settings["scenario"],
        "seed": settings["seed"],
        "fps": TICS_PER_S,
        "width": width,
        "height": height,
        "units_per_metre": UNITS_PER_METRE,
        "intrinsics": {
            "fx": fx,
            "fy": fx * VERTICAL_STRETCH,
            "cx": width / 2,
            "cy": height / 2,
        },
        "depth": DEPTH,
        "policy": settings["policy"],
        "moving": {
            "static_below": STILL.static_below,
            "moving_above": STILL.moving_above,
            "window_s": 2 * HALF_WINDOW / TICS_PER_S,
        },
        "conventions": "see stpe.simulate.truth_files",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
