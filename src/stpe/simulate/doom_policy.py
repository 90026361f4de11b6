"""A scripted player that makes footage worth analysing: it explores, stops, fights and backs off.

It sees what the engine shows (the depth buffer and the labelled monsters in view) and is a pure
function of those and its own seeded random numbers, so an episode is decided by its seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FREE_UNITS = 260.0
NEAR_UNITS = 170.0
TURN_LIMIT_DEG = 4.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What the player sees in one tic.

    Attributes:
        free_units: for each of an odd number of directions across the view, left to right, how
            far it is free at eye height, in map units.
        field_of_view_deg: horizontal angle those directions span.
        monsters: (bearing in degrees, right positive; distance in map units) of each in view.
        speed_units: the player's speed in map units a tic.
    """

    free_units: NDArray[np.float32]
    field_of_view_deg: float
    monsters: tuple[tuple[float, float], ...]
    speed_units: float


@dataclass(frozen=True, slots=True)
class Act:
    """Buttons held for one tic, and the turn in degrees (right positive)."""

    buttons: frozenset[str]
    turn_deg: float


@dataclass(slots=True)
class Player:
    """The policy and what it remembers from one tic to the next."""

    seed: int
    tic: int = 0
    turn_deg: float = 0.0
    pause_until: int = 0
    look_deg: float = 0.0
    next_pause: int = 0
    strafe: str = "MOVE_LEFT"
    strafe_until: int = 0
    stuck: int = 0
    escape_until: int = 0
    escape_deg: float = 0.0
    wall_deg: float = 0.0
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.random.seed(self.seed)
        self.next_pause = self.random.randint(70, 140)

    def act(self, sight: Sight) -> Act:
        """The buttons for this tic."""
        self.tic += 1
        buttons, wish_deg = self._fight(sight) if sight.monsters else self._explore(sight)
        # A hand on a mouse has inertia: the turn follows the wish with a lag of a few tics.
        self.turn_deg += 0.35 * (np.clip(wish_deg, -TURN_LIMIT_DEG, TURN_LIMIT_DEG) - self.turn_deg)
        turn = 0.0 if abs(self.turn_deg) < 0.05 else round(float(self.turn_deg), 3)
        return Act(frozenset(buttons), turn)

    def _fight(self, sight: Sight) -> tuple[set[str], float]:
        bearing, distance = min(sight.monsters, key=lambda m: m[1])
        buttons: set[str] = set()
        if self.tic >= self.strafe_until:
            self.strafe = self.random.choice(("MOVE_LEFT", "MOVE_RIGHT", ""))
            self.strafe_until = self.tic + self.random.randint(18, 40)
        if abs(bearing) < 4.0:
            buttons.add("ATTACK")
        if distance > 450.0:
            buttons.add("MOVE_FORWARD")
        elif distance < NEAR_UNITS:
            buttons.add("MOVE_BACKWARD")
        elif self.strafe:
            buttons.add(self.strafe)
        return buttons, 0.3 * bearing

    def _explore(self, sight: Sight) -> tuple[set[str], float]:
        if self.tic < self.pause_until:
            return set(), self.look_deg
        if self.tic < self.escape_until:
            return {"MOVE_BACKWARD"} if self.tic % 40 < 12 else set(), self.escape_deg
        self.stuck = self.stuck + 1 if sight.speed_units < 1.0 else 0
        if self.stuck > 12:
            self.stuck = 0
            self.escape_until = self.tic + self.random.randint(20, 35)
            self.escape_deg = self.random.choice((-TURN_LIMIT_DEG, TURN_LIMIT_DEG))
        free = sight.free_units
        middle = len(free) // 2
        ahead = float(free[middle - 1 : middle + 2].min())
        if self.tic >= self.next_pause and ahead > 2 * FREE_UNITS:
            self.pause_until = self.tic + self.random.randint(25, 50)
            self.next_pause = self.pause_until + self.random.randint(90, 180)
            self.look_deg = self.random.choice((0.0, -2.0, 2.0))
            return set(), self.look_deg
        bearings = np.linspace(-0.5, 0.5, len(free)) * sight.field_of_view_deg
        # Towards open space, but rather straight on: a smooth path looks round less.
        liking = np.minimum(free, 1200.0) * np.cos(np.radians(bearings))
        wish = 0.06 * float(bearings[int(np.argmax(liking))])
        wish += 0.8 * math.sin(self.tic / 23.0)
        if ahead >= FREE_UNITS:
            self.wall_deg = 0.0
        elif not self.wall_deg:  # chosen once a wall, or the player would dither in a corner
            left, right = float(free[:middle].mean()), float(free[middle + 1 :].mean())
            self.wall_deg = TURN_LIMIT_DEG if right >= left else -TURN_LIMIT_DEG
        wish = self.wall_deg or wish
        return ({"MOVE_FORWARD"} if ahead > 60.0 else set()), wish


@dataclass(slots=True)
class RandomPlayer:
    """Presses random buttons for random times and turns by random amounts, whatever it sees."""

    seed: int
    turn_deg: float = 0.0
    wish_deg: float = 0.0
    until: int = 0
    tic: int = 0
    buttons: frozenset[str] = frozenset()
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.random.seed(self.seed)

    def act(self, sight: Sight) -> Act:
        """The buttons for this tic."""
        if self.tic >= self.until:
            self.until = self.tic + self.random.randint(5, 40)
            names = ("MOVE_FORWARD", "MOVE_FORWARD", "MOVE_BACKWARD", "MOVE_LEFT", "MOVE_RIGHT")
            held = self.random.sample(names, self.random.randint(0, 2))
            self.buttons = frozenset([*held, *(["ATTACK"] if self.random.random() < 0.2 else [])])
            still = self.random.random() < 0.3
            limit = TURN_LIMIT_DEG
            self.wish_deg = 0.0 if still else self.random.uniform(-limit, limit)
        self.tic += 1
        self.turn_deg += 0.35 * (self.wish_deg - self.turn_deg)
        turn = 0.0 if abs(self.turn_deg) < 0.05 else round(self.turn_deg, 3)
        return Act(self.buttons, turn)
