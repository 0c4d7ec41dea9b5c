"""Segments and films: what a player will find in the file, and what is left when the disk is full."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from limner.errors import BadInput
from limner.film.encode import encode_segment, frame_from, join_film
from limner.film.planes import to_i420
from limner.film.subtitles import Cue

SIZE, FPS = (320, 180), 24
COLOURS = [(200, 40, 30), (30, 160, 60), (40, 60, 200)]
CUES = [Cue(0.5, 1.5, "Hello there, old fox", (), (13,)), Cue(2.0, 2.75, "狐狸 & <b>عنب</b>", ())]
CHAPTERS = [(0.0, "The Fox — première"), (1.0, "狐狸"), (2.0, "عنب")]


def plain(colour: tuple[int, int, int], frames: int) -> list[np.ndarray]:
    picture = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
    return [picture] * frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments, one given as RGB and two as I420, in a folder with spaces and letters of several scripts."""
    place = tmp_path_factory.mktemp("films") / "mes films élégants 狐"
    for number, colour in enumerate(COLOURS):
        frames = plain(colour, 24)
        count = encode_segment(
            frames if number == 0 else map(to_i420, frames),
            place / f"scene {number}.mp4",
            size=SIZE,
            fps=FPS,
            quality="draft",
        )
        assert count == 24
    return place


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    rate = 22050
    sound = np.zeros(3 * rate, np.float32)
    sound[2 * rate : 2 * rate + 2000] = 0.5 * np.sin(np.arange(2000) * 0.3)
    path = folder / "film ü.mp4"
    join_film(
        path,
        [folder / f"scene {n}.mp4" for n in range(3)],
        sound=(sound, rate),
        fps=FPS,
        chapters=CHAPTERS,
        subtitles=CUES,
        language="fr-CA",
        metadata={"title": "Le renard et les raisins", "artist": "Ésope", "comment": '{"seed": 1}'},
    )
    return path


def test_every_frame_is_there_at_its_time(film: Path) -> None:
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert times == [Fraction(n, FPS) for n in range(72)]
        assert (stream.width, stream.height, stream.average_rate) == (*SIZE, FPS)
    for number, colour in enumerate(COLOURS):
        for seconds in (number, number + 23.5 / 24):
            assert np.abs(frame_from(film, seconds).mean(axis=(0, 1)) - colour).max() < 4


def test_colours_are_tagged(film: Path) -> None:
    with av.open(str(film)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range) == (1, 1, 1, 1)
        assert codec.pix_fmt == "yuv420p"


def test_groups_of_pictures_are_closed_and_short(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = (rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(50))
    encode_segment(frames, tmp_path / "noise.mp4", size=SIZE, fps=FPS, quality="draft")
    with av.open(str(tmp_path / "noise.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == [0, 24, 48]
    for key in keys[1:]:
        assert all(packet.pts > packets[key].pts for packet in packets[key + 1 :])


def test_chapters_subtitles_and_metadata_come_back(film: Path) -> None:
    with av.open(str(film)) as container:
        chapters = container.chapters()
        assert [chapter["metadata"]["title"] for chapter in chapters] == [title for _, title in CHAPTERS]
        assert [float(chapter["start"] * chapter["time_base"]) for chapter in chapters] == [0, 1, 2]
        assert container.metadata["title"] == "Le renard et les raisins"
        assert container.metadata["artist"] == "Ésope"
        assert container.metadata["comment"] == '{"seed": 1}'
        track = container.streams.subtitles[0]
        assert track.metadata["language"] == "fra"
        assert track.codec_context.name == "mov_text"
        shown = [
            (packet.pts, packet.duration, bytes(packet)[2:].decode())
            for packet in container.demux(track)
            if packet.size > 2
        ]
    assert shown == [(500, 1000, "Hello there,\nold fox"), (2000, 750, "狐狸 & <b>عنب</b>")]


def test_sound_is_in_time_with_the_picture(film: Path) -> None:
    with av.open(str(film)) as container:
        stream = container.streams.audio[0]
        blocks = [(frame.time, frame.to_ndarray()[0]) for frame in container.decode(stream)]
        assert stream.rate == 48000
    heard = np.concatenate([samples for _, samples in blocks])
    onset = blocks[0][0] + np.flatnonzero(np.abs(heard) > 0.1)[0] / 48000
    assert onset == pytest.approx(2.0, abs=0.02)
    assert len(heard) / 48000 == pytest.approx(3.0, abs=0.1)


def test_the_index_comes_first(film: Path) -> None:
    data = film.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_pictures_are_copied_not_encoded_again(film: Path, folder: Path) -> None:
    def payload(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert payload(film) == [data for n in range(3) for data in payload(folder / f"scene {n}.mp4")]


def test_the_same_frames_make_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    encode_segment(plain(COLOURS[0], 24), again, size=SIZE, fps=FPS, quality="draft")
    assert again.read_bytes() == (folder / "scene 0.mp4").read_bytes()


def test_segments_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.mp4"
    encode_segment([np.zeros((96, 128, 3), np.uint8)] * 3, odd, size=(128, 96), fps=FPS, quality="draft")
    target = tmp_path / "film.mp4"
    target.write_bytes(b"the old film")
    with pytest.raises(BadInput, match=r"odd\.mp4"):
        join_film(target, [folder / "scene 0.mp4", odd], sound=(np.zeros(10, np.float32), 22050), fps=FPS)
    (tmp_path / "broken.mp4").write_bytes(b"not a segment")
    with pytest.raises(BadInput):
        join_film(target, [tmp_path / "broken.mp4"], sound=(np.zeros(10, np.float32), 22050), fps=FPS)
    assert target.read_bytes() == b"the old film"
    assert {path.name for path in tmp_path.iterdir()} == {"odd.mp4", "film.mp4", "broken.mp4"}


def test_bad_frames_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "scene.mp4"
    with pytest.raises(BadInput, match="even"):
        encode_segment([], path, size=(321, 180), fps=FPS)
    with pytest.raises(BadInput, match="at least one frame"):
        encode_segment([], path, size=SIZE, fps=FPS)
    with pytest.raises(BadInput, match="Frame 1 is"):
        encode_segment([*plain(COLOURS[0], 1), np.zeros((64, 64, 3), np.uint8)], path, size=SIZE, fps=FPS)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from limner.errors import DiskFull
from limner.film.encode import encode_segment, join_film

folder, target = Path(sys.argv[1]), Path(sys.argv[2])
sound = np.random.default_rng(0).normal(0, 0.1, 22050 * 30).astype(np.float32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
for write in (
    lambda: join_film(target, [folder / "scene 0.mp4"], sound=(sound, 22050), fps=24),
    lambda: encode_segment(
        (np.random.default_rng(n).integers(0, 256, (180, 320, 3), np.uint8) for n in range(24)),
        target, size=(320, 180), fps=24, quality="draft"),
):
    try:
        write()
    except DiskFull as problem:
        print("full:", problem)
"""


@pytest.mark.parametrize("room", [10, 100_000])
def test_a_full_disk_leaves_the_old_film(folder: Path, tmp_path: Path, room: int) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"the old film")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(target), str(room)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("full:") == 2, done.stdout + done.stderr
    assert target.read_bytes() == b"the old film"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
