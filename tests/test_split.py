"""Cutting stories into scenes: nothing is lost, wishes are followed, and any text can be cut."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.film.language import count_words
from limner.film.rhyme import rhymes
from limner.film.split import How, SceneText, scenes_for, split_scenes
from limner.film.story import Story, parse_story, read_story

EXAMPLES = Path(__file__).parent.parent / "examples"
HOWS: tuple[How, ...] = ("auto", "stanza", "paragraph", "topic")


def holds(story: Story, scenes: list[SceneText]) -> None:
    """Every scene is a slice of the story, and together they have all of its words in order."""
    assert scenes
    assert all(scene.original == scene.span.of(story.text) and scene.original.strip() for scene in scenes)
    assert all(a.span.end <= b.span.start for a, b in itertools.pairwise(scenes))
    assert "".join("".join(scene.original.split()) for scene in scenes) == "".join(story.text.split())


@pytest.mark.parametrize("name", ["fox-and-grapes", "owl-and-pussycat", "jack-and-the-beanstalk"])
def test_examples_are_cut_into_scenes_of_like_length(name: str) -> None:
    story = read_story(EXAMPLES / f"{name}.txt")
    scenes = split_scenes(story)
    holds(story, scenes)
    lengths = [count_words(scene.original) for scene in scenes]
    assert 3 <= len(scenes) <= 30 and max(lengths) <= 3 * sum(lengths) / len(lengths)


def test_stanzas_paragraphs_and_hand() -> None:
    owl = read_story(EXAMPLES / "owl-and-pussycat.txt")
    assert [scene.original.split("\n")[0] for scene in split_scenes(owl, how="stanza")] == ["I", "II", "III"]
    text = "One fox ran.\n\nTwo crows sang.\n\n---\n\nThree pigs slept.\n\n***\n\nFour ants worked."
    by_hand = split_scenes(parse_story(text), how="hand")
    assert [scene.original for scene in by_hand] == [
        "One fox ran.\n\nTwo crows sang.",
        "Three pigs slept.",
        "Four ants worked.",
    ]
    assert len(split_scenes(parse_story(text), how="paragraph")) == 4
    with pytest.raises(BadInput, match="no line of ---"):
        split_scenes(owl, how="hand")


def test_a_hand_made_break_and_a_chapter_are_never_bridged() -> None:
    text = "A fox ran far.\n\n---\n\nA crow sang.\n\n# Chapter Two\n\nAn ant worked all day."
    scenes = [scene.original for scene in split_scenes(parse_story(text))]
    assert scenes == ["A fox ran far.", "A crow sang.", "Chapter Two\n\nAn ant worked all day."]


def test_topics_are_cut_where_the_words_change() -> None:
    sea = "The ship sailed on the sea. The sailors saw the waves of the sea. The ship met a storm at sea. "
    cake = "The baker baked a cake of flour. The flour and the sugar made the cake sweet. All ate the baker's cake. "
    story = parse_story(sea * 3 + cake * 3)
    at = story.text.index("The baker")
    assert any(scene.span.start == at for scene in split_scenes(story, how="topic"))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_the_number_asked_for(how: How, count: int) -> None:
    story = read_story(EXAMPLES / "jack-and-the-beanstalk.txt")
    scenes = split_scenes(story, how=how, scenes=count)
    holds(story, scenes)
    assert len(scenes) == count


def test_more_scenes_than_sentences_and_fewer_than_one() -> None:
    story = parse_story("A fox ran. A crow sang.")
    assert len(split_scenes(story, scenes=50)) == 2
    with pytest.raises(BadInput, match="at least one scene"):
        split_scenes(story, scenes=0)


def test_verse_is_cut_between_lines_after_sentences_with_rhymes_together() -> None:
    owl = read_story(EXAMPLES / "owl-and-pussycat.txt")
    for scene in split_scenes(owl):
        assert scene.original.rstrip("\"'").endswith((".", "!", "?", ";"))
    poem = parse_story(
        "\n".join(f"The stars above were shining bright,\nAnd all was {i} that winter night." for i in range(100))
    )
    scenes = split_scenes(poem)
    holds(poem, scenes)
    assert all(len(scene.original.split("\n")) % 2 == 0 for scene in scenes)


@pytest.mark.parametrize(
    ("a", "b", "yes"),
    [
        ("went to sea", "it shall be", True),
        ("pea-green boat,", "five-pound note.", True),
        ("stars above,", "my love!", True),
        ("Bong-Tree grows", "of his nose,", True),
        ("high", "to the sky", True),
        ("a fox", "some grapes", False),
        ("", "", False),
    ],
)
def test_rhymes(a: str, b: str, yes: bool) -> None:
    assert rhymes(a, b) is yes


def test_a_long_book_is_told_in_broad_strokes() -> None:
    story = parse_story((EXAMPLES / "jack-and-the-beanstalk.txt").read_text() * 80)
    assert len(story.text) > 900_000
    scenes = split_scenes(story)
    holds(story, scenes)
    assert len(scenes) == 120


def test_longer_stories_have_more_scenes() -> None:
    counts = [scenes_for(words) for words in (1, 10, 80, 240, 400, 401, 2500, 10**6)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 120


@settings(max_examples=120, deadline=None)
@given(
    st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\n .!?-*#\"'。abI")), min_size=1, max_size=300),
    st.sampled_from(HOWS),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_any_text_is_cut_without_loss(text: str, how: How, count: int | None) -> None:
    try:
        story = parse_story(text)
    except BadInput:
        return
    scenes = split_scenes(story, how=how, scenes=count)
    holds(story, scenes)
    assert count is None or len(scenes) <= count
