"""Frames in two layouts, told apart by their shape, and the one place where colour is converted.

RGB is uint8 (H, W, 3). I420 is uint8 (H * 3 / 2, W): the luma plane, then both chroma planes at half size, in
BT.709 with limited range, which is what the encoder takes. A picture is converted once and then moved, dissolved
and captioned in I420: half the bytes, and no conversion of every frame. Every function of the film takes both
layouts and returns what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from limner.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frame: TypeAlias = "NDArray[np.uint8]"


def size_of(frame: Frame) -> tuple[int, int]:
    """(width, height) in pixels of a frame in either layout."""
    return (frame.shape[1], frame.shape[0] if frame.ndim == 3 else frame.shape[0] * 2 // 3)


def planes(frame: Frame) -> tuple[Frame, Frame, Frame]:
    """Views (H, W), (H/2, W/2), (H/2, W/2) of the luma and chroma planes of an I420 frame."""
    width, height = size_of(frame)
    chroma = frame[height:].reshape(2, height // 2, width // 2)
    return frame[:height], chroma[0], chroma[1]


def to_i420(picture: Frame) -> Frame:
    """RGB to I420 by swscale: BT.709, limited range (pure red has luma 63). Odd sizes lose their last row or column."""
    if picture.ndim == 2:
        return picture
    height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
    av = _av()
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
    return np.asarray(_reformat(frame, "yuv420p", into=True).to_ndarray())


def to_rgb(frame: Frame) -> Frame:
    """I420 to RGB by swscale."""
    if frame.ndim == 3:
        return frame
    av = _av()
    return np.asarray(
        _reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="yuv420p"), "rgb24", into=False
        ).to_ndarray()
    )


def blend(a: Frame, b: Frame, share: float) -> Frame:
    """`a` and `b` of one layout and size, mixed: `share` 0 is all `a`, 1 all `b`."""
    return np.asarray(Image.blend(Image.fromarray(a), Image.fromarray(b), share))


def _reformat(frame: Any, layout: str, *, into: bool) -> Any:
    """Into or out of BT.709 with limited range; the other side is full-range RGB."""
    from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

    rgb, yuv = ColorRange.JPEG, ColorRange.MPEG
    return VideoReformatter().reformat(
        frame,
        format=layout,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=rgb if into else yuv,
        dst_color_range=yuv if into else rgb,
    )


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra("Making films", "film") from None
    return av
