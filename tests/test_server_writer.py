"""The writer that asks a server: a real one, in its own process, that behaves or misbehaves as it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from film_shapes import SMALL, Shapes
from limner.errors import BadInput, Interrupted, LimnerError
from limner.film.chat import Chat, Limits, endpoint_of
from limner.film.estimate import Estimate
from limner.film.pipeline import make_film
from limner.film.prepare import FilmOptions
from limner.film.server import ServerWriter
from limner.film.split import split_scenes
from limner.film.story import parse_story

TALE = "A fox saw a crow in a tree.\n\n---\n\nThe crow sang to the moon. The fox ran off with the cheese."
STORY = parse_story(TALE)
SCENES = split_scenes(STORY, how="hand")
KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("chat_server.py"))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_WRITER_KEY", KEY)


def writer(server: str, mode: str, cache: Path, **limits: float) -> ServerWriter:
    return ServerWriter(f"{server}/{mode}/v1", "a-model", cache, limits=Limits(**{"total": 20.0, **limits}))


def asked(server: str, mode: str) -> list[str]:
    with urllib.request.urlopen(f"{server}/asked/{mode}") as answer:
        return list(json.load(answer))


def test_scenes_are_retold_in_the_vocabulary(server: str, tmp_path: Path) -> None:
    scenes = writer(server, "good", tmp_path).write(STORY, SCENES)
    assert [scene.original for scene in scenes] == [scene.original for scene in SCENES]
    assert scenes[0].narration == "A fox tells it anew."
    assert scenes[0].prompt == "a fox under a tree in a forest at night"
    assert asked(server, "good") == [f"Bearer {KEY}"]


def test_the_same_question_is_not_asked_again_and_the_key_is_not_kept(server: str, tmp_path: Path) -> None:
    first = writer(server, "fenced", tmp_path).write(STORY, SCENES)
    assert writer(server, "fenced", tmp_path).write(STORY, SCENES) == first
    assert len(asked(server, "fenced")) == 1
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())
    [kept] = tmp_path.iterdir()
    kept.write_text("{damaged")
    assert writer(server, "fenced", tmp_path).write(STORY, SCENES) == first
    assert len(asked(server, "fenced")) == 2


def test_a_kept_film_needs_no_server(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("chat_server.py"))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    first = writer(address, "good", tmp_path).write(STORY, SCENES)
    process.kill()
    process.wait()
    assert writer(address, "good", tmp_path).write(STORY, SCENES) == first
    with pytest.raises(LimnerError, match="can't be reached"):
        writer(address, "good", tmp_path / "other").write(STORY, SCENES)


@pytest.mark.parametrize(("mode", "times"), [("strict", 2), ("repaired", 2), ("busy", 3)])
def test_a_second_try_helps(server: str, tmp_path: Path, mode: str, times: int) -> None:
    assert len(writer(server, mode, tmp_path).write(STORY, SCENES)) == 2
    assert len(asked(server, mode)) == times


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("html", "web page"),
        ("garbage", "no completion"),
        ("deep", "no completion"),
        ("huge", "more than"),
        ("null", "without text"),
        ("prose", "asked twice: there is no JSON"),
        ("empty", "asked twice: the narration of scene 1 has no words"),
        ("endless", "asked twice"),
        ("miscounted", "asked twice: it has 4 scenes, and 2 were asked for"),
        ("redirect", "example.invalid"),
        ("locked", "refused the key"),
        ("missing", "no such model"),
        ("cut", "broke off"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(server: str, tmp_path: Path, mode: str, message: str) -> None:
    with pytest.raises(LimnerError, match=message) as caught:
        writer(server, mode, tmp_path).write(STORY, SCENES)
    assert KEY not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_server_that_hangs_is_left(server: str, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"said nothing for 0\.3 s"):
        writer(server, "hang", tmp_path, read=0.3).write(STORY, SCENES)
    with pytest.raises(LimnerError, match=r"wasn't done after 0\.5 s"):
        writer(server, "dribble", tmp_path, total=0.5).write(STORY, SCENES)


def test_waiting_is_capped(server: str) -> None:
    waits: list[float] = []
    chat = Chat(f"{server}/forever/v1", "a-model", "", Limits(longest_wait=7.0), sleep=waits.append)
    with pytest.raises(LimnerError, match="status 503, tried 4 times"):
        chat.ask([{"role": "system", "content": ""}, {"role": "user", "content": ""}])
    assert waits == [7.0, 7.0, 7.0]


def test_words_outside_the_vocabulary_are_listed(server: str, tmp_path: Path) -> None:
    scenes = writer(server, "foreign", tmp_path).write(STORY, SCENES)
    assert scenes[0].unknown == ("moonbase", "teatime", "zeppelin")
    assert scenes[0].prompt == "a fox in a meadow by day"


def test_a_film_says_what_it_will_take_before_the_server_is_asked(server: str, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(TALE, "utf-8")
    options = FilmOptions(**SMALL, how="hand", writer=f"{server}/foreign/v1", writer_model="a-model")
    before, estimates = len(asked(server, "foreign")), list[Estimate]()

    def ask(estimate: Estimate) -> bool:
        estimates.append(estimate)
        assert len(asked(server, "foreign")) == before
        return len(estimates) > 1

    def film() -> tuple[str, ...]:
        return make_film(
            tmp_path / "story.txt", tmp_path / "film.mp4", options, illustrator=Shapes(), confirm=ask
        ).notes

    with pytest.raises(Interrupted, match=r"^Nothing was begun\.$"):
        film()
    assert {row.stage: row.count for row in estimates[0].rows}["write"] == 1
    assert len(asked(server, "foreign")) == before
    assert estimates[0].seconds > 0
    notes = film()
    assert len(estimates) == 2, "asked once a run"
    assert [note for note in notes if "left out: moonbase, teatime, zeppelin" in note and "scene 01" in note]


def test_an_echoed_key_is_blotted_out(server: str, tmp_path: Path) -> None:
    scenes = writer(server, "echo", tmp_path).write(STORY, SCENES)
    assert "[key]" in scenes[0].narration
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())


def test_addresses() -> None:
    assert endpoint_of("http://localhost:8080") == "http://localhost:8080/v1/chat/completions"
    assert endpoint_of("https://host/v1/") == "https://host/v1/chat/completions"
    assert endpoint_of("https://host/api/chat/completions?a=b") == "https://host/api/chat/completions?a=b"
    for wrong in ("", "localhost", "ftp://host", "http://", "http://user:word@host/v1", "http://[bad"):
        with pytest.raises(BadInput):
            endpoint_of(wrong)
