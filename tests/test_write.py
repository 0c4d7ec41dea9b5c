"""The offline writer and its picture prompts: the story's own words, and pictures a reader would nod at."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.film.language import count_words
from limner.film.lexicon import Lexicon
from limner.film.setting import Setting, follow
from limner.film.split import split_scenes
from limner.film.story import parse_story, read_story
from limner.film.write import ExtractiveWriter, Scene
from limner.stickers.captions import split as caption_words
from limner.stickers.captions import words as all_caption_words
from limner.stickers.vocabulary import nouns

EXAMPLES = Path(__file__).parent.parent / "examples"
ALL = Lexicon(nouns())  # so that the tests don't depend on what the shipped model has learnt


def film(text: str, *, words: int = 45, how: str = "hand") -> list[Scene]:
    story = parse_story(text)
    return ExtractiveWriter(words, ALL).write(story, split_scenes(story, how=how))


def prompts(*scenes: str) -> list[str]:
    return [scene.prompt for scene in film("\n\n---\n\n".join([*scenes, "The end."]))][:-1]


def example(name: str, words: int = 45) -> list[Scene]:
    story = read_story(EXAMPLES / f"{name}.txt")
    return ExtractiveWriter(words, ALL).write(story, split_scenes(story))


def test_short_scenes_are_told_word_for_word() -> None:
    for scene in example("fox-and-grapes") + example("owl-and-pussycat")[1:2]:
        assert scene.narration.lower() == scene.original.lower()


def test_long_scenes_keep_to_the_budget_in_the_storys_own_words() -> None:
    for scene in example("jack-and-the-beanstalk"):
        assert 5 <= count_words(scene.narration) <= 45 * 1.3
        assert scene.narration.count('"') % 2 == 0
        told = [word.strip('".,;:!?').lower() for word in scene.narration.split()]
        assert set(told) <= {word.strip('".,;:!?').lower() for word in scene.original.split()}
    assert scene.narration.endswith("lived happy ever after.")


def test_long_stanzas_keep_whole_lines() -> None:
    owl = read_story(EXAMPLES / "owl-and-pussycat.txt")
    for scene in ExtractiveWriter(30, ALL).write(owl, split_scenes(owl, how="stanza")):
        assert set(scene.narration.split("\n")) < set(scene.original.split("\n"))
        assert scene.narration in scene.original


def test_chapter_headings_are_not_spoken() -> None:
    assert film("# I\n\nA fox ran.\n\n---\n\n# II\n\nA crow sang.")[1].narration == "A crow sang."


def test_unspaced_scripts_are_shortened_too() -> None:
    story = parse_story("狐狸看见了葡萄。它很饿。葡萄挂得很高，狐狸跳了又跳。乌鸦在树上唱歌，月亮出来了。" * 6)
    [scene] = ExtractiveWriter(20, ALL).write(story, split_scenes(story, scenes=1))
    assert 0 < len(scene.narration) < len(story.text) / 2 and scene.narration.endswith("。")
    assert scene.prompt == "a meadow by day"


def test_the_fox_and_the_owl() -> None:
    fox = [scene.prompt for scene in example("fox-and-grapes")]
    assert fox[0] == fox[1] == "a fox and a bunch of grapes in a garden by day"
    owl = [scene.prompt for scene in example("owl-and-pussycat")]
    assert all(word in owl[0] for word in ("owl", "cat", "boat", "on the sea by day"))
    assert owl[1].endswith("on the sea at night")
    assert "pig" in owl[3] and "ring" in owl[3] and owl[3].endswith("in a forest at night")
    assert "an owl" in owl[-1] and "a cat" in owl[-1] and "a moon" in owl[-1] and "on a beach at night" in owl[-1]


@pytest.mark.parametrize("name", ["fox-and-grapes", "owl-and-pussycat", "jack-and-the-beanstalk"])
def test_prompts_use_only_words_of_captions(name: str) -> None:
    known = set(all_caption_words())
    for scene in example(name):
        assert set(caption_words(scene.prompt)) <= known
        assert scene.place and scene.time and scene.mood


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Three little pigs lived on a farm.", "three small pigs on a farm by day"),
        ("A red bird sat in a tree at night.", "a red bird"),
        ("The dog slept under a tree.", "a dog under a tree"),
        ("A boy rose early and saw the moon.", "a boy and a moon"),
        ("A fox, as sly as a snake, met no wolf.", "a fox in a meadow by day"),
        ("The pussy-cat met a piggy-wig.", "a cat and a pig in a meadow by day"),
        ("The king's horse ran through the woods.", "a horse in a forest by day"),
        ("A frog sat down. You silly goose, it said.", "a frog"),
    ],
)
def test_one_scene(text: str, expected: str) -> None:
    assert prompts(text)[0].startswith(expected)


def test_pronouns_and_names_are_resolved() -> None:
    first, second, third = prompts(
        "There was a poor widow who had a son named Jack.", "Jack climbed a tree.", "He fell down. She wept for him."
    )
    assert "a woman" in first and "a boy" in first
    assert "a boy" in second and "a tree" in second and "woman" not in second
    assert "a boy" in third and "a woman" in third
    pair = prompts("The owl and the cat went to sea.", "A pig stood there.", "They danced on the shore.")
    assert "an owl" in pair[2] and "a cat" in pair[2] and "pig" not in pair[2]


def test_place_and_time_carry_over_until_they_change() -> None:
    story = ["At midnight a wolf came into the forest.", "The wolf howled.", "Next morning the wolf went to the beach."]
    assert [p.split(" ", 2)[2] for p in prompts(*story)] == [
        "in a forest at night",
        "in a forest at night",
        "on a beach by day",
    ]


@pytest.mark.parametrize(
    ("text", "place", "time"),
    [
        ('"Let us go to the beach at night," said the bear.', "meadow", "day"),
        ("They sailed for a year and a day.", "sea", "day"),
        ("He came out of the forest.", "meadow", "day"),
        ("It wasn't dusk yet, and the night before he had eaten.", "meadow", "day"),
        ("She sat in the kitchen in the evening.", "room", "dusk"),
        ("It began to rain in the mountains.", "mountains", "day"),
    ],
)
def test_setting(text: str, place: str, time: str) -> None:
    setting = follow(Setting(), text)
    assert (setting.place, setting.time) == (place, time)


def test_the_cast_are_those_who_come_again() -> None:
    scenes = film(
        "A fox met a crow.\n\n---\n\nThe fox laughed.\n\n---\n\nThe crow flew to the fox.\n\n---\n\nA bee came."
    )
    assert [scene.cast for scene in scenes] == [("fox", "crow"), ("fox",), ("crow", "fox"), ()]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "the",
                    "a",
                    "fox",
                    "Fox",
                    "fox's",
                    "pigs",
                    "three",
                    "under",
                    "tree,",
                    "sea.",
                    "he",
                    "she",
                    "they",
                    "said",
                    '"',
                    "'",
                    "“",
                    "”",
                    "!",
                    "?",
                    ";",
                    "moon",
                    "night",
                    "not\n\n",
                    "-",
                    "and",
                    "Jack",
                    "named",
                    "cow",
                    "you",
                    "rose",
                    "like",
                    "as",
                    "in",
                ]
            ),
            st.text(max_size=6),
        ),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 30),
)
def test_any_story_is_told(pieces: list[str], words: int) -> None:
    try:
        story = parse_story(" ".join(pieces))
    except BadInput:
        return
    parts = split_scenes(story)
    scenes = ExtractiveWriter(words, ALL).write(story, parts)
    assert [scene.original for scene in scenes] == [part.original for part in parts]
    assert all(scene.narration.strip() and scene.prompt.strip() for scene in scenes)
