"""Films edited by instruction: what frames see of each other, and how much they flicker."""

import errno
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from limner.errors import BadInput, DiskFull
from limner.metrics.flicker import Flicker
from limner.systems.diffusion.film_edit import edit_film
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import Autoencoder, TextTower, UNet
from limner.systems.diffusion.tokens import vocabulary

WORDS = ("make", "it", "night", "day")
ORDER = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model():
    config = InstructPix2Pix.Config(
        autoencoder=Autoencoder(widths=(32, 32), blocks=1),
        text=TextTower(vocabulary=len(vocabulary(WORDS)[0]), width=32, depth=1, heads=1, hidden=32),
        unet=UNet(widths=(32, 64), attention=(True, True), blocks=1, heads=2),
        size=(16, 32),
        words=WORDS,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = InstructPix2Pix(config).eval()
        torch.nn.init.normal_(made.unet.conv_in.weight, 0, 0.3)  # so that it sees the picture
    return made


def film(count=4, noise=6):
    """A still scene, filmed with a little noise."""
    draw = np.random.default_rng(0)
    scene = draw.integers(40, 200, (16, 32, 3))
    return [(scene + draw.integers(-noise, noise + 1, scene.shape)).astype(np.uint8) for _ in range(count)]


def test_the_first_frame_is_edited_as_a_picture(model):
    frames = list(edit_film(model, film(2), "make it night", seed=3, **ORDER))
    alone = model.edit(film(1)[0], "make it night", seed=3, **ORDER)
    assert np.array_equal(frames[0], alone.pictures[0])
    assert model.unet.attn_processors.keys()  # and the network is as it was
    again = model.edit(film(1)[0], "make it night", seed=3, **ORDER)
    assert np.array_equal(again.pictures, alone.pictures)


def test_frames_look_at_the_first_and_the_one_before(model):
    frames = film(4)
    plain = list(edit_film(model, frames, "make it night", **ORDER))
    for changed in (0, 1, 2):
        other = [255 - frame if i == changed else frame for i, frame in enumerate(frames)]
        found = list(edit_film(model, other, "make it night", **ORDER))
        same = [np.array_equal(a, b) for a, b in zip(plain, found, strict=True)]
        assert same == [i < changed for i in range(4)]  # all that come after know of it
    apart = list(edit_film(model, frames, "make it night", together=False, **ORDER))
    other = list(edit_film(model, [255 - frames[0], *frames[1:]], "make it night", together=False, **ORDER))
    assert all(np.array_equal(a, b) for a, b in zip(apart[1:], other[1:], strict=True))


def test_together_flickers_less_than_frame_by_frame(model):
    frames = film(5, noise=1)
    flicker = {}
    for how in ("together", "shared noise", "frame by frame"):
        if how == "frame by frame":
            made = [model.edit(f, "make it night", seed=i, **ORDER).pictures[0] for i, f in enumerate(frames)]
        else:
            made = list(edit_film(model, frames, "make it night", together=how == "together", **ORDER))
        metric = Flicker()
        metric.update(np.stack(frames), np.stack(made))
        flicker[how] = metric.value().value
    assert flicker["together"] < flicker["shared noise"] < flicker["frame by frame"]


def test_what_is_no_film_is_refused(model):
    with pytest.raises(BadInput, match="one size"):
        list(edit_film(model, [film(1)[0], film(1)[0][:8]], "make it night", **ORDER))
    with pytest.raises(BadInput, match="instruction"):
        list(edit_film(model, film(1), " ", **ORDER))
    with pytest.raises(BadInput, match="fly"):
        list(edit_film(model, film(1), "fly", **ORDER))


def test_flicker_is_of_what_stands_still():
    source = np.zeros((3, 4, 4, 3), np.uint8)
    source[1, :2] = 100  # the upper half moves, and so may the edit
    edited = source.copy()
    edited[1, :2], edited[:, 2:] = 7, 90
    metric = Flicker()
    metric.update(source, edited)
    assert metric.value().value == 0 and metric.value().n == 2
    edited[1, 2:] += 10
    other = Flicker()
    other.update(source, edited)
    other.merge(metric)
    assert other.value().value == pytest.approx(5) and other.value().n == 4
    with pytest.raises(BadInput, match="T, H, W, 3"):
        metric.update(source[:1], edited[:1])


# ------------------------------------------------------------------------------------------------ files


def write_film(path, frames, *, sound=True):
    """A film at 12 frames a second, with a tone."""
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("libx264", rate=12)
        pictures.height, pictures.width, pictures.pix_fmt = *frames[0].shape[:2], "yuv420p"
        tone = file.add_stream("aac", rate=16000, layout="mono") if sound else None
        for frame in frames:
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(pictures.encode(None))
        if tone:
            wave = np.sin(np.arange(16000 * len(frames) // 12) / 9).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            samples.rate = 16000
            file.mux(tone.encode(samples))
            file.mux(tone.encode(None))
    return path


def read_film(path):
    with av.open(str(path)) as file:
        sound = [stream.codec_context.name for stream in file.streams.audio]
        rate = file.streams.video[0].average_rate
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)], sound, rate


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    from limner.hub import save

    folder = tmp_path_factory.mktemp("models") / "editor"
    save(model, "instruct-pix2pix", folder, card="small")
    return str(folder)


@pytest.mark.parametrize("sound", [True, False])
def test_a_film_keeps_its_length_size_rate_and_sound(saved, tmp_path, sound):
    from limner.jobs.editing import Order
    from limner.jobs.film_edits import edit_films
    from limner.provenance import read_marks

    frames = [np.repeat(np.repeat(frame, 2, 0), 2, 1) for frame in film(5)]
    source = write_film(tmp_path / "a film.mp4", frames, sound=sound)
    seen = []
    order = Order(steps=2, text_guidance=3.0, seed=4)
    (line,) = edit_films(
        saved, [source], "make it night", tmp_path / "out", order, progress=lambda *counts: seen.append(counts)
    )
    target = tmp_path / "out" / "a film-make-it-night.mp4"
    assert line.startswith(str(target)) and "flicker" in line
    made, kept, rate = read_film(target)
    assert len(made) == 5 and made[0].shape == (32, 64, 3) and rate == 12 and kept == (["aac"] if sound else [])
    assert [counts[:2] for counts in seen[:4]] == [(0, 10), (1, 10), (2, 10), (2, 10)] and seen[-1][:2] == (10, 10)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [target.name]
    marks = read_marks(target)
    assert marks.recipe["words"] == "make it night" and marks.recipe["seed"] == 4


def test_what_is_no_film_says_so(saved, tmp_path):
    from limner.jobs.editing import Order
    from limner.jobs.film_edits import edit_films

    (tmp_path / "film.mp4").write_bytes(b"no film at all" * 20)
    with pytest.raises(BadInput, match=r"film\.mp4"):
        list(edit_films(saved, [tmp_path / "film.mp4"], "make it night", tmp_path / "out", Order(steps=2)))
    with pytest.raises(BadInput, match="one edit"):
        list(edit_films(saved, [tmp_path / "film.mp4"], "make it night", tmp_path / "out", Order(count=2)))
    assert not list((tmp_path / "out").iterdir())


def test_the_verb_tells_films_from_pictures(saved, tmp_path, capsys):
    from limner.cli import run

    source = write_film(tmp_path / "film.mp4", [np.repeat(np.repeat(f, 2, 0), 2, 1) for f in film(2)])
    order = ["make it day", "--model", saved, "--steps", "1", "-o", str(tmp_path / "out")]
    assert run(["edit", str(source), *order]) == 0
    assert "film-make-it-day.mp4" in capsys.readouterr().out
    with pytest.raises(BadInput, match="by themselves"):
        run(["edit", str(source), "photo.png", *order])


def test_a_full_disk_leaves_nothing_half_done(saved, tmp_path, monkeypatch):
    from limner.jobs import film_edits
    from limner.jobs.editing import Order

    source = write_film(tmp_path / "film.mp4", [np.repeat(frame, 2, 0) for frame in film(2)])

    def no_room(*marks):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(film_edits, "mark_mp4", no_room)
    with pytest.raises(DiskFull, match=r"out/film-make-it-night\.mp4"):
        list(film_edits.edit_films(saved, [source], "make it night", tmp_path / "out", Order(steps=1)))
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_film_says_where():
    from limner.jobs.film_edits import _decoded

    class Damaged:
        def decode(self, video):
            yield av.VideoFrame.from_ndarray(film(1)[0], format="rgb24")
            raise av.error.InvalidDataError(1094995529, "Invalid data found")

    frames = _decoded(Damaged(), Path("film.mp4"))
    assert np.array_equal(next(frames), film(1)[0])
    with pytest.raises(BadInput, match=r"film\.mp4 is damaged behind its frame 1: Invalid data"):
        next(frames)
