"""Text on pictures: breaking, order, shaping, fonts, and the captions and cards made of them."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bidi import get_display
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.film.bidi import levels
from limner.film.breaking import breaks, columns, words, wrap
from limner.film.captions import CaptionStyle, check_caption, draw_caption, render_caption
from limner.film.cards import end_card, failure_card, title_card
from limner.film.fonts import Face, Fonts, MissingGlyph, check_glyphs, clean, fonts, ignorable
from limner.film.letters import Type, paint, set_lines, shape
from limner.film.planes import to_i420, to_rgb
from limner.film.subtitles import Cue
from limner.film.voice import Word

ARABIC, HEBREW, THAI = "رأى الثعلب العنب", "השועל ראה ענבים", "สุนัขจิ้งจอกเห็นองุ่น"
CHINESE, JAPANESE = "一只狐狸走过果园，来到一串葡萄前。", "きつねは、ぶどうを見て「すっぱい」と言った。"


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(autouse=True, scope="module")
def ideographs() -> object:
    """The fonts of the test set-up for scripts that limner's own fonts don't have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_FONTS", str(package("cvttf_NotoSansCJK_Regular")))
        fonts.cache_clear()
        yield
    fonts.cache_clear()


def latin_only() -> Fonts:
    return Fonts([Face(path) for path in package("fontpkg_noto_sans").rglob("NotoSans[[]*.ttf")])


# --- breaking


def pieces(text: str, language: str) -> list[str]:
    edges = [0, *breaks(text, language), len(text)]
    return [text[i:j] for i, j in pairwise(edges)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The well-known fox", "en", ["The ", "well-", "known ", "fox"]),
        ("it cost 10-12 $5 (or so)", "en", ["it ", "cost ", "10-12 ", "$5 ", "(or ", "so)"]),
        ("wait—what", "en", ["wait", "—", "what"]),
        ("Il dit : « Oui ! » et", "fr", ["Il ", "dit : ", "« Oui ! » ", "et"]),
        ("10\u00a0km away", "en", ["10\u00a0km ", "away"]),
        ("여우가 포도를", "ko", ["여우가 ", "포도를"]),
    ],
)
def test_lines_break_where_readers_expect(text: str, language: str, expected: list[str]) -> None:
    assert pieces(text, language) == expected


def test_scripts_without_spaces_break_between_phrases() -> None:
    assert "葡萄前。" in "".join(pieces(CHINESE, "zh")) and len(pieces(CHINESE, "zh")) > 5
    assert words(JAPANESE, "ja")[0] == (0, 4)
    assert 3 <= len(words(THAI, "th")) <= 6
    assert all(not piece.startswith(tuple("ะาำๅ่้๊๋็์ิีึืุู")) for piece in pieces(THAI, "th"))


WILD = st.text(st.one_of(st.characters(), st.sampled_from("a b、。「」（）!?ーっ狐งุ่นثع\u200d\u0301—-")), max_size=60)


@settings(max_examples=150, deadline=None)
@given(WILD, st.sampled_from(["en", "zh", "ja", "th", ""]), st.integers(4, 42))
def test_wrapping_keeps_every_character_and_the_limit(text: str, language: str, limit: int) -> None:
    lines = wrap(text, limit, language)
    assert "".join("".join(text[i:j].split()) for i, j in lines) == "".join(text.split())
    assert all(a[1] <= b[0] for a, b in pairwise(lines))
    for i, j in lines:
        assert columns(text[i:j]) <= limit or len([c for c in text[i:j] if columns(c)]) <= 2


@settings(max_examples=100, deadline=None)
@given(st.text("あいうっーょ狐。、」）「（！?", max_size=60))
def test_no_line_starts_with_a_closing_mark_or_ends_with_an_opening_one(text: str) -> None:
    for i in breaks(text, "ja"):
        assert text[i] not in "っーょ。、」）！?"
        assert text[i - 1] not in "「（"


# --- order and shaping


def visual_order(text: str) -> list[int]:
    """Offsets of the characters of `text` from left to right."""
    return [glyph.offset for glyph in sorted(shape(text, Type(40)).glyphs, key=lambda glyph: glyph.x)]


@settings(max_examples=300, deadline=None)
@given(st.text("אבגدثabc12٣.,:()[]-+%! \u0301\u200f", min_size=1, max_size=24))
def test_mixed_directions_follow_the_standard(text: str) -> None:
    """Against another implementation of UAX #9."""
    text = text.strip()
    order = list(range(len(text)))
    for level in range(max(levels(text), default=0), 0, -1):
        i = 0
        while i < len(order):
            j = i
            while j < len(order) and levels(text)[order[j]] >= level:
                j += 1
            order[i:j] = order[i:j][::-1]
            i = j + 1
    assert "".join(text[i] for i in order) == get_display(text)


def test_glyphs_lie_in_the_order_that_the_levels_give() -> None:
    for text, expected in (("AB אבג CD", "AB גבא CD"), ("אב AB, גד", "דג ,AB בא"), ("AB (גד) ה", "AB (דג) ה")):
        assert "".join(text[offset] for offset in visual_order(text)) == expected


def test_numbers_inside_right_to_left_text_keep_their_order() -> None:
    text = "אב 125 גד"
    order = visual_order(text)
    assert order.index(3) < order.index(4) < order.index(5)
    assert order[0] == len(text) - 1


def test_arabic_letters_are_joined() -> None:
    joined, apart = shape("ثعلب", Type(40)), [shape(letter, Type(40)) for letter in "ثعلب"]
    assert {glyph.index for glyph in joined.glyphs}.isdisjoint(line.glyphs[0].index for line in apart[1:3])
    assert joined.width < 0.8 * sum(line.width for line in apart)
    assert [glyph.offset for glyph in joined.glyphs if glyph.advance] == [3, 2, 1, 0]


def test_marks_sit_on_their_letters() -> None:
    line = shape("นี่", Type(40))
    base, *marks = line.glyphs
    assert marks and all(mark.advance == 0 and mark.x < base.x + base.advance for mark in marks)


def test_local_letter_forms_follow_the_language() -> None:
    forms = {tag: shape("骨直", Type(40, language=tag)).glyphs[0].index for tag in ("ja", "zh-Hans", "zh-Hant")}
    assert len(set(forms.values())) >= 2


@pytest.mark.parametrize(
    "text", ["The fox — “ÿ” Żółć", "Ελληνικά", "Русский", "लोमड़ी", ARABIC, HEBREW, THAI, CHINESE, JAPANESE]
)
def test_every_script_is_drawn_without_empty_boxes(text: str) -> None:
    line = shape(text, Type(40))
    assert all(glyph.index != 0 for glyph in line.glyphs)
    mask = paint(line, 10, 50, (int(line.width) + 20, 70))
    ink = np.flatnonzero(mask.any(axis=0))
    assert 8 <= ink[0] < 20 and line.width - 12 < ink[-1] < line.width + 14
    assert 0.04 < (mask > 127).mean() < 0.5


def test_painting_is_sub_pixel_and_by_part() -> None:
    line = shape("The fox", Type(40))
    here, beside = (paint(line, x, 50, (200, 70)).astype(float) for x in (10, 10.5))
    assert not np.array_equal(here, beside)
    assert here.sum() == pytest.approx(beside.sum(), rel=0.01)
    parts = [paint(line, 10, 50, (200, 70), part) for part in ((0, 4), (4, 7))]
    assert np.abs(np.maximum(*parts) - here).max() <= 1
    assert not parts[1][:, : int(10 + shape("The", Type(40)).width)].any()
    assert paint(line, -500, 50, (200, 70)).max() == 0


# --- fonts


def test_a_missing_glyph_is_named_with_its_script_and_a_font() -> None:
    with pytest.raises(MissingGlyph, match=r"'狐' \(U\+72D0\).*Noto Sans CJK") as caught:
        check_glyphs("A 狐 and a 狐, and ภ", latin_only())
    assert caught.value.characters == ("狐", "ภ")
    assert "pip install fontpkg-noto-sans-thai" in str(caught.value)
    with pytest.raises(MissingGlyph, match=r"U\+E123"):
        shape("private \ue123 use", Type(20))
    with pytest.raises(MissingGlyph):
        check_caption("no such letter: \U0003fff0")


def test_composed_letters_may_come_from_their_parts() -> None:
    check_glyphs("e\u0301 ệ \u0439 q\u0323", latin_only())
    assert latin_only().missing("a\u200d\ufe0f\u00ad\u2067b\u2069\t") == ()


def test_a_damaged_font_is_passed_over(tmp_path: Path) -> None:
    good = next(package("fontpkg_noto_sans").rglob("NotoSans[[]*.ttf"))
    for name, content in (
        ("a.ttf", b""),
        ("b.ttf", b"\x00\x01\x00\x00" + b"\xff" * 99),
        ("c.ttf", good.read_bytes()[:3000]),
    ):
        (tmp_path / name).write_bytes(content)
    choice = Fonts([*(Face(path) for path in sorted(tmp_path.iterdir())), Face(good)])
    assert choice.face_for("a").path == good


def test_a_fonts_folder_can_be_named(tmp_path: Path) -> None:
    thai = next(package("fontpkg_noto_sans_thai").rglob("*.ttf"))
    (tmp_path / "my thai.ttf").write_bytes(thai.read_bytes())
    assert fonts("text", (tmp_path,)).face_for("ก").path.name == "my thai.ttf"


@settings(max_examples=150, deadline=None)
@given(st.one_of(WILD, st.text("aαбأאกक狐あ1,.()\u200f\u202e\u2067\u2069\u0301\ufe0f ", max_size=40)))
def test_any_text_is_drawn_whole_or_named_missing(text: str) -> None:
    try:
        lines = set_lines(text, Type(24), 300)
    except MissingGlyph as missing:
        assert missing.characters and set(missing.characters) <= set(clean(text))
        return
    for line in lines:
        mask = paint(line, 4, 30, (320, 40))
        assert mask.shape == (40, 320) and mask.dtype == np.uint8
    drawn = {glyph.offset for line in lines for glyph in line.glyphs}
    firsts = [i for i, c in enumerate(clean(text)) if not ignorable(c) and c.isalnum()]
    assert all(any(i - 12 <= offset <= i for offset in drawn) for i in firsts)


# --- captions and cards

TEXT = "The fox looked at the grapes that hung so high"
CUE = Cue(
    1.0, 5.0, TEXT, tuple(Word(TEXT[i:j], 1.0 + n * 0.4, 1.3 + n * 0.4, i) for n, (i, j) in enumerate(words(TEXT)))
)
SIZES = [(640, 360), (360, 640), (480, 480)]


def picture(size: tuple[int, int]) -> np.ndarray:
    return np.full((size[1], size[0], 3), (90, 140, 160), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", ["box", "outline"])
def test_captions_are_inside_the_safe_area(size: tuple[int, int], look: str) -> None:
    before = picture(size)
    after = draw_caption(before.copy(), CUE, 2.0, CaptionStyle(look=look))
    rows, columns_ = np.nonzero(np.any(before != after, axis=2))
    width, height = size
    assert 0.03 * width < columns_.min() and columns_.max() < 0.97 * width
    assert 0.5 * height < rows.min() and rows.max() < 0.95 * height
    assert abs(columns_.min() + columns_.max() - width) < 6


def test_only_the_spoken_word_is_coloured() -> None:
    style = CaptionStyle()

    def coloured(t: float) -> np.ndarray:
        frame = draw_caption(picture((640, 360)), CUE, t, style).astype(int)
        return np.flatnonzero((frame[..., 0] - frame[..., 2] > 90).any(axis=0))

    first, second = coloured(1.2), coloured(1.6)
    assert first.size and second.size and first.max() < second.min()
    plain = draw_caption(picture((640, 360)), CUE, 1.2, CaptionStyle(highlight="line")).astype(int)
    assert not (plain[..., 0] - plain[..., 2] > 90).any()


def test_a_caption_shows_only_in_its_time_and_is_drawn_once() -> None:
    frame = picture((640, 360))
    for t in (0.99, 5.0, 9.0):
        assert np.array_equal(draw_caption(frame.copy(), CUE, t), frame)
    assert render_caption(CUE, 1, (640, 360), CaptionStyle()) is render_caption(CUE, 1, (640, 360), CaptionStyle())


def test_captions_look_the_same_in_both_layouts() -> None:
    plain = draw_caption(picture((640, 360)), CUE, 2.0)
    planar = to_rgb(draw_caption(to_i420(picture((640, 360))), CUE, 2.0))
    difference = np.abs(plain.astype(int) - planar)
    assert difference.mean() < 2
    assert np.percentile(difference[280:], 99) < 40  # colour at half resolution softens the edges of letters


@pytest.mark.parametrize("text", [ARABIC, HEBREW, THAI, CHINESE, JAPANESE])
def test_highlights_lie_on_the_word_in_every_script(text: str) -> None:
    spans = words(text, "ja" if text == JAPANESE else "")
    cue = Cue(0.0, 9.0, text, tuple(Word(text[i:j], float(n), n + 0.9, i) for n, (i, j) in enumerate(spans)))
    centres = []
    for n in (0, len(spans) - 1):
        stamp = render_caption(cue, n, (1280, 720), CaptionStyle())
        marked = np.flatnonzero(((stamp.colour[..., 0].astype(int) - stamp.colour[..., 2]) > 90).any(axis=0))
        assert marked.size
        centres.append(marked.mean())
    right_to_left = text in (ARABIC, HEBREW)
    assert (centres[0] > centres[1]) == right_to_left


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "title",
    [
        "Fox",
        "The Tale of the Fox who Wanted Grapes and what Became of Him in the End " * 2,
        "الثعلب والعنب",
        "狐狸和葡萄",
        "",
    ],
)
def test_cards_hold_their_text(size: tuple[int, int], title: str) -> None:
    cover = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    for card in (
        title_card(title, "Aesop", size),
        title_card(title, "", size, picture=cover),
        end_card(title, "made by hand", size),
        failure_card(title, "No picture: the disk was full.", size),
    ):
        assert card.shape == (size[1], size[0], 3) and card.dtype == np.uint8
    page = title_card(title, "Aesop", size).astype(int)
    dark = page.sum(axis=2) < 300
    assert not dark[: size[1] // 9].any() and not dark[-size[1] // 9 :].any()
    assert not dark[:, : size[0] // 12].any() and not dark[:, -size[0] // 12 :].any()
    assert dark.any() == bool(title)


def test_cards_are_always_the_same() -> None:
    assert np.array_equal(title_card("The Fox", "Aesop", (320, 180)), title_card("The Fox", "Aesop", (320, 180)))
