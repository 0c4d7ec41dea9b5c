"""The film's pipeline on real stages, at a tiny size, with an illustrator that draws shapes."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from film_shapes import SMALL, STORY, Shapes
from limner.errors import BadInput, DiskFull, Interrupted
from limner.film import encode
from limner.film.choose import choose, choose_by_asking, contact_sheet
from limner.film.estimate import Estimate
from limner.film.pipeline import FilmResult, clean, make_film, status, unused
from limner.film.prepare import FilmOptions
from limner.film.project import read_project, write_project
from limner.film.stages import STAGES
from limner.film.store import Store
from limner.film.voice import open_voice
from limner.jobs.filming import clean_project
from limner.provenance import read_marks

OPTIONS = FilmOptions(**SMALL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder (with a difficult name) that holds a finished film."""
    folder = tmp_path_factory.mktemp("films") / "Fuchs & Krähe 狐"
    folder.mkdir()
    (folder / "story.txt").write_text(STORY, "utf-8")
    result = make_film(folder / "story.txt", folder / "film.mp4", OPTIONS, illustrator=Shapes())
    assert result.exit_code == 0
    return folder


@pytest.fixture
def film(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished film to change."""
    return Path(shutil.copytree(finished, tmp_path / "a film"))


def again(folder: Path, illustrator: Shapes | None = None, **options: Any) -> FilmResult:
    return make_film(folder / "film.limner", None, FilmOptions(**options), illustrator=illustrator or Shapes())


def edit(folder: Path, number: int, **fields: Any) -> None:
    project = read_project(folder / "film.limner")
    scenes = list(project.scene)
    scenes[number - 1] = dataclasses.replace(scenes[number - 1], **fields)
    write_project(folder / "film.limner", dataclasses.replace(project, scene=tuple(scenes)))


def not_fresh(folder: Path, illustrator: Shapes | None = None) -> set[str]:
    lines = status(folder / "film.limner", illustrator=illustrator or Shapes())
    return {line.slot for line in lines if line.state != "fresh"}


def frames(folder: Path) -> str:
    return str(json.loads((folder / "film.json").read_text("utf-8"))["frames"])


def test_the_film_is_whole(finished: Path) -> None:
    record = json.loads((finished / "film.json").read_text("utf-8"))
    with av.open(str(finished / "film.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, float(video.average_rate)) == (170, 96, 8.0)
        assert sum(1 for _ in container.decode(video)) == round(record["seconds"] * 8)
        assert [stream.type for stream in container.streams][:3] == ["video", "audio", "subtitle"]
        assert len(container.chapters()) == 4
        assert container.metadata["title"] == "The Fox and the Crow"
    assert "crow" in (finished / "film.srt").read_text("utf-8")
    assert (finished / "film.vtt").read_text("utf-8").startswith("WEBVTT")
    marks = read_marks(finished / "film.mp4")
    assert marks.source_type == "trainedAlgorithmicMedia"
    assert marks.recipe == record["recipe"]
    assert [scene["id"] for scene in record["recipe"]["scenes"]] == ["01", "02", "03"]


def test_the_report_measures_the_film(finished: Path) -> None:
    report = json.loads((finished / "film.limner/out/film.report.json").read_text("utf-8"))
    assert report["text-picture score"]["n"] == 3
    assert abs(report["loudness"]["lufs"] - report["loudness"]["target"]) < 0.5
    assert report["loudness"]["true peak db"] <= -0.9
    assert report["sync error ms"]["largest"] <= 10
    assert 0 <= report["caption lag ms"]["largest"] <= 1000 / 8
    assert {row["noun"] for row in report["cast"]} == {"fox", "crow"}
    assert all(0 <= row["likeness"] <= 1 for row in report["cast"])
    page = (finished / "film.limner/out/film.storyboard.html").read_text("utf-8")
    assert page.count("<article>") == 3
    assert page.count("data:image/webp;base64,") == 3 * (1 + 2)
    assert all(re.search(r'alt="[^"]', tag) for tag in re.findall(r"<img [^>]*>", page))


class Comparing(Shapes):
    def likeness(self, first: np.ndarray, second: np.ndarray, noun: str) -> float:
        self.calls.append(noun)
        if self.fail:
            raise RuntimeError(self.fail)
        return 0.5


def test_the_cast_is_compared_once(film: Path) -> None:
    drawing = Comparing()
    again(film, drawing)
    assert sorted(drawing.calls) == ["crow", "fox", "fox"]  # from each picture to the next
    edit(film, 2, narration="Sing, said the fox.")
    again(film, drawing)
    assert len(drawing.calls) == 3
    cast = json.loads((film / "film.limner/out/film.report.json").read_text("utf-8"))["cast"]
    assert [row["likeness"] for row in cast] == [0.5, 0.5]


def test_a_comparison_that_fails_is_told_and_fails_nothing(film: Path) -> None:
    edit(film, 2, prompt="a fox at night")
    assert again(film, Comparing(fail="no eyes")).exit_code == 0
    cast = json.loads((film / "film.limner/out/film.report.json").read_text("utf-8"))["cast"]
    assert [row["failed"] for row in cast] == ["RuntimeError: no eyes"] * 2
    assert "no eyes" in (film / "film.limner/out/film.storyboard.html").read_text("utf-8")


def test_every_picture_says_what_made_it(finished: Path) -> None:
    pictures = [path for path in (finished / "film.limner/store").glob("*/*/1.png")]
    types = sorted(read_marks(path).source_type for path in pictures)
    assert types == ["algorithmicMedia"] + ["trainedAlgorithmicMedia"] * 3  # the title card, three scenes


def test_nothing_changed_nothing_to_do(film: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in film.rglob("*") if path.is_file()}
    assert not_fresh(film) == set()
    result = again(film)
    assert result.made == ()
    after = {path: path.stat().st_mtime_ns for path in film.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {".lock"}


CAST = {"cast fox/likeness", "cast crow/likeness"}
AROUND_2 = {"scene 02/body", "scene 01 to scene 02/dissolve", "scene 02 to scene 03/dissolve", "film"}
ALL_SEGMENTS = {
    *AROUND_2, "title/body", "scene 01/body", "scene 03/body", "black to title/dissolve", "title to scene 01/dissolve",
    "scene 03 to black/dissolve",
}  # fmt: skip
CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "narration": (
        lambda folder: edit(folder, 2, narration="Sing, said the fox."),
        {"scene 02/voice", "scene 02/cues", "scene 02/body", "film"},
    ),
    "prompt": (lambda folder: edit(folder, 2, prompt="a fox at night"), {"scene 02/pictures", *AROUND_2, *CAST}),
    "pick": (lambda folder: edit(folder, 2, pick=3 - shown(folder, 2)), {*AROUND_2, *CAST}),
    "captions": (
        lambda folder: project_edit(folder, "film", captions="lines"),
        {"scene 01/body", "scene 02/body", "scene 03/body", "film"},
    ),
    "fps": (lambda folder: project_edit(folder, "film", fps=6), ALL_SEGMENTS),
    "author": (
        lambda folder: project_edit(folder, "story", author="Aesop"),
        {
            "title/voice",
            "title/pictures",
            "title/body",
            "black to title/dissolve",
            "title to scene 01/dissolve",
            "film",
        },
    ),
    "seed": (
        lambda folder: project_edit(folder, "pictures", seed=5),
        {*ALL_SEGMENTS, *CAST, "title/pictures", "scene 01/pictures", "scene 02/pictures", "scene 03/pictures"},
    ),
    "cast": (lambda folder: edit(folder, 2, cast=("fox", "cheese")), set()),
}


def shown(folder: Path, number: int) -> int:
    report = json.loads((folder / "film.limner/out/film.report.json").read_text("utf-8"))
    return int(report["scenes"][number - 1]["candidate"])


def project_edit(folder: Path, table: str, **fields: Any) -> None:
    project = read_project(folder / "film.limner")
    part = dataclasses.replace(getattr(project, table), **fields)
    write_project(folder / "film.limner", dataclasses.replace(project, **{table: part}))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_exactly_its_dependents_stale(film: Path, change: str) -> None:
    apply, dependents = CHANGES[change]
    apply(film)
    assert not_fresh(film) == dependents


def test_only_what_changed_is_made_and_an_undone_change_costs_nothing(film: Path) -> None:
    original, narration = frames(film), read_project(film / "film.limner").scene[1].narration
    edit(film, 2, narration="Sing, said the fox.")
    drawing = Shapes()
    result = again(film, drawing)
    assert set(result.made) == CHANGES["narration"][1]
    assert drawing.calls == []
    assert not_fresh(film) == set()
    edit(film, 2, narration=narration)
    assert again(film).made == ("film",)
    assert frames(film) == original
    assert {size > 0 for _, size in unused(film / "film.limner", illustrator=Shapes())} == {True}


def test_damaged_and_lost_files_are_noticed_and_made_again(film: Path) -> None:
    original = frames(film)
    body = next((film / "film.limner/store").glob("*/*/video.mp4"))
    body.write_bytes(body.read_bytes()[:-9] + b"vandalism")
    (film / "film.srt").unlink()
    assert "film" in not_fresh(film)
    result = again(film)
    assert len(result.made) == 2
    assert frames(film) == original
    assert (film / "film.srt").exists()


def test_an_old_film_stays_when_the_disk_is_full(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (film / "film.mp4").read_bytes()
    edit(film, 2, prompt="a fox at night")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encode, "join_film", full)
    with pytest.raises(DiskFull, match="same"):
        again(film)
    monkeypatch.undo()
    assert (film / "film.mp4").read_bytes() == before
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DiskFull, match="Nothing was begun"):
        again(film)
    monkeypatch.undo()
    assert again(film).made == ("film",)


def test_a_file_size_limit_of_the_system_is_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, "utf-8")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("film_shapes.py")), str(tmp_path), "0"],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        ),
    )  # fmt: skip
    assert done.returncode == DiskFull.exit_code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_persons_choice_survives_and_becomes_visibly_stale(film: Path) -> None:
    project = film / "film.limner"
    sheets = contact_sheet(project, illustrator=Shapes())
    with Image.open(sheets[0]) as sheet:
        assert sheet.width > 800
    first = shown(film, 1)
    other = 3 - first
    choose(project, 1, other, illustrator=Shapes())
    result = again(film)
    assert "scene 01/body" in result.made
    pinned = read_project(project).scene[0]
    assert (pinned.pick, pinned.picked[:2]) == (other, f"{other}:")

    prompt = pinned.prompt
    edit(film, 1, prompt="a fox in a wood")
    result = again(film)
    assert any("choice for scene 01 was made among other pictures" in note for note in result.notes)
    assert not_fresh(film) == {"scene 01/choice"}
    assert read_project(project).scene[0].pick == other
    edit(film, 1, prompt=prompt)
    result = again(film)
    assert result.notes == ()
    assert json.loads((project / "out/film.report.json").read_text("utf-8"))["scenes"][0]["chosen by"] == "person"

    edit(film, 1, pick=first)  # a plain edit, with the old note still beside it
    again(film)
    assert read_project(project).scene[0].picked.startswith(f"{first}:")
    with pytest.raises(BadInput, match="1 to 2"):
        choose(project, 1, 3, illustrator=Shapes())
    with pytest.raises(BadInput, match="scenes 1 to 3"):
        choose(project, 9, 1, illustrator=Shapes())


def test_choosing_by_questions(film: Path) -> None:
    answers = iter(["7", "1", "", "q"])
    said: list[str] = []
    count = choose_by_asking(film / "film.limner", lambda _: next(answers), said.append, illustrator=Shapes())
    assert count == 1
    assert read_project(film / "film.limner").scene[0].pick == 1
    assert any("number from 1 to 2" in line for line in said)


def test_ones_own_picture(film: Path) -> None:
    Image.new("RGB", (400, 900), "teal").save(film / "film.limner" / "own.jpg")
    edit(film, 1, picture="own.jpg")
    drawing = Shapes()
    assert "scene 01/pictures" in again(film, drawing).made
    assert drawing.calls == []
    assert read_marks(film / "film.mp4").source_type == "compositeWithTrainedAlgorithmicMedia"
    Image.new("RGB", (400, 900), "navy").save(film / "film.limner" / "own.jpg")
    assert "scene 01/body" in not_fresh(film)
    data = (film / "film.limner" / "own.jpg").read_bytes()
    (film / "film.limner" / "own.jpg").write_bytes(data[: len(data) // 3])
    (film / "film.limner" / "own.jpg").unlink()
    result = again(film)
    assert [failure.slot for failure in result.failures] == ["scene 01/pictures"]
    assert "own.jpg" in result.failures[0].message


def test_a_scene_that_fails_becomes_a_card(film: Path) -> None:
    edit(film, 2, prompt="an impossible thing")
    result = again(film, Shapes(fail="impossible"))
    assert result.exit_code == 1
    assert [(one.slot, "impossible" in one.message) for one in result.failures] == [("scene 02/pictures", True)]
    record = json.loads((film / "film.json").read_text("utf-8"))
    assert list(record["failed"]) == ["02"]
    lines = {line.slot: line for line in status(film / "film.limner", illustrator=Shapes(fail="impossible"))}
    assert lines["scene 02/pictures"].state == "failed"
    assert "impossible" in lines["scene 02/pictures"].why
    assert lines["film"].state == "stale"
    assert "No shape" in (film / "film.limner/out/film.storyboard.html").read_text("utf-8")
    result = again(film, Shapes())  # the same command tries again
    assert result.exit_code == 0
    assert "scene 02/pictures" in result.made


def test_a_letter_without_a_font_fails_its_scene_before_anything_is_drawn(film: Path) -> None:
    edit(film, 2, narration="A fox \U0001e6c0 sang.", prompt="a fox by day")
    drawing = Shapes()
    result = again(film, drawing)
    assert [failure.slot for failure in result.failures] == ["scene 02/cues"]
    assert drawing.calls == []
    report = json.loads(result.report.read_text("utf-8"))
    assert len(report["missing glyphs"]) == 1
    assert result.exit_code == 1


def test_words_that_the_illustrator_does_not_know_are_told(film: Path) -> None:
    edit(film, 3, prompt="a fox and a zyzzyva")
    assert any("zyzzyva" in note for note in again(film).notes)


def test_a_new_story_keeps_the_edits_that_still_fit(film: Path) -> None:
    edit(film, 1, narration="My own words.", pick=1)
    edit(film, 3, narration="An ending of mine.")
    changed = STORY.replace("The cheese fell down.", "Down fell the cheese.")
    (film / "story.txt").write_text(changed, "utf-8")
    result = make_film(film / "story.txt", film / "film.mp4", illustrator=Shapes())
    scenes = read_project(film / "film.limner").scene
    assert scenes[0].narration == "My own words."
    assert scenes[0].pick == 1
    assert scenes[2].narration.startswith("Down fell")
    assert any("film.before.toml" in note for note in result.notes)
    assert "An ending of mine." in (film / "film.limner/film.before.toml").read_text("utf-8")


def test_an_animatic_is_small_quick_and_leaves_the_film_alone(film: Path) -> None:
    before = (film / "film.mp4").read_bytes(), (film / "film.limner/film.toml").read_bytes()
    edit(film, 1, prompt="a fox in a wood")
    edited = (film / "film.limner/film.toml").read_bytes()
    drawing = Shapes()
    result = again(film, drawing, animatic=True)
    assert result.film.name == "film.animatic.mp4"
    assert drawing.calls == ["a fox in a wood"]  # the good pictures that are there are shown
    assert ((film / "film.mp4").read_bytes(), (film / "film.limner/film.toml").read_bytes()) == (before[0], edited)
    assert again(film, animatic=True).made == ()


def test_a_folder_of_pictures_illustrates(film: Path) -> None:
    pictures = film / "my pictures"
    pictures.mkdir()
    colours = {"1 a": "red", "1 b": "green", "a": "black", "crow": "blue", "z": "white"}
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(pictures / f"{name}.png")
    result = make_film(film / "film.limner", None, FilmOptions(illustrator=str(pictures)))
    assert result.exit_code == 0
    assert read_project(film / "film.limner").pictures.illustrator == "../my pictures"
    report = json.loads(result.report.read_text("utf-8"))
    seen = []
    for scene in report["scenes"]:
        with Image.open(film / "film.limner" / scene["picture"]) as picture:
            seen.append(picture.getpixel((5, 5)))
    assert seen == [(255, 0, 0), (0, 0, 255), (255, 255, 255)]  # by number, by word, by place
    assert read_marks(film / "film.mp4").source_type == "compositeSynthetic"
    (pictures / "1 a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    result = make_film(film / "film.limner")
    assert [failure.slot for failure in result.failures] == ["scene 01/pictures"]


def test_the_same_project_gives_the_same_frames(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, "utf-8")
    make_film(tmp_path / "story.txt", tmp_path / "film.mp4", OPTIONS, illustrator=Shapes())
    assert frames(tmp_path) == frames(finished)


def test_ctrl_c_at_every_stage_keeps_what_is_finished(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, "utf-8")
    stops = 0

    class Impatient:
        """Presses Ctrl-C whenever an artefact of a stage is finished that was never stopped before."""

        def __init__(self) -> None:
            self.seen: set[str] = set()

        def estimated(self, estimate: Estimate) -> None: ...
        def begin(self, stage: str, total: int) -> None: ...
        def note(self, message: str) -> None: ...

        def advance(self, stage: str) -> None:
            if stage not in self.seen:
                self.seen.add(stage)
                raise KeyboardInterrupt

    ready, impatient = 0, Impatient()
    while True:
        try:
            make_film(tmp_path / "story.txt", tmp_path / "film.mp4", OPTIONS, impatient, illustrator=Shapes())
            break
        except Interrupted as error:
            stops += 1
            assert error.exit_code == 130
            entries = [entry for entry in Store(tmp_path / "film.limner").entries() if entry.result == "made"]
            assert len(entries) > ready
            ready = len(entries)
    assert stops == len(impatient.seen) == 8
    slots = [entry.slot for entry in Store(tmp_path / "film.limner").entries()]
    assert len(slots) == len(set(slots))  # nothing was made twice


def test_kill_minus_nine_costs_at_most_one_artefact(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, "utf-8")
    command = [sys.executable, str(Path(__file__).with_name("film_shapes.py")), str(tmp_path), "0.15"]
    rng, kills = random.Random(7), 0
    ledger = tmp_path / "film.limner/ledger.jsonl"
    while kills < 8:
        process = subprocess.Popen(command)
        lines = len(ledger.read_text().splitlines()) if ledger.exists() else 0
        while process.poll() is None and (len(ledger.read_text().splitlines()) if ledger.exists() else 0) == lines:
            time.sleep(0.005)  # it is at work
        time.sleep(rng.uniform(0, 0.4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert subprocess.run(command, check=False).returncode == 0
    assert kills >= 3
    slots = [json.loads(line)["slot"] for line in ledger.read_text().splitlines()]
    assert len(slots) - len(set(slots)) == 0
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert len(calls) <= 3 + kills
    assert not list((tmp_path / "film.limner/store").glob("part-*"))
    assert frames(tmp_path) == frames(finished)


def test_a_person_is_asked_first(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY, "utf-8")
    asked: list[Estimate] = []
    with pytest.raises(Interrupted, match="Nothing was begun"):
        make_film(
            tmp_path / "story.txt", tmp_path / "film.mp4", OPTIONS, illustrator=Shapes(),
            confirm=lambda estimate: bool(asked.append(estimate)),
        )  # fmt: skip
    assert {row.stage for row in asked[0].rows} == {*STAGES, "film"} - {"own picture", "failure", "silence"}
    assert asked[0].seconds > 0
    assert len(read_project(tmp_path / "film.limner").scene) == 3


@pytest.mark.parametrize(
    ("content", "out", "words"),
    [
        (b"", "film.mp4", "empty"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 9, "film.mp4", "text"),
        (None, "film.mp4", "not exist"),
        (b"A fox sat.", "film.avi", ".mp4"),
    ],
)
def test_bad_input_is_one_error_and_no_project(tmp_path: Path, content: bytes | None, out: str, words: str) -> None:
    if content is not None:
        (tmp_path / "story.txt").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        make_film(tmp_path / "story.txt", tmp_path / out, OPTIONS, illustrator=Shapes())
    assert not (tmp_path / "film.limner" / "film.toml").exists()


def test_upright_and_square_films(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("A fox sat.", "utf-8")
    for aspect, size in (("9:16", (96, 170)), ("1:1", (96, 96))):
        make_film(
            tmp_path / "story.txt", tmp_path / "film.mp4", dataclasses.replace(OPTIONS, aspect=aspect, candidates=1),
            illustrator=Shapes(), voice=open_voice("espeak", "en"),
        )  # fmt: skip
        picture = np.asarray(encode.frame_from(tmp_path / "film.mp4", 1.0))
        assert picture.shape[1::-1] == size


def test_only_a_person_removes_what_is_unused(film: Path) -> None:
    narration = read_project(film / "film.limner").scene[1].narration
    edit(film, 2, narration="Sing, said the fox.")
    result = make_film(film / "film.limner", illustrator=Shapes())
    edit(film, 2, narration=narration)
    assert result.film.exists()
    assert clean(film / "film.limner", illustrator=Shapes()) > 0
    assert unused(film / "film.limner", illustrator=Shapes()) == []
    assert again(film).made == ("film",)


def test_the_command_tells_what_is_unused_and_removes_it_only_when_told(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = film / "film.limner"
    monkeypatch.setattr("limner.film.plan.open_illustrator", lambda spec, base: Shapes())
    assert list(clean_project(project, yes=False)) == ["Nothing is unused."]
    edit(film, 2, prompt="a fox at night")
    again(film)
    before = {path for path in project.rglob("*")}
    (told,) = clean_project(project, yes=False)
    assert told.startswith("6 artefacts are unused") and "--yes" in told  # pictures, likenesses, body, two dissolves
    assert {path for path in project.rglob("*")} - {project / ".lock"} == before - {project / ".lock"}
    (told,) = clean_project(project, yes=True)
    assert told.startswith("6 unused artefacts removed")
    assert not_fresh(film) == set()
    edit(film, 2, prompt="a fox by day")
    assert "7 parts" in next(clean_project(project, yes=False))
