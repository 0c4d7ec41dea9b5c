"""The Sticker World: what it says is what it shows, and all of it is a function of (seed, index)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.stickers import edits, vocabulary
from limner.stickers.captions import NUMBERS, caption, describe, split, words
from limner.stickers.edits import EDITS, Edit, edit
from limner.stickers.kinds import class_names
from limner.stickers.vocabulary import COLOURS, PLACES, SEASONS, TIMES, WEATHERS, lookup, lookup_term, noun, nouns
from limner.stickers.world import (
    ROWS,
    SIDES,
    SceneTruth,
    columns_of,
    combination_is_held_out,
    compose,
    places_of,
    render,
    render_labels,
    times_of,
    weathers_of,
)

SCENES = [compose(11, index) for index in range(600)]


# --- words ----------------------------------------------------------------------------------------------------------


def test_no_word_means_two_nouns() -> None:
    meanings: dict[str, set[str]] = {}
    for what in nouns():
        for word in {what.name, what.plural, *what.synonyms}:
            meanings.setdefault(word, set()).add(what.name)
    assert {word: names for word, names in meanings.items() if len(names) > 1} == {}
    places = [word for term in (*PLACES, *TIMES, *WEATHERS, *SEASONS) for word in (term.name, *term.synonyms)]
    assert max(Counter(places).values()) == 1


def test_there_are_enough_nouns_and_each_can_be_somewhere() -> None:
    assert 250 <= len(nouns()) <= 300
    assert len({what.name for what in nouns()}) == len(nouns())
    assert len(vocabulary.storybook_nouns()) >= 60
    assert [what.name for what in nouns() if not places_of(what.name)] == []
    assert all(set(what.colours) <= set(COLOURS) and what.size in SIDES for what in nouns())


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Foxes", "fox"), ("vixen", "fox"), ("grapes", "bunch of grapes"), ("Pussy-Cat", "cat"),
        ("pea-green boat", "boat"),
        ("honey", "honey pot"), ("money", "money bag"), ("five-pound note", "banknote"), ("small guitar", "guitar"),
        ("bong-tree", "tree"), ("piggy-wig", "pig"), ("mince", "piece of meat"), ("quince", "pear"),
        ("runcible spoon", "spoon"), ("fowl", "hen"), ("loaves of bread", "loaf of bread"), ("mice", "mouse"),
        ("wolves", "wolf"), ("geese", "goose"), ("turtles", "tortoise"), ("queen", "princess"), ("shepherd", "farmer"),
    ],
)  # fmt: skip
def test_the_words_of_stories_are_known(word: str, name: str) -> None:
    found = lookup(word)
    assert found is not None and found.name == name


def test_words_for_the_setting_are_known_and_others_are_not() -> None:
    for word, terms, name in (
        ("woods", PLACES, "forest"), ("hill", PLACES, "meadow"), ("sand", PLACES, "beach"), ("evening", TIMES, "dusk"),
        ("midnight", TIMES, "night"), ("storm", WEATHERS, "rain"), ("fall", SEASONS, "autumn"),
    ):  # fmt: skip
        term = lookup_term(word, terms)
        assert term is not None and term.name == name
    assert lookup("epistemology") is None and lookup("") is None and lookup_term("fox", PLACES) is None


def test_the_vocabulary_is_light() -> None:
    code = "import sys, limner.stickers.vocabulary; sys.exit(bool({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- scenes ---------------------------------------------------------------------------------------------------------


def test_a_scene_depends_on_seed_and_index_alone(sticker_art: Path) -> None:
    later = {index: compose(11, index) for index in (599, 3, 71)}
    assert all(later[index] == SCENES[index] for index in later)
    assert compose(12, 3) != SCENES[3]
    pictures = {index: render(SCENES[index], 256, 144) for index in (5, 6, 7)}
    for index in (7, 5, 6):
        assert np.array_equal(render(SCENES[index], 256, 144), pictures[index])
    code = (
        "import hashlib; from limner.stickers.world import compose, render\n"
        "print(hashlib.sha256(render(compose(11, 6), 256, 144).tobytes()).hexdigest())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    import hashlib

    assert elsewhere == hashlib.sha256(pictures[6].tobytes()).hexdigest()


def test_nothing_is_cut_off_and_everything_is_where_it_can_be() -> None:
    for truth in SCENES:
        assert 1 <= len(truth.things) <= 5
        names = {thing.noun for thing in truth.things}
        assert truth.time in times_of(truth.place, names)
        assert truth.weather in weathers_of(truth.place, truth.season)
        for thing in truth.things:
            left, top, right, bottom = truth.box(thing)
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
            assert truth.place in places_of(thing.noun)
            assert thing.side == SIDES[noun(thing.noun).size][thing.size]
            assert thing.colour is None or thing.colour in noun(thing.noun).colours


def test_every_noun_place_and_relation_comes_up() -> None:
    seen = [compose(1, index) for index in range(1500)]
    assert {thing.noun for truth in seen for thing in truth.things} == {what.name for what in nouns()}
    assert {truth.place for truth in seen} == {place.name for place in PLACES}
    kinds = Counter(relation.kind for truth in seen for relation in truth.relations)
    assert set(kinds) == {"left of", "right of", "above", "below", "on", "under", "behind", "in front of", "inside"}
    assert {count for truth in seen for count in truth.counts.values()} == {1, 2, 3, 4}


def test_relations_hold() -> None:
    for truth in SCENES:
        for relation in truth.relations:
            a, b = truth.things[relation.subject], truth.things[relation.target]
            overlap = min(a.left + a.side, b.left + b.side) - max(a.left, b.left)
            match relation.kind:
                case "left of":
                    assert a.centre < b.centre
                case "right of":
                    assert a.centre > b.centre
                case "above":
                    assert a.bottom <= b.top and overlap > 0
                case "below":
                    assert a.top >= b.bottom and overlap > 0
                case "behind":
                    assert relation.subject < relation.target and a.bottom <= max(b.bottom, a.side)
                case "in front of":
                    assert relation.subject > relation.target
                case _:  # on, under, inside: drawn later, over it
                    assert relation.subject > relation.target and overlap > 0


def test_label_maps_agree_with_the_truth(sticker_art: Path) -> None:
    numbers = {name: number for number, name in enumerate(class_names())}
    for truth in SCENES[:70]:
        classes, instances = render_labels(truth, 256, 144)
        assert classes.shape == instances.shape == (144, 256)
        for k, thing in enumerate(truth.things):
            rows, columns = np.nonzero(instances == k + 1)
            assert len(rows) > 0, (truth, thing)  # whatever is in a scene can be seen
            left, top, right, bottom = truth.box(thing)
            assert left * 256 - 1 <= columns.min() and columns.max() <= right * 256
            assert top * 144 - 1 <= rows.min() and rows.max() <= bottom * 144
            assert set(np.unique(classes[instances == k + 1])) == {numbers[thing.noun]}
        assert classes[instances == 0].max(initial=0) < 8


def test_labels_mark_exactly_what_the_stickers_change(sticker_art: Path) -> None:
    dry = [t for t in SCENES if t.weather == "clear" and all(thing.zone != "water" for thing in t.things)]
    for truth in dry[:40]:
        bare = render(replace(truth, things=(), arranged=()), 256, 144).astype(int)
        changed = np.abs(render(truth, 256, 144).astype(int) - bare).max(2) > 130  # more than two shadows do
        _, instances = render_labels(truth, 256, 144)
        grown = np.zeros_like(changed)  # edges are soft, so that a pixel more may change
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                grown |= np.roll(instances > 0, (dy, dx), (0, 1))
        assert not (changed & ~grown).any()


@settings(max_examples=12)
@given(
    st.tuples(st.integers(48, 400), st.integers(48, 300)).filter(lambda size: 0.7 <= size[0] / size[1] <= 4),
    st.integers(0, 10**6),
    st.sampled_from(["fluent", "line", "noto"]),
)
def test_any_size_can_be_rendered(sticker_home: Path, size: tuple[int, int], index: int, style: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_HOME", str(sticker_home))
        truth = compose(0, index, columns=columns_of(*size), styles=(style,))
        picture = render(truth, *size)
        assert picture.shape == (size[1], size[0], 3) and picture.dtype == np.uint8
        assert render_labels(truth, *size)[0].shape == (size[1], size[0])
        assert all(thing.left + thing.side <= truth.columns and thing.top >= 0 for thing in truth.things)
        assert max(thing.bottom for thing in truth.things) <= ROWS


def test_time_weather_season_and_style_can_be_seen(sticker_art: Path) -> None:
    truth = next(t for t in SCENES if t.place == "meadow")
    looks = [replace(truth, time=time, weather="clear", season="summer") for time in ("day", "dusk", "night")]
    looks += [replace(looks[0], weather=weather) for weather in ("cloudy", "rain", "snowfall", "fog")]
    looks += [replace(looks[0], season=season) for season in ("spring", "autumn", "winter")]
    looks += [replace(looks[0], style=style) for style in ("line", "noto")]
    pictures = [render(look, 128, 72).astype(float) for look in looks]
    apart = [np.abs(a - b).mean() for k, a in enumerate(pictures) for b in pictures[:k]]
    assert min(apart) > 1.0


def test_held_out_combinations_are_a_few_and_do_not_depend_on_their_order() -> None:
    held = [truth for truth in (compose(2, index) for index in range(1200)) if combination_is_held_out(truth)]
    assert 18 <= len(held) <= 60
    for truth in held:
        assert combination_is_held_out(replace(truth, things=truth.things[::-1], weather="fog", layout=0))


# --- captions -------------------------------------------------------------------------------------------------------


def things_said(text: str) -> list[tuple[int, str]]:
    """How many of what a caption speaks of: every longest name or plural in it, with the number or article before."""
    forms = {form: what.name for what in nouns() for form in (what.name, what.plural)}
    longest_first = sorted(forms, key=len, reverse=True)
    adjectives = "(?:(?:small|little|big|large) )??(?:(?:" + "|".join(COLOURS) + ") )??"
    pattern = re.compile(rf"\b(an?|two|three|four) {adjectives}({'|'.join(map(re.escape, longest_first))})(?=$|[ ,:])")
    return [(max(1, NUMBERS.index(n) if n in NUMBERS else 1), forms[form]) for n, form in pattern.findall(text)]


def phrases_said(text: str, terms: tuple[vocabulary.Term, ...]) -> set[str]:
    return {
        term.name
        for term in terms
        for phrase in term.phrases
        if re.search(rf"(^|[ ,:]){re.escape(phrase)}($|[ ,:])", text)
    }


def test_captions_say_only_what_is_true() -> None:
    for index, truth in enumerate(SCENES):
        counted = Counter(thing.noun for thing in truth.things)
        for wording in (0, index + 1, index + 10_000):
            text = caption(truth, wording)
            setting = text
            for thing in truth.things:  # what is left is the setting, in which "red shoe" can't be taken for a colour
                setting = setting.replace(noun(thing.noun).name, "").replace(noun(thing.noun).plural, "")
            said = things_said(text)
            assert sorted(said) == sorted((count, name) for name, count in counted.items()), (text, truth)
            assert phrases_said(text, PLACES) <= {truth.place} | ({"forest"} if truth.place == "forest" else set())
            assert phrases_said(text, TIMES) <= {truth.time}
            assert {word for word in ("fog", "cloudy") if word in setting} <= {truth.weather}
            assert phrases_said(text, SEASONS) <= {truth.season}
            colours = {word for word in split(setting) if word in COLOURS} - {"green", "grey"}
            assert colours <= {thing.colour for thing in truth.things}


def test_the_canonical_caption_leaves_nothing_out() -> None:
    for truth in SCENES:
        text = caption(truth)
        for kind, count in truth.counts.items():
            thing = next(t for t in truth.things if t.kind == kind)
            assert describe(thing, count) in text
        assert phrases_said(text, PLACES) == {truth.place}
        assert truth.place == "space" or phrases_said(text, TIMES) == {truth.time}
        for relation in truth.arranged:
            assert {"inside": " in "}.get(relation.kind, f" {relation.kind} ") in text


def test_captions_vary_are_repeatable_and_made_of_known_words() -> None:
    known = set(words())
    assert len(known) < 1000
    for truth in SCENES[:200]:
        assert len({caption(truth, wording) for wording in range(12)}) >= 3
        for wording in range(4):
            text = caption(truth, wording, styled=True)
            assert text == caption(truth, wording, styled=True)
            assert set(split(text)) <= known
            assert text == text.lower() and text.isascii() and not re.search(r"[^a-z0-9 ,:'-]", text)


def test_line_drawings_are_not_said_to_have_colours_or_a_time() -> None:
    for truth in SCENES:
        text = caption(replace(truth, style="line"), 5)
        assert phrases_said(text, TIMES) == set()
        assert not any(f"{thing.colour} {thing.noun}" in text for thing in truth.things if thing.colour)


def test_articles_follow_the_sound() -> None:
    phrases = {name: describe(replace(SCENES[0].things[0], noun=name, colour=None, size="normal")) for name in (
        "owl", "unicorn", "hourglass", "umbrella", "urn", "fox",
    )}  # fmt: skip
    assert list(phrases.values()) == ["an owl", "a unicorn", "an hourglass", "an umbrella", "an urn", "a fox"]


# --- edits ----------------------------------------------------------------------------------------------------------


def multiset(truth: SceneTruth) -> Counter[object]:
    return Counter(truth.things)


def lost_and_won(made: Edit) -> tuple[Counter[object], Counter[object]]:
    return multiset(made.before) - multiset(made.after), multiset(made.after) - multiset(made.before)


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_does_what_it_says_and_nothing_else(kind: str) -> None:
    for index in range(25):
        made = edit(3, index, kind=kind)
        assert made == edit(3, index, kind=kind)
        assert made.kind == kind and made.before != made.after
        moment = {key for key in ("place", "time", "weather", "season", "style", "layout", "columns")}
        changed = {key for key in moment if getattr(made.before, key) != getattr(made.after, key)}
        lost, won = lost_and_won(made)
        if kind in ("time", "season", "weather", "place", "style"):
            assert changed == {kind} and not lost and not won
            continue
        assert not changed
        old, new = list(lost), list(won)
        names = {noun(thing.noun).name for thing in (*old, *new)} | {noun(thing.noun).plural for thing in (*old, *new)}
        assert any(name in made.instruction for name in names)
        match kind:
            case "add":
                assert not lost and won
            case "remove":
                assert lost and not won
            case "count":
                assert bool(lost) != bool(won) and len({thing.noun for thing in (*old, *new)}) == 1
                after = made.after.counts[(old or new)[0].kind]
                assert NUMBERS[after] in split(made.instruction)
            case "swap":
                assert {t.noun for t in old} == {t.noun for t in new} and len(old) == len(new) == 2
            case "replace":
                assert old[0].noun != new[0].noun and (old[0].left, old[0].side) == (new[0].left, new[0].side)
            case "recolour":
                assert replace(new[0], colour=old[0].colour) == old[0] and str(new[0].colour) in made.instruction
            case "resize":
                assert old[0].noun == new[0].noun and old[0].bottom == new[0].bottom
                assert (new[0].side > old[0].side) == ("bigger" in made.instruction or "larger" in made.instruction)
            case "move":
                assert replace(new[0], left=old[0].left) == old[0]
                assert {"left": new[0].left == 0, "right": new[0].left + new[0].side == made.after.columns}.get(
                    made.instruction.rpartition(" ")[2], True
                )
        for relation in made.after.relations:
            assert max(relation.subject, relation.target) < len(made.after.things)


def test_edits_fall_back_where_the_nouns_allow_no_such_change() -> None:
    stones = [noun("stone")]  # can't be painted
    assert edit(0, 0, kind="recolour", nouns=stones).kind == "time"


def test_both_sides_of_an_edit_can_be_captioned() -> None:
    known = set(words())
    for index in range(100):
        made = edit(9, index)
        assert caption(made.before) != caption(made.after) or made.kind in ("move", "swap", "style"), made
        assert set(split(caption(made.after))) <= known
        assert set(split(made.instruction)) <= set(edits.words())
