"""The decoder: whatever a file holds, it is a picture as people see it, or one `BadPicture`."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.data import decode
from limner.errors import BadPicture

ACROSS, DOWN = np.meshgrid(np.linspace(0, 255, 24, dtype=np.uint8), np.linspace(0, 255, 16, dtype=np.uint8))
RAMP = np.stack([ACROSS, DOWN, 255 - ACROSS], 2)


def encoded(picture: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGB", "PNG"), ("RGB", "BMP"), ("RGB", "TIFF"), ("RGBA", "PNG"), ("CMYK", "TIFF"), ("RGB", "PPM")],
)
def test_every_way_to_store_colours_gives_the_same_picture(mode: str, format: str) -> None:
    assert np.array_equal(decode.picture(encoded(Image.fromarray(RAMP).convert(mode), format), "x"), RAMP)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_files_are_near(format: str) -> None:
    found = decode.picture(encoded(RAMP, format, quality=95), "x")
    assert found.shape == RAMP.shape and np.abs(found.astype(int) - RAMP).mean() < 8


def test_grey_of_any_depth_is_grey() -> None:
    grey = RAMP[..., 0]
    wanted = np.stack([grey] * 3, 2)
    assert np.array_equal(decode.picture(encoded(grey), "x"), wanted)
    assert np.array_equal(decode.picture(encoded(grey.astype(np.uint16) * 257), "x"), wanted)
    assert np.array_equal(decode.picture(encoded(grey.astype(np.uint16) * 257, "TIFF"), "x"), wanted)
    assert np.array_equal(decode.picture(encoded(Image.fromarray(grey > 127)), "x")[..., 0], (grey > 127) * 255)


def test_what_is_transparent_is_white() -> None:
    alpha = np.zeros((16, 24), np.uint8)
    alpha[:, 12:] = 255
    for image in (
        Image.fromarray(np.dstack([RAMP, alpha])),
        Image.fromarray(np.dstack([RAMP, alpha])).quantize(64),
    ):
        found = decode.picture(encoded(image), "x")
        assert (found[:, :12] == 255).all() and found[:, 14:, 0].std() > 10
    single = encoded(RAMP, transparency=tuple(int(v) for v in RAMP[0, 0]))
    assert (decode.picture(single, "x")[0, 0] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_and_maps_stand_upright(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = Image.fromarray(RAMP)
    stored = stored.transpose(undo[orientation]) if orientation in undo else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode.picture(encoded(stored, exif=exif), "x"), RAMP)
    assert np.array_equal(decode.numbers(encoded(stored.getchannel(0), exif=exif), "x"), RAMP[..., 0])


@given(
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    st.integers(4, 9),
    st.integers(4, 9),
    st.integers(0, 2**16 - 1),
)
def test_maps_keep_their_numbers(dtype: type, height: int, width: int, seed: int) -> None:
    most = min(np.iinfo(dtype).max, 2**24)
    values = np.random.default_rng(seed).integers(0, most, (height, width)).astype(dtype)
    format = "TIFF" if dtype is np.int32 else "PNG"
    assert np.array_equal(decode.numbers(encoded(values, format), "x"), values)


def test_maps_may_be_palette_indices_or_grey_saved_as_colours() -> None:
    values = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24) % 21
    palette = Image.fromarray(values)
    palette.putpalette([number * 7 % 256 for number in range(768)])
    assert palette.mode == "P" and np.array_equal(decode.numbers(encoded(palette), "x"), values)
    assert np.array_equal(decode.numbers(encoded(np.stack([values] * 3, 2)), "x"), values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded(RAMP), "colours"),
        (encoded(RAMP[..., 0], "JPEG"), "Save maps as PNG"),
        (encoded(RAMP[..., 0], "WEBP"), "Save maps as PNG"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "number"),
    ],
    ids=["colours", "JPEG", "lossy WebP", "floats"],
)
def test_what_is_no_map_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(BadPicture, match=words):
        decode.numbers(content, "map.png")


def test_masks_are_white_where_something_is_to_be_done() -> None:
    drawn = np.zeros((16, 24, 3), np.uint8)
    drawn[4:8] = (250, 240, 255)
    for image in (drawn, drawn[..., 0], drawn[..., 0] > 0):
        mask = decode.mask(encoded(Image.fromarray(image)), "x")
        assert mask.dtype == bool and mask[4:8].all() and mask.sum() == 4 * 24


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"GIF89a", "no picture|damaged"),
        (b"%PDF-1.7 and so on", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "no picture"),
        (encoded(RAMP)[:-40], "damaged"),
        (encoded(RAMP, "JPEG")[:-200], "damaged"),
        (encoded(np.zeros((1, 1, 3), np.uint8)), "1x1"),
        (encoded(np.zeros((3, 400, 3), np.uint8)), "400x3"),
        (png_that_claims(10_000, 9_000), "megapixels"),
        (png_that_claims(100_000, 90_000), "megapixels"),
        (png_that_claims(40_000, 100), "megapixels"),
        (png_that_claims(64, 64), "damaged"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "floating point"),
        (encoded(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"), "16 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_picture_is_refused_by_name(content: bytes, words: str) -> None:
    with pytest.raises(BadPicture, match=words) as error:
        decode.picture(content, "holiday.png")
    assert "holiday.png" in str(error.value)


SEEDS = [
    encoded(RAMP),
    encoded(RAMP, "JPEG"),
    encoded(RAMP, "WEBP"),
    encoded(RAMP, "TIFF"),
    encoded(RAMP, "GIF"),
    encoded(RAMP, "BMP"),
]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_bad_picture_or_a_picture(content: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    damaged = damaged[: len(damaged) - min(cut, len(damaged) - 1)] if cut > 300 else damaged
    for read in (decode.picture, decode.numbers, decode.mask):
        with suppress(BadPicture):
            assert min(read(bytes(damaged), "x").shape[:2]) >= decode.SMALLEST_SIDE


@given(st.binary(max_size=300))
def test_noise_is_bad_picture(content: bytes) -> None:
    with pytest.raises(BadPicture):
        decode.picture(content, "x")
