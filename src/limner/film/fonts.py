"""Fonts: found where they are, chosen by what they cover, and never an empty box.

limner ships no font itself: the `film` extra brings Noto Sans (Latin, Greek, Cyrillic, Devanagari) and Fraunces
(titles) as packages, both under the Open Font License. Every other script is drawn with the fonts of the machine or
of any installed font package; a character that no font has is a `MissingGlyph` that names it and says what to
install.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    import uharfbuzz

Role = Literal["text", "title"]

# What to install for a script: its English name, a font package for pip where one exists, and the system's own package.
_HELP: dict[str, tuple[str, str]] = {
    "Arab": ("Arabic", "pip install fontpkg-noto-sans-arabic, or Noto Sans Arabic (Debian: fonts-noto-core)"),
    "Beng": ("Bengali", "Noto Sans Bengali (Debian: fonts-noto-core)"),
    "Deva": ("Devanagari", "pip install fontpkg-noto-sans-devanagari"),
    "Ethi": ("Ethiopic", "Noto Sans Ethiopic (Debian: fonts-noto-core)"),
    "Geor": ("Georgian", "Noto Sans Georgian (Debian: fonts-noto-core)"),
    "Armn": ("Armenian", "Noto Sans Armenian (Debian: fonts-noto-core)"),
    "Hang": ("Korean", "Noto Sans CJK KR (Debian: fonts-noto-cjk)"),
    "Hani": ("Chinese characters", "Noto Sans CJK (Debian: fonts-noto-cjk)"),
    "Hebr": ("Hebrew", "pip install fontpkg-rubik, or Noto Sans Hebrew (Debian: fonts-noto-core)"),
    "Hira": ("Japanese", "Noto Sans CJK JP (Debian: fonts-noto-cjk)"),
    "Kana": ("Japanese", "Noto Sans CJK JP (Debian: fonts-noto-cjk)"),
    "Khmr": ("Khmer", "pip install fontpkg-noto-sans-khmer"),
    "Latn": ("Latin", "pip install fontpkg-noto-sans"),
    "Cyrl": ("Cyrillic", "pip install fontpkg-noto-sans"),
    "Grek": ("Greek", "pip install fontpkg-noto-sans"),
    "Taml": ("Tamil", "pip install fontpkg-noto-sans-tamil"),
    "Telu": ("Telugu", "pip install fontpkg-noto-sans-telugu"),
    "Thai": ("Thai", "pip install fontpkg-noto-sans-thai"),
    "Zyyy": ("symbols or emoji", "Noto Sans Symbols, or the one-colour Noto Emoji (colour fonts are not drawn)"),
}

_LAST_RESORT = ("lastresort", "adobeblank", "notdef", "unifont")  # cover everything, draw nothing worth reading
_PREFERRED = (
    "notosans",
    "dejavusans",
    "liberationsans",
    "segoeui",
    "arial",
    "helvetica",
    "hiragino",
    "pingfang",
    "yugoth",
)


class MissingGlyph(BadInput):
    """Characters that no font on this machine can draw. `characters` lists them, `scripts` their ISO 15924 codes."""

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = tuple(dict.fromkeys(characters))
        self.scripts = tuple(dict.fromkeys(script_of(character) for character in self.characters))
        shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in self.characters[:8])
        more = f" and {len(self.characters) - 8} more" if len(self.characters) > 8 else ""
        helps = "; ".join(
            f"{name}: {what}" for name, what in (_HELP.get(s, (s, f"a font for the script {s}")) for s in self.scripts)
        )
        super().__init__(
            f"No font on this machine has {shown}{more}. Install a font for {helps}. A folder of font files also "
            "works: name it in the environment variable LIMNER_FONTS."
        )


class Face:
    """One font file (one member of it, for a collection), opened when first asked what it covers."""

    def __init__(self, path: Path, index: int = 0) -> None:
        self.path, self.index = path, index

    @cached_property
    def _face(self) -> Any:
        hb = _harfbuzz()
        return hb.Face(hb.Blob.from_file_path(str(self.path)), self.index)

    @cached_property
    def coverage(self) -> Any:
        """The set of code points that the font maps to a glyph that has an outline (empty: unreadable or colour
        only).
        """
        try:
            face = self._face
            if face.glyph_count == 0 or face.has_color_png or face.has_color_paint or face.has_color_layers:
                return frozenset()
            return face.unicodes
        except Exception:  # a damaged font file must not stop a film that other fonts can draw
            return frozenset()

    def covers(self, text: str) -> bool:
        """Whether every character of `text` has a glyph, as it is or taken apart into base and marks."""
        return all(
            ignorable(c) or ord(c) in self.coverage or self._covers_parts(unicodedata.normalize("NFD", c), c)
            for c in text
        )

    def _covers_parts(self, parts: str, whole: str) -> bool:
        return parts != whole and all(ord(c) in self.coverage for c in parts)

    @lru_cache(maxsize=64)  # noqa: B019  (faces live as long as the process)
    def font(self, weight: int) -> uharfbuzz.Font:
        """A HarfBuzz font at the given weight (100-900); a font without that axis keeps its own weight."""
        font = _harfbuzz().Font(self._face)
        axes = {axis.tag: axis for axis in self._face.axis_infos} if self._face.has_var_data else {}
        wanted = {"wght": float(weight), "opsz": 72.0, "SOFT": 100.0, "WONK": 0.0, "wdth": 100.0}
        values = {
            tag: min(max(value, axes[tag].min_value), axes[tag].max_value)
            for tag, value in wanted.items()
            if tag in axes
        }
        if values:
            font.set_variations(values)
        if "wght" not in axes and weight > 500:
            font.synthetic_bold = (0.014, 0.014, True)  # thin strokes over a picture are hard to read
        return font

    def __repr__(self) -> str:
        return f"Face({self.path.name!r}, {self.index})"


class Fonts:
    """An ordered choice of faces. The first face that covers a cluster of characters draws it."""

    def __init__(self, faces: Iterable[Face]) -> None:
        self._pending: Iterator[Face] = iter(faces)
        self._faces: list[Face] = []
        self._chosen: dict[str, Face | None] = {}

    def face_for(self, cluster: str) -> Face | None:
        """The first face that covers `cluster` (a base character with its marks), or None."""
        if cluster not in self._chosen:
            self._chosen[cluster] = next((face for face in self._all() if face.covers(cluster)), None)
        return self._chosen[cluster]

    def missing(self, text: str) -> tuple[str, ...]:
        """The characters of `text` that no face covers, each once, in order."""
        return tuple(c for c in dict.fromkeys(text) if not ignorable(c) and self.face_for(c) is None)

    def _all(self) -> Iterator[Face]:
        """Faces opened so far, then further ones: a machine with a thousand fonts is only read as far as needed."""
        yield from self._faces
        for face in self._pending:
            if face.coverage:
                self._faces.append(face)
                yield face


@cache
def fonts(role: Role = "text", extra: tuple[Path, ...] = ()) -> Fonts:
    """The fonts of this machine for running text or for titles, best first.

    `extra`: font files or folders that go before all others. Those named in LIMNER_FONTS come after the font
    packages and before the system's: they fill gaps.
    """
    return Fonts(_find(role, extra))


def check_glyphs(text: str, choice: Fonts) -> None:
    """Raise `MissingGlyph` if `text` holds a character that `choice` can't draw."""
    missing = choice.missing(clean(text))
    if missing:
        raise MissingGlyph(missing)


def clean(text: str, *, lines: bool = False) -> str:
    """`text` with the same length, made fit to draw: control characters and line ends are spaces, lone surrogates
    are U+FFFD. With `lines`, newlines stay.
    """
    return "".join(c if lines and c == "\n" else _CLEAN.get(unicodedata.category(c), c) for c in text)


_CLEAN = {"Cc": " ", "Cs": "\ufffd", "Zl": " ", "Zp": " "}


@lru_cache(maxsize=4096)
def ignorable(character: str) -> bool:
    """Characters that need no glyph of their own: spaces, joiners, direction marks, variation selectors, tags."""
    if unicodedata.category(character) in ("Cf", "Cc", "Zs", "Zl", "Zp"):
        return True
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef" or character == "\u034f"


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The ISO 15924 code of a character's script; "Zyyy" for what all scripts share."""
    buffer = _harfbuzz().Buffer()
    buffer.add_str(character)
    buffer.guess_segment_properties()
    return buffer.script or "Zyyy"


def _find(role: Role, extra: Sequence[Path]) -> Iterator[Face]:
    packaged = sorted(_files(_package_folders()), key=lambda path: _rank(path, role))
    named = _files(Path(place) for place in os.environ.get("LIMNER_FONTS", "").split(os.pathsep) if place)
    system = sorted(_files(_system_folders()), key=lambda path: _rank(path, role))
    seen: set[Path] = set()
    for path in (*_files(extra), *packaged, *named, *system):
        if path not in seen:
            seen.add(path)
            yield from _members(path)


def _members(path: Path) -> Iterator[Face]:
    if path.suffix.lower() in (".ttc", ".otc"):
        try:
            count = _harfbuzz().Face(_harfbuzz().Blob.from_file_path(str(path))).count
        except Exception:
            return
        yield from (Face(path, index) for index in range(count))
    else:
        yield Face(path)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        elif place.is_dir():
            yield from sorted(
                path
                for path in place.rglob("*")
                if path.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc") and path.is_file()
            )


def _package_folders() -> Iterator[Path]:
    """Folders of installed font packages: the entry points that such packages register, and matplotlib's fonts."""
    names = {
        entry.value.split(":")[0].split(".")[0]
        for group in ("fontpkg.family", "fonts_ttf", "fonts_otf")
        for entry in entry_points(group=group)
    }
    for name in sorted(names):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            yield Path(spec.submodule_search_locations[0])
    plots = importlib.util.find_spec("matplotlib")
    if plots is not None and plots.submodule_search_locations:
        yield Path(plots.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"


def _system_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", home / "AppData/Local/Microsoft/Windows/Fonts"]
    data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    return [home / ".local/share/fonts", home / ".fonts", *(Path(folder) / "fonts" for folder in data)]


def _rank(path: Path, role: Role) -> tuple[bool, bool, bool, int, int, str]:
    """Sorting key: upright proportional text faces first, known good families before unknown ones."""
    name = path.stem.lower().replace("-", "").replace("_", "").replace(" ", "")
    family = next((i for i, known in enumerate(_PREFERRED) if name.startswith(known)), len(_PREFERRED))
    odd = any(word in name for word in ("italic", "oblique", "mono", "condensed", "thin", "light", "black", "math"))
    title_face = name.startswith("fraunces")
    return (
        any(word in name for word in _LAST_RESORT),
        title_face != (role == "title"),
        odd,
        family,
        len(name),
        str(path),
    )


def _harfbuzz() -> Any:
    try:
        import uharfbuzz
    except ImportError:
        raise MissingExtra("Drawing text", "film") from None
    return uharfbuzz
