"""The joints of a person, as OpenPose finds them: 18 points in the order of its COCO model.

Right and left are the person's. Points are x and y in pixels, where whole numbers are centres of pixels; NaN where the
joint isn't seen.
"""

from __future__ import annotations

import json

import numpy as np

from limner.errors import BadInput

JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
    "right ear", "left ear",
)  # fmt: skip
MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""In a mirrored picture joint k is what was joint MIRRORED[k]: right becomes left."""
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Where the 18 are among the 25 points of OpenPose's other model, which adds the middle of the hips and the feet."""


def joints(content: bytes, name: str) -> np.ndarray:
    """A file that OpenPose wrote (`--write_json`) as float32 (18, 2), of the person it is surest of. `BadInput`, with
    the file's `name`, if nobody is in it."""
    try:
        people = [np.array(one["pose_keypoints_2d"], np.float32) for one in json.loads(content)["people"]]
        points = [numbers.reshape(-1, 3) for numbers in people]
        points = [found[list(BODY_25)] if len(found) == 25 else found for found in points]
        if any(found.shape != (18, 3) for found in points):
            raise ValueError("a person has 18 or 25 points of x, y and confidence")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{name} holds no joints as OpenPose writes them: {error}.") from error
    if not points:
        raise BadInput(f"{name}: nobody was found in the picture.")
    surest = max(points, key=lambda found: float(found[:, 2].sum()))
    return np.where(surest[:, 2:] > 0, surest[:, :2], np.float32(np.nan))
