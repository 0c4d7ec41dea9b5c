"""film.toml and the store: what a person edits survives, what is damaged is noticed, keys mean what they say."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput, DiskFull
from limner.film.lexicon import Lexicon
from limner.film.prepare import FilmOptions, merge_scenes, prepare
from limner.film.project import (
    FilmSettings,
    PictureSettings,
    Project,
    ProjectScene,
    SignSettings,
    StorySettings,
    VoiceSettings,
    format_project,
    parse_project,
    read_project,
    write_project,
)
from limner.film.store import Entry, Store, key_of
from limner.stickers.vocabulary import nouns

HEADER = "limner = 1\n"
text = st.text(st.one_of(st.sampled_from('""\\\n\n\r\t\x00'), st.characters(exclude_categories=["Cs"])), max_size=40)
spoken = text.filter(str.strip)


def scenes(ids: list[str]) -> st.SearchStrategy[tuple[ProjectScene, ...]]:
    return st.tuples(
        *(
            st.builds(
                ProjectScene,
                id=st.just(id),
                original=text,
                narration=spoken,
                prompt=text,
                cast=st.lists(text, max_size=3).map(tuple),
                place=text,
                pick=st.none() | st.integers(1, 64),
                picked=text,
                span=st.just(()) | st.tuples(st.integers(0, 99), st.integers(100, 999)),
            )
            for id in ids
        )
    )


projects = st.builds(
    Project,
    story=st.builds(StorySettings, title=text, author=text, scenes=st.none() | st.integers(1, 1000), writer=text),
    pictures=st.builds(PictureSettings, illustrator=text, candidates=st.integers(1, 64), seed=st.integers(0, 2**53)),
    voice=st.builds(VoiceSettings, name=text),
    film=st.builds(FilmSettings, aspect=st.sampled_from(["16:9", "9:16", "1:1"]), title_card=st.booleans()),
    sign=st.builds(SignSettings, certificate=text),
    scene=st.integers(0, 3).flatmap(lambda count: scenes([f"{number:02d}" for number in range(count)])),
)


@settings(max_examples=60, deadline=None)
@given(projects)
def test_film_toml_gives_back_every_project_and_is_stable(project: Project) -> None:
    written = format_project(project)
    again = parse_project(tomllib.loads(written))
    assert again == project
    assert format_project(again) == written


def test_a_small_edit_is_a_small_diff() -> None:
    project = Project(scene=(ProjectScene("01", "a\nb", "A b."), ProjectScene("02", "c", "C.")))
    edited = dataclasses.replace(project, scene=(project.scene[0], dataclasses.replace(project.scene[1], pick=2)))
    assert set(format_project(edited).splitlines()) - set(format_project(project).splitlines()) == {"pick = 2"}


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("", ["limner = 1"]),
        ("limner = 99\n", ["newer", "Update"]),
        ("limner = [\n", ["not valid TOML"]),
        (HEADER + "[film]\nasspect = '1:1'\n", ["[film]", "asspect", "aspect"]),
        (HEADER + "[film]\naspect = '4:3'\n", ["[film], aspect", "4:3", "16:9"]),
        (HEADER + "[film]\nheight = 10\n", ["height", "64"]),
        (HEADER + "[film]\nfps = '24'\n", ["fps", "whole number"]),
        (HEADER + "[film]\ntitle_card = 1\n", ["title_card", "true or false"]),
        (HEADER + "[pictures]\ncandidates = true\n", ["candidates", "whole number"]),
        (HEADER + "film = 3\n", ["film", "table"]),
        (HEADER + "scene = 3\n", ["[[scene]]"]),
        (HEADER + "[[scene]]\nid = '07'\nnarration = ' '\n", ["scene 07", "narration", "empty"]),
        (HEADER + "[[scene]]\nid = '07'\nnaration = 'x'\n", ["scene 07", "naration", "narration"]),
        (HEADER + "[[scene]]\nnarration = 'x'\ncast = 'fox'\n", ["scene number 1", "cast", "list"]),
        (HEADER + "[[scene]]\nnarration = 'x'\npick = 0\n", ["scene number 1", "pick"]),
        (HEADER + "[[scene]]\nid = '../x'\nnarration = 'x'\n", ["id", "letters"]),
        (HEADER + "[[scene]]\nid = 'a'\nnarration = 'x'\n[[scene]]\nid = 'a'\nnarration = 'y'\n", ["scene a", "two"]),
    ],
)
def test_a_wrong_edit_is_an_error_that_names_the_place(tmp_path: Path, toml: str, words: list[str]) -> None:
    (tmp_path / "film.toml").write_text(toml, "utf-8")
    with pytest.raises(BadInput) as error:
        read_project(tmp_path)
    assert all(word in str(error.value) for word in ["film.toml", *words])


def test_a_folder_without_a_project_and_a_binary_film_toml(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a film project"):
        read_project(tmp_path)
    (tmp_path / "film.toml").write_bytes(b"\xff\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        read_project(tmp_path)


def test_a_scene_written_by_hand_needs_a_narration_only(tmp_path: Path) -> None:
    by_hand = "[[scene]]\nnarration = 'One.'\n[[scene]]\nid = '01'\nnarration = 'Two.'\n"
    (tmp_path / "film.toml").write_text(HEADER + by_hand, "utf-8")
    first, second = read_project(tmp_path).scene
    assert (first.id, second.id) == ("02", "01")
    assert first.original == "One."
    write_project(tmp_path, read_project(tmp_path))
    assert read_project(tmp_path).scene == (first, second)


def scene(id: str, original: str, **fields: object) -> ProjectScene:
    values: dict[str, Any] = {"id": id, "original": original, "narration": original, "prompt": "a fox", **fields}
    return ProjectScene(**values)


def test_edits_and_choices_survive_another_writing() -> None:
    before = [scene("01", "A."), scene("02", "B."), scene("03", "C.")]
    mine = [scene("01", "A.", narration="Mine."), scene("02", "B.", pick=2, picked="2:ab"), scene("03", "C.")]
    fresh = [scene("01", "New."), scene("02", "A.", prompt="a crow"), scene("03", "B.", narration="Better B.")]
    merged, lost = merge_scenes(before, mine, fresh)
    assert [one.original for one in merged] == ["New.", "A.", "B."]
    assert (merged[1].id, merged[1].narration, merged[1].prompt) == ("01", "Mine.", "a crow")
    assert (merged[2].id, merged[2].pick, merged[2].picked, merged[2].narration) == ("02", 2, "2:ab", "Better B.")
    assert len({one.id for one in merged}) == 3
    assert lost == ()
    _, lost = merge_scenes(before, [*mine[:2], scene("03", "C.", picture="own.png")], fresh)
    assert [one.id for one in lost] == ["03"]


parameters = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))


@given(parameters, parameters)
def test_keys_are_equal_for_equal_recipes_only(first: dict[str, int], second: dict[str, int]) -> None:
    same = key_of("voice", 1, dict(reversed(first.items())), {}) == key_of("voice", 1, second, {})
    assert same == (first == second)
    assert key_of("voice", 1, first, {}) not in (key_of("voice", 2, first, {}), key_of("body", 1, first, {}))


def put(store: Store, value: int, content: bytes = b"content") -> str:
    return store.make(
        "test", 1, {"value": value}, {}, lambda place: void((place / "file.bin").write_bytes(content))
    ).key


def void(_: object) -> None: ...


def test_a_damaged_artefact_counts_as_absent_and_is_made_again(tmp_path: Path) -> None:
    key = put(Store(tmp_path), 1)
    file = Store(tmp_path).folder(key) / "file.bin"
    file.write_bytes(b"c0ntent")
    assert Store(tmp_path).find(key) is None
    assert put(Store(tmp_path), 1) == key
    assert file.read_bytes() == b"content"
    file.unlink()
    assert Store(tmp_path).find(key) is None
    (file.parent / "artefact.json").write_text("[]")
    assert Store(tmp_path).find(key) is None
    assert not list((tmp_path / "store").glob("part-*"))


def test_a_maker_that_fails_or_meets_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = put(store, 1)

    def full(place: Path) -> None:
        (place / "half.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    def broken(place: Path) -> None:
        (place / "half.bin").write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(DiskFull, match="free some space"):
        store.make("test", 1, {"value": 2}, {}, full)
    with pytest.raises(ZeroDivisionError):
        store.make("test", 1, {"value": 2}, {}, broken)
    assert [path.name for path in (tmp_path / "store").glob("*/*")] == [key]
    assert not list((tmp_path / "store").glob("part-*"))


def test_the_ledger_outlives_a_torn_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record(Entry("scene 01/voice", "voice", "k1", "made", "new"))
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"slot": "scene 02/vo')
    store.record(Entry("scene 03/voice", "voice", "k3", "failed", "new", error="Wörter"))
    assert [entry.slot for entry in store.entries()] == ["scene 01/voice", "scene 03/voice"]
    assert store.entries()[1].error == "Wörter"
    assert all(json.loads(line)["time"] > 0 for line in (tmp_path / "ledger.jsonl").read_text().splitlines()[::2])


def test_only_one_process_works_on_a_project(tmp_path: Path) -> None:
    with Store(tmp_path).locked(), pytest.raises(BadInput, match="Another limner"), Store(tmp_path).locked():
        pass
    with Store(tmp_path).locked():
        pass  # free again


def test_a_project_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--project"), Store(tmp_path / "file" / "film.limner").locked():
        pass


def test_what_the_storybook_does_not_draw_may_be_asked_of_others(tmp_path: Path) -> None:
    rare = next(noun for noun in nouns() if Lexicon().get(noun.name) is None)
    (tmp_path / "story.txt").write_text(f"The fox met {rare.article} {rare.name} in a meadow.", "utf-8")

    def prompt(illustrator: str) -> str:
        options = FilmOptions(illustrator=illustrator)
        store = Store(tmp_path)
        story = tmp_path / "story.txt"
        return prepare(tmp_path, story, None, options, store, print, lambda project: None).scene[0].prompt

    assert rare.name not in prompt("storybook")
    assert rare.name in prompt("somebody/a-large-model")
    assert rare.name not in prompt("storybook")
