"""The one decoder of picture files: for training, for `limner translate` and for `limner data check`.

Files come from anywhere, so that everything has a limit, and whatever is wrong with a file is one `BadPicture`.
Pictures come out as people see them: upright, 8 bit, RGB, transparent parts on white.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from limner.errors import BadPicture

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_FILE = 256 << 20  # bytes
LARGEST_AREA = 80_000_000  # pixels: 240 MB when decoded
SMALLEST_SIDE, LARGEST_SIDE = 4, 30_000  # pixels
UNKNOWN = 255
"""The number that class maps use for pixels of no class."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # none that calls another program


def picture(content: bytes, name: str) -> np.ndarray:
    """A picture file's content as uint8 (H, W, 3). `BadPicture`, with `name`, if it can't be."""
    from PIL import Image, ImageOps

    image = _opened(content, name)
    try:
        image = ImageOps.exif_transpose(image)  # cameras store how they were held
        if image.mode.startswith("I"):
            image = Image.fromarray(_eight_bits(image, name))
        elif image.mode == "F":
            raise BadPicture(f"{name} has floating point values, whose range nobody knows. Save it with 8 bits.")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))
    except BadPicture:
        raise
    except Exception as error:
        raise _broken(name, error) from error


def numbers(content: bytes, name: str) -> np.ndarray:
    """The class or instance numbers of a map's file as int32 (H, W): grey of 8, 16 or 32 bits, or palette indices."""
    from PIL import ImageOps

    image = _opened(content, name)
    if image.format == "JPEG" or (image.format == "WEBP" and not content[12:16] == b"VP8L"):
        raise BadPicture(f"{name} is a {image.format}, which blurs numbers. Save maps as PNG.")
    try:
        values = np.array(ImageOps.exif_transpose(image))
    except Exception as error:
        raise _broken(name, error) from error
    if values.ndim == 3 and values.shape[2] >= 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]  # grey, saved as RGB
    if values.ndim != 2 or image.mode == "F":
        raise BadPicture(
            f"{name} has colours ({image.mode}) where every pixel should be a number. Save numbers, as PNG."
        )
    if values.min() < 0:
        raise BadPicture(f"{name} has negative numbers.")
    return values.astype(np.int32)


def mask(content: bytes, name: str) -> np.ndarray:
    """A mask's file as bool (H, W): True where it is lighter than middle grey."""
    lightness: np.ndarray = picture(content, name).mean(2)
    return lightness > 127


def _opened(content: bytes, name: str) -> Image:
    """The file's picture, not yet decoded, within the limits."""
    from PIL import Image

    if not content:
        raise BadPicture(f"{name} is empty.")
    if len(content) > LARGEST_FILE:
        raise BadPicture(f"{name} has {len(content) >> 20} MB; the limit is {LARGEST_FILE >> 20} MB.")
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        width, height = image.size
    except Exception as error:  # Pillow's readers raise whatever their parsing runs into
        raise _broken(name, error) from error
    if width * height > LARGEST_AREA or max(width, height) > LARGEST_SIDE:
        raise BadPicture(f"{name} is {width}x{height}; the limit is {LARGEST_AREA // 1_000_000} megapixels. Shrink it.")
    if min(width, height) < SMALLEST_SIDE:
        raise BadPicture(f"{name} is {width}x{height}: there is nothing to see in so few pixels.")
    return image


def _eight_bits(image: Image, name: str) -> np.ndarray:
    """Grey of 16 bits, which Pillow would clip, as 8."""
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture(f"{name} has values beyond 16 bits. Save it with 8.")
    return ((values * 255 + 32767) // 65535).astype(np.uint8)


def _broken(name: str, error: Exception) -> BadPicture:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return BadPicture(f"{name} is far beyond the limit of {LARGEST_AREA // 1_000_000} megapixels. Shrink it.")
    if isinstance(error, UnidentifiedImageError):
        return BadPicture(f"{name} is no picture that can be read ({', '.join(_FORMATS)}).")
    return BadPicture(f"{name} is damaged: {str(error) or type(error).__name__}.")
