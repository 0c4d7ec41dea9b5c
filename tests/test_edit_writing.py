"""Triplets: the format, the rules, and writers that behave or don't: a grammar, a real server, language models."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_factory import write_slowly
from limner.edits.grammar import STORYBOOK_EDITS, WORLDS, Grammar, GrammarWriter, World
from limner.edits.triplets import BETWEEN, END, Source, Triplet, judged, read_captions, read_triplets, same, written
from limner.edits.write import MOST_IN_A_ROW, TRIES, ServerWriter, Tally, forbidding, order, write
from limner.errors import BadInput, LimnerError, MissingExtra
from limner.hub import load
from limner.stickers.world import combination_is_held_out

FOXES = [Source(f"a fox and {n} trees") for n in range(3)]
CROWS = [Source(f"a crow and {n} trees", f"http://pictures.invalid/{n}") for n in range(6)]
TEXT = st.text(min_size=0, max_size=40)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("completion_server.py"))], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.wait()


def asked(server: str, mode: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{server}/asked/{mode}") as answer:
        return list(json.load(answer))


def serve(server: str, mode: str, sources: Sequence[Source], out: Path, **options: object) -> tuple[Tally, list[float]]:
    slept: list[float] = []
    writer = ServerWriter(f"{server}/{mode}/v1", "a-model")
    return write(sources, writer, out, sleep=slept.append, **options), slept


def rejected(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(f"{out}.rejected.jsonl").read_text().splitlines()]


# The format


def test_the_format_is_the_published_one() -> None:
    one = Triplet("a fox", "make it night", "a fox at night")
    assert (one.prompt, one.completion) == ("a fox\n##\n", "make it night\n%%\na fox at night\nEND")
    assert judged(Source("a fox"), one.completion) == one
    assert judged(Source("a fox"), one.completion.removesuffix("\nEND")) == one  # what a stop word leaves


@given(TEXT, TEXT, TEXT)
@settings(deadline=None)
def test_what_is_judged_good_says_something_new_and_comes_back_from_a_file(
    caption: str, edit: str, output: str
) -> None:
    made = judged(Source(caption), f"{edit}{BETWEEN}{output}{END}")
    if isinstance(made, Triplet):
        assert made.edit and made.output and not same(caption, made.output)
        assert "\n" not in made.line()[:-1]
        assert json.loads(made.line())["output"] == made.output


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        ("make it night", "1 parts"),
        ("make it\n%%\nnight\n%%\nfall", "3 parts"),
        ("make it night\n%%\n", "empty"),
        ("\n%%\na fox at night", "empty"),
        ("do nothing\n%%\nA FOX.!?", "is the caption"),
        ("make it night\n%%\n a fox ", "is the caption"),
        (f"make it {'very ' * 1000}dark\n%%\ndark", "2,000 characters"),
        ("shoot it\n%%\na dead fox", "moderation"),
    ],
)
def test_unusable_completions_are_rejected_with_the_reason(completion: str, why: str) -> None:
    assert why in str(judged(Source("a fox"), completion, lambda text: "dead" in text))


def test_both_key_names_and_lessons_are_read(tmp_path: Path) -> None:
    file = tmp_path / "triplets.jsonl"
    rows = [
        {"caption": "a fox", "edit": "night", "output": "a fox at night", "url": "http://a"},
        {"input": "a crow", "edit": "day", "output": "a crow by day"},
        {"prompt": "an owl\n##\n", "completion": "add two\n%%\nthree owls\nEND"},
    ]
    file.write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), "utf-8")
    found = read_triplets(file)
    assert [one.caption for one in found] == ["a fox", "a crow", "an owl"]
    assert found[0].url == "http://a" and found[2].output == "three owls"
    file.write_bytes(written(found))
    assert read_triplets(file) == found


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b'{"caption": 1}', b"[" * 2000, b"null", b"{}"]))))
def test_no_file_of_triplets_is_more_than_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("wild") / "wild.jsonl"
    good = b'{"caption": "a", "edit": "b", "output": "c"}'
    file.write_bytes(b"\n".join([*lines, good]))
    told: list[str] = []
    try:
        assert read_triplets(file, told.append)[-1] == Triplet("a", "b", "c")
    except BadInput as error:
        assert "UTF-8" in str(error)


def test_captions_come_once_and_addresses_too(tmp_path: Path) -> None:
    plain = tmp_path / "captions.txt"
    plain.write_text("a  fox\n\na crow \na fox\n")
    assert [one.caption for one in read_captions(plain)] == ["a fox", "a crow"]
    lines = tmp_path / "captions.jsonl"
    rows = [{"TEXT": "a fox", "URL": "u"}, {"text": "a crow", "url": "u"}, {"caption": "an owl"}, {"no": "caption"}]
    lines.write_text("\n".join(map(json.dumps, rows)))
    told: list[str] = []
    assert [one.caption for one in read_captions(lines, told.append)] == ["a fox", "an owl"]
    assert len(told) == 1 and "line 4" in told[0]
    with pytest.raises(BadInput, match="holds no captions"):
        read_captions(_empty(tmp_path / "empty.txt"))


def _empty(path: Path) -> Path:
    path.write_text("\n\n")
    return path


# The grammar


@pytest.mark.parametrize("world", WORLDS)
def test_the_grammar_is_a_function_of_seed_and_number_and_always_changes_the_caption(world: World) -> None:
    first, second = Grammar(world, 3), Grammar(world, 3)
    made = [first.triplet(number) for number in range(60)]
    assert [second.triplet(number) for number in reversed(range(60))] == made[::-1]
    assert made != [Grammar(world, 4).triplet(number) for number in range(60)]
    for one in made:
        assert judged(Source(one.caption), one.completion) == one


def test_the_storybooks_grammar_speaks_of_what_it_draws() -> None:
    tokenise = load("storybook").tokenise
    grammar = Grammar("storybook", 1)
    told = [grammar.told(number) for number in range(200)]
    assert {made.kind for made, _ in told} == set(STORYBOOK_EDITS)
    assert not any(tokenise.unknown(text) for _, one in told for text in (one.caption, one.output))


@pytest.mark.parametrize("held_out", [False, True])
def test_the_grammar_keeps_to_its_side_of_the_split(held_out: bool) -> None:
    grammar = Grammar("storybook", 2, held_out=held_out)
    for number in range(20):
        made, _ = grammar.told(number)
        assert any(map(combination_is_held_out, (made.before, made.after))) == held_out


def test_all_captions_of_a_grammar_are_written(tmp_path: Path) -> None:
    known = GrammarWriter(Grammar("storybook", 5), 40)
    tally = write(known.sources, known, tmp_path / "t.jsonl", together=7)
    assert (tally.done, tally.left) == (len(known.known), 0)
    assert {one.caption: one for one in read_triplets(tmp_path / "t.jsonl")} == known.known


# A server


def test_a_chat_gets_the_published_settings_and_examples_in_the_format(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_WRITER_KEY", "sk-secret")
    out = tmp_path / "t.jsonl"
    tally, _ = serve(server, "good", FOXES, out)
    assert (tally.done, tally.rejected, tally.left) == (3, 0, 0)
    question = asked(server, "good")[0]
    assert question["temperature"] == 0.7 and question["frequency_penalty"] == 0.1 and question["max_tokens"] == 256
    assert question["stop"] == ["\nEND"] and question["key"] == "Bearer sk-secret" and "response_format" not in question
    roles = [message["role"] for message in question["messages"]]
    assert roles == ["system", *["user", "assistant"] * 4, "user"]
    for message in question["messages"][1:]:
        assert message["content"].endswith("\n##\n" if message["role"] == "user" else "\nEND")
    assert "sk-secret" not in out.read_text()


def test_a_taught_model_gets_the_bare_prompt(server: str, tmp_path: Path) -> None:
    writer = ServerWriter(f"{server}/bare/v1/completions", "a-model")
    write(FOXES[:1], writer, tmp_path / "t.jsonl")
    (question,) = asked(server, "bare")
    assert question["path"] == "completions" and question["prompt"] == "a fox and 0 trees\n##\n"
    assert read_triplets(tmp_path / "t.jsonl")[0].output == "a fox and 0 trees at night"


def test_several_captions_at_once_are_written_in_their_order(server: str, tmp_path: Path) -> None:
    for together in (1, 4):
        serve(server, "together", CROWS, tmp_path / f"{together}.jsonl", together=together)
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "4.jsonl").read_text()
    assert {one.url for one in read_triplets(tmp_path / "4.jsonl")} == {source.url for source in CROWS}


@pytest.mark.parametrize(
    ("mode", "questions", "pauses"), [("runon", 1, 0), ("second", 2, 0), ("fourth", 4, 0), ("shaky", 3, 2)]
)
def test_what_comes_right_within_four_tries_is_kept(
    server: str, tmp_path: Path, mode: str, questions: int, pauses: int
) -> None:
    tally, slept = serve(server, mode, FOXES[:1], tmp_path / "t.jsonl")
    assert (tally.done, tally.rejected) == (1, 0)
    assert len(asked(server, mode)) == questions and slept == [1.0] * pauses
    assert read_triplets(tmp_path / "t.jsonl")[0].output == "a fox and 0 trees at night"


@pytest.mark.parametrize(
    ("mode", "why"),
    [("same", "is the caption"), ("prose", "1 parts"), ("three", "3 parts"), ("half", "empty"), ("endless", "2,000")],
)
def test_what_never_comes_right_is_set_aside_with_the_reason(server: str, tmp_path: Path, mode: str, why: str) -> None:
    out = tmp_path / "t.jsonl"
    tally, slept = serve(server, mode, FOXES, out)
    assert (tally.done, tally.rejected) == (0, 3) and not slept and not out.exists()
    assert all(why in line["why"] and line["completion"] for line in rejected(out))
    assert len(asked(server, mode)) == TRIES * 3
    again, _ = serve(server, mode, FOXES, out)  # they aren't tried again
    assert again.rejected == 3 and len(asked(server, mode)) == TRIES * 3


def test_a_picky_writer_loses_nothing_but_what_it_refuses(server: str, tmp_path: Path) -> None:
    tally, _ = serve(server, "picky", [*FOXES, *CROWS], tmp_path / "t.jsonl", together=4)
    assert (tally.done, tally.rejected, tally.left) == (6, 3, 0)


def test_a_writer_that_is_no_good_is_stopped_and_shown(server: str, tmp_path: Path) -> None:
    many = [Source(f"caption {n}") for n in range(200)]
    with pytest.raises(LimnerError, match="buy our soap") as raised:
        serve(server, "prose", many, tmp_path / "t.jsonl")
    assert f"The last {MOST_IN_A_ROW} captions" in str(raised.value) and "limner edits teach" in str(raised.value)
    assert len(rejected(tmp_path / "t.jsonl")) == MOST_IN_A_ROW


@pytest.mark.parametrize("mode", ["down", "web"])
def test_a_server_that_is_down_is_asked_four_times_and_said(server: str, tmp_path: Path, mode: str) -> None:
    with pytest.raises(LimnerError, match="failed 4 times; what was written stays"):
        serve(server, mode, FOXES, tmp_path / "t.jsonl")
    assert len(asked(server, mode)) == TRIES


def test_what_was_written_before_a_server_fails_stays_and_is_gone_on_from(server: str, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    with pytest.raises(LimnerError):
        serve(server, "fails", CROWS, out)
    assert len(read_triplets(out)) == 3
    tally, _ = serve(server, "good", CROWS, out)
    assert tally.done == 6
    serve(server, "good", CROWS, tmp_path / "whole.jsonl")
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_moderation_by_a_list_and_by_the_server(server: str, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("FOX\nblood and thunder\n")
    listed = forbidding(words)
    assert listed("a fox.") and listed("Blood  and thunder".replace("  ", " ")) and not listed("foxes and bloodhounds")
    tally, _ = serve(server, "wolves", [*FOXES, *CROWS[:1]], tmp_path / "t.jsonl", flagged=listed)
    assert (tally.done, tally.rejected) == (1, 3)
    assert all("moderation" in line["why"] and not line["completion"] for line in rejected(tmp_path / "t.jsonl"))
    writer = ServerWriter(f"{server}/wolves/v1", "a-model")
    tally = write(CROWS[:1], writer, tmp_path / "u.jsonl", flagged=writer.flagged)
    assert (tally.done, tally.rejected) == (0, 1) and "moderation" in rejected(tmp_path / "u.jsonl")[0]["why"]


# Order, parts, going on


def test_the_order_is_numpys_permutation_and_parts_share_it_out() -> None:
    assert order(10) == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]  # numpy.random.seed(0); permutation(10)
    assert [n for which in range(3) for n in order(10, (which, 3))] == order(10)
    with pytest.raises(BadInput, match="counted from 0"):
        order(10, (3, 3))


def test_killed_while_writing_it_goes_on_without_a_gap_or_a_line_twice(tmp_path: Path) -> None:
    out, whole = tmp_path / "t.jsonl", tmp_path / "whole.jsonl"
    write_slowly(60, whole)
    command = [sys.executable, str(Path(__file__).with_name("edit_factory.py")), "write", "60", str(out), "0.01"]
    moments, had = random.Random(5), 0
    for _ in range(3):
        process = subprocess.Popen(command)
        try:
            process.wait(1.5 + moments.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        have = out.read_bytes().count(b"\n") if out.exists() else 0
        assert have >= had
        had = have
    if out.exists():
        with out.open("ab") as file:
            file.write(b'{"caption": "cut')  # the worst that a crash leaves
    write_slowly(60, out)
    assert out.read_bytes() == whole.read_bytes()
    assert rejected(out) == rejected(whole) and rejected(out)


# Language models

LANGUAGE = pytest.mark.skipif(
    not importlib.util.find_spec("transformers"), reason="the diffusion extra isn't installed"
)


@pytest.fixture(scope="module")
def lessons() -> list[Triplet]:
    nouns = ["fox", "crow", "owl", "boy"]
    return [Triplet(f"a {one} by day", "make it night", f"a {one} at night") for one in nouns] * 8


@pytest.fixture(scope="module")
def pupil(lessons: list[Triplet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from limner.edits.language import teach

    return teach(
        lessons, tmp_path_factory.mktemp("taught") / "writer", epochs=40, width=64, depth=2, rate=3e-3, threads=1
    )


@LANGUAGE
def test_a_model_from_nothing_learns_the_format_and_to_copy(
    pupil: Path, lessons: list[Triplet], tmp_path: Path
) -> None:
    from limner.edits.language import LanguageModel

    sources = [Source(caption) for caption in dict.fromkeys(one.caption for one in lessons)]
    tally = write(sources, LanguageModel(pupil), tmp_path / "t.jsonl", together=4)
    assert tally.done == len(sources)
    assert {one for one in read_triplets(tmp_path / "t.jsonl")} == set(lessons)


@LANGUAGE
def test_what_is_sampled_depends_on_seed_number_and_attempt_alone(pupil: Path) -> None:
    from limner.edits.language import LanguageModel

    model, captions = LanguageModel(pupil, seed=3), ["a fox by day", "a crow", "a boy by day by night"]
    together = model.complete(captions, [4, 5, 6], 1)
    assert [model.complete([one], [n], 1)[0] for one, n in zip(captions, (4, 5, 6), strict=True)] == together
    wild(model)
    said = {model.complete(["a fox"], [number], attempt)[0] for number in range(2) for attempt in range(2)}
    assert len(said) == 4


def wild(model: Any) -> None:
    """A language model that says anything."""
    for parameter in model.model.parameters():
        parameter.data.normal_(0, 0.1)
    model.longest = 16


@LANGUAGE
def test_a_folder_is_one_that_transformers_opens(pupil: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pupil)
    AutoModelForCausalLM.from_pretrained(pupil)
    for text in ("a fox by day\n##\n", "make it night\n%%\na fox at night\nEND"):
        assert tokenizer.decode(tokenizer(text).input_ids, clean_up_tokenization_spaces=False) == text


@LANGUAGE
def test_an_untaught_model_is_an_error_that_shows_its_garbage(pupil: Path, tmp_path: Path) -> None:
    from limner.edits.language import LanguageModel

    model = LanguageModel(pupil)
    wild(model)
    with pytest.raises(LimnerError, match="Was the model taught the format"):
        write([Source(f"fox {n}") for n in range(60)], model, tmp_path / "t.jsonl", together=20)


@LANGUAGE
def test_folders_that_are_no_language_model_and_missing_peft(
    pupil: Path, lessons: list[Triplet], tmp_path: Path
) -> None:
    from limner.edits.language import LanguageModel, teach

    with pytest.raises(BadInput, match="no folder of a language model"):
        LanguageModel(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(BadInput, match="can't be opened"):
        LanguageModel(tmp_path)
    if importlib.util.find_spec("peft") is None:
        with pytest.raises(MissingExtra, match=r"limner\[edits\]"):
            teach(lessons, tmp_path / "tuned", base=pupil)
    else:  # only what is learned is saved, and it can be asked
        tuned = teach(lessons, tmp_path / "tuned", base=pupil, rank=2, threads=1)
        assert (tuned / "adapter_model.safetensors").stat().st_size < (pupil / "model.safetensors").stat().st_size
        assert LanguageModel(tuned).complete(["a fox by day"], [0], 0)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in pupil.iterdir():
        (damaged / file.name).write_bytes(
            file.read_bytes()[:-1] if file.suffix == ".safetensors" else file.read_bytes()
        )
    with pytest.raises(BadInput, match="damaged"):
        LanguageModel(damaged)
