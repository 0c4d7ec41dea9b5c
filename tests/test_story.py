"""Reading stories: encodings, shapes of text, titles, and anything at all without a crash."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.film.language import count_words, guess_language, sentences
from limner.film.story import parse_story, read_story

EXAMPLES = Path(__file__).parent.parent / "examples"

TALES = {
    "en": (
        "“It’s a café,” she said — “isn’t it?” And the fox went on.",
        "cp1252 mac_roman utf-16-le utf-32-be utf-8-sig",
    ),
    "fr": ("Maître Corbeau, sur un arbre perché, tenait en son bec un fromage très âgé. C’est ça…", "cp1252 mac_roman"),
    "de": (
        "Es war einmal ein süßes Mädchen, das hatte jeder lieb. „Ich möchte größer werden“, sagte es.",
        "cp1252 mac_roman",
    ),
    "es": (
        "Había una vez un niño pequeño que vivía en España. ¡Qué bonito! ¿Dónde está el león?",
        "cp1252 latin_1 utf-16",
    ),
    "pl": ("Dawno, dawno temu żył sobie król, który miał córkę piękną jak gwiazdka, i nie było jej", "cp1250"),
    "ru": (
        "Жил-был старик со своею старухой у самого синего моря; они жили в ветхой землянке",
        "koi8_r cp1251 utf-16-be",
    ),
    "el": ("Μια φορά κι έναν καιρό ήταν μια αλεπού που είδε σταφύλια", "cp1253"),
    "ja": (
        "昔々あるところに、おじいさんとおばあさんが住んでいました。おじいさんは山へ柴刈りに行きました。",
        "cp932 euc_jp iso2022_jp utf-16-le",
    ),
    "zh": ("一只狐狸看见葡萄架上挂着一串串葡萄，垂涎欲滴，想要摘下来吃，但又摘不到。", "gb18030 utf-16-be"),
    "ko": ("옛날 옛적에 호랑이가 담배 피우던 시절에 한 나무꾼이 살았습니다.", "cp949 utf-16-le"),
    "th": ("กาลครั้งหนึ่งนานมาแล้ว มีสุนัขจิ้งจอกตัวหนึ่ง", "cp874 utf-8"),
}


@pytest.mark.parametrize(
    ("language", "encoding"), [(tag, code) for tag, (_, codes) in TALES.items() for code in codes.split()]
)
def test_any_encoding(tmp_path: Path, language: str, encoding: str) -> None:
    text = TALES[language][0]
    path = tmp_path / "eine Geschichte ünï.txt"
    path.write_bytes(text.encode(encoding))
    story = read_story(path)
    assert story.text == text
    assert story.language == language


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \r\n\t \xef\xbb\xbf", "empty|no words"),
        (b"***\n\n---\n", "empty"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04\x14\x00", "zip package"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (bytes(range(256)) * 40, "binary"),
        (b"\x00" * 5000, "binary"),
    ],
)
def test_what_is_no_story_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "story.txt").write_bytes(data)
    with pytest.raises(BadInput, match=message):
        read_story(tmp_path / "story.txt")


def test_missing_folder_and_giant_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        read_story(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="is a folder"):
        read_story(tmp_path)
    with (tmp_path / "giant.txt").open("wb") as file:
        file.truncate(20_000_001)
    with pytest.raises(BadInput, match="may have up to 20 MB"):
        read_story(tmp_path / "giant.txt")


@pytest.mark.parametrize(
    ("text", "title", "author"),
    [
        ("The Fox\nby Aesop\n\nA fox saw some grapes and he wanted them.", "The Fox", "Aesop"),
        ("THE UGLY DUCKLING\n\nIt was so beautiful in the country.", "The Ugly Duckling", ""),
        ("# The *Owl*\n\nby Edward Lear\n\nThe owl went to sea in a boat.", "The Owl", "Edward Lear"),
        ("---\ntitle: Rain\nauthor: A. Person\nlang: en-GB\n---\n\nIt rained.", "Rain", "A. Person"),
        ("The Wolf\n========\n\nThere was once a wolf.", "The Wolf", ""),
        ("Der Fuchs\nvon Äsop\n\nEin Fuchs sah Trauben und wollte sie haben.", "Der Fuchs", "Äsop"),
        ("狐狸和葡萄\n\n一只狐狸看见葡萄架上挂着一串串葡萄，想要摘下来吃。", "狐狸和葡萄", ""),
        ("Once upon a time there was a king.\n\nHe had a daughter.", "", ""),
        ("Said he:\n\n“Come in.” And so they all went in.", "", ""),
    ],
)
def test_title_and_author(text: str, title: str, author: str) -> None:
    story = parse_story(text)
    assert (story.title, story.author) == (title, author)
    assert title not in story.text or not title


def test_a_gutenberg_book_loses_its_licence() -> None:
    book = (
        "The Project Gutenberg eBook of Fables\n\nTitle: Fables\nAuthor: Aesop\n\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK FABLES ***\n\nA crow sat\r\nin a _very_ tall tree.\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK FABLES ***\n\nLicence terms follow."
    )
    story = parse_story(book)
    assert (story.title, story.author, story.text) == ("Fables", "Aesop", "A crow sat in a very tall tree.")


def test_markdown_leaves_only_words() -> None:
    story = parse_story(
        "# Tale\n\n> A **bold** [fox](http://example.org) saw ![art](a.png)\n> some *fine* grapes.\n\n* * *\n\n"
        "<!-- note -->He asked for 2 * 3 snake_case_words.\n\n## Chapter II\n\nThe end."
    )
    assert (
        story.text
        == "A bold fox saw some fine grapes.\n\nHe asked for 2 * 3 snake_case_words.\n\nChapter II\n\nThe end."
    )
    assert [block.kind for block in story.blocks] == ["paragraph", "break", "paragraph", "heading", "paragraph"]


def test_verse_keeps_its_lines_and_prose_is_joined() -> None:
    owl = read_story(EXAMPLES / "owl-and-pussycat.txt")
    assert owl.verse and (owl.title, owl.author, owl.language) == ("The Owl and the Pussy-Cat", "Edward Lear", "en")
    assert [len(block.lines) for block in owl.blocks if block.kind == "stanza"] == [11, 11, 11]
    fox = read_story(EXAMPLES / "fox-and-grapes.txt")
    assert not fox.verse and fox.text.count("\n") == 0
    jack = read_story(EXAMPLES / "jack-and-the-beanstalk.txt")
    assert not jack.verse and jack.author == "Joseph Jacobs" and count_words(jack.text) > 1500
    long = parse_story("\n".join(f"Line number {i} goes lightly,\nAnd it shines so brightly." for i in range(100)))
    assert long.verse and len(long.blocks[0].lines) == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Stop!" cried Jack. "I am Mr. Fox," said he.', ['"Stop!" cried Jack.', '"I am Mr. Fox," said he.']),
        ("It cost 3.5 pence! J. R. Smith came; he left.", ["It cost 3.5 pence!", "J. R. Smith came; he left."]),
        (
            '"Who is it?" Jack asked. Nobody spoke... Nobody.',
            ['"Who is it?" Jack asked.', "Nobody spoke...", "Nobody."],
        ),
        ("狐狸看見葡萄。「真酸！」他走了。", ["狐狸看見葡萄。", "「真酸！」", "他走了。"]),
        ("Εἶναι καλά; Ναι.\n\nΤέλος", ["Εἶναι καλά; Ναι.", "Τέλος"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_an_unknown_language_is_und() -> None:
    assert guess_language("Blorp zzyx quuv flarn grobble snarf") == guess_language("12 34 !?") == "und"


ANY_TEXT = st.text(
    alphabet=st.one_of(st.characters(), st.sampled_from("\n\r \"'.!?-*#_[]()<>“”。ab,;:I")), max_size=400
)


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT)
def test_any_text_makes_a_story_whose_spans_hold(text: str) -> None:
    try:
        story = parse_story(text)
    except BadInput:
        return
    at = 0
    for block in story.blocks:
        assert at <= block.span.start <= block.span.end <= len(story.text)
        at = block.span.end
        for line in block.lines:
            assert block.span.start <= line.start <= line.end <= block.span.end
            assert "\n" not in line.of(story.text)
    told = "".join(block.span.of(story.text) for block in story.blocks)
    assert "".join(told.split()) == "".join(story.text.split())


@settings(max_examples=100, deadline=None)
@given(ANY_TEXT)
def test_sentences_lose_no_word(text: str) -> None:
    spans = sentences(text)
    assert all(a < b for a, b in spans) and all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "story.txt"
    path.write_bytes(data)
    try:
        assert read_story(path).text
    except BadInput as error:
        assert str(path) in str(error)
