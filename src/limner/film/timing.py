"""Where everything lies in time. The voice leads: each length below follows from how long a scene is spoken, and none
is ever stored.

A shot is silent while it appears, speaks, and is silent while it goes. Neighbours overlap by one dissolve, which so
never falls on a word:

    shot 0   [dissolve in | lead | speech .......... | tail | dissolve]
    shot 1                                                  [dissolve | lead | speech ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DISSOLVE = 0.7  # seconds that two pictures share
REST = 0.25  # seconds of still air between a dissolve and the voice, on either side
LEAST_SPEECH = 1.2  # seconds that a shot stays when its words are few


@dataclass(frozen=True)
class Shot:
    """Frame counts of one shot; `start` counts from the film's first frame."""

    start: int
    frames: int
    dissolve: int
    fps: int
    speech: float  # seconds from the film's beginning to the first sample of the voice

    @property
    def lead(self) -> float:
        """Seconds from the shot's first frame to its voice."""
        return self.speech - self.start / self.fps


def dissolve_frames(fps: int) -> int:
    return max(1, round(DISSOLVE * fps))


def shot_frames(speech: float, fps: int) -> int:
    """Frames of a shot whose voice takes `speech` seconds, both dissolves included."""
    still = math.ceil((max(speech, LEAST_SPEECH) + 2 * REST) * fps)
    return still + 2 * dissolve_frames(fps)


def lay_out(speeches: Sequence[float], fps: int) -> list[Shot]:
    """The shots of a film whose voices take `speeches` seconds."""
    shots, start, dissolve = [], 0, dissolve_frames(fps)
    for speech in speeches:
        frames = shot_frames(speech, fps)
        shots.append(Shot(start, frames, dissolve, fps, (start + dissolve) / fps + REST))
        start += frames - dissolve
    return shots


def film_frames(shots: Sequence[Shot]) -> int:
    return shots[-1].start + shots[-1].frames
