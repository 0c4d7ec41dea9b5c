"""film.toml: the film as a person reads and edits it.

Everything that a person may decide is in this one file; everything that can be derived (durations, keys, scores) is
not. It is read with `tomllib`, checked field by field, and written by a small writer whose output is the same for
the same project, so that a version-control diff shows what was decided and nothing else.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from limner.errors import BadInput
from limner.film.store import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1  # raised when a file of this version can no longer be read by an older limner
FILE = "film.toml"

Aspect = Literal["16:9", "9:16", "1:1"]
Captions = Literal["words", "lines", "none"]
Quality = Literal["draft", "final"]
How = Literal["auto", "stanza", "paragraph", "topic", "hand"]


def _between(low: float, high: float, default: Any) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class StorySettings:
    """The text and how it becomes scenes. `written` is limner's note of what the scenes were last written from."""

    title: str = ""
    author: str = ""
    language: str = "en"
    file: str = "story.txt"
    how: How = "auto"
    scenes: int | None = _between(1, 1000, None)
    writer: str = "extractive"
    writer_model: str | None = None
    written: str = ""


@dataclass(frozen=True)
class PictureSettings:
    """Who draws, and how many candidates for each scene."""

    illustrator: str = "storybook"
    candidates: int = _between(1, 64, 4)
    seed: int = _between(0, 2**53, 0)


@dataclass(frozen=True)
class VoiceSettings:
    name: str = "espeak"


@dataclass(frozen=True)
class FilmSettings:
    """The picture on screen. `height` counts the shorter side, as in "720p": 16:9 is 1280x720, 9:16 is 720x1280."""

    output: str = "../film.mp4"  # relative to the project folder
    aspect: Aspect = "16:9"
    height: int = _between(64, 4320, 720)
    fps: int = _between(1, 120, 24)
    captions: Captions = "words"
    quality: Quality = "final"
    title_card: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, both even."""
        short = self.height - self.height % 2
        long = round(short * 16 / 9 / 2) * 2
        return {"16:9": (long, short), "9:16": (short, long), "1:1": (short, short)}[self.aspect]


@dataclass(frozen=True)
class SignSettings:
    """Content credentials: paths of a certificate chain and its private key (PEM). The key itself is never copied."""

    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class ProjectScene:
    """A scene. `pick` is a person's choice among the candidates (from 1); `picked` is limner's note of which picture
    that was, so that the choice is known to be stale when the candidates are others. `picture`: a file of one's own."""

    id: str
    original: str
    narration: str
    prompt: str = ""
    cast: tuple[str, ...] = ()
    place: str = ""
    time: str = ""
    mood: str = ""
    span: tuple[int, ...] = ()
    pick: int | None = _between(1, 64, None)
    picked: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Project:
    story: StorySettings = field(default_factory=StorySettings)
    pictures: PictureSettings = field(default_factory=PictureSettings)
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    film: FilmSettings = field(default_factory=FilmSettings)
    sign: SignSettings = field(default_factory=SignSettings)
    scene: tuple[ProjectScene, ...] = ()

    def scene_number(self, id: str) -> int:
        return [scene.id for scene in self.scene].index(id) + 1


def read_project(folder: Path) -> Project:
    """Reads and checks `folder/film.toml`. Raises `BadInput` naming the file, the scene and the field."""
    path = folder / FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"{folder} is not a film project: it has no {FILE}. Make one with: limner film STORY") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read as UTF-8 text: {error}.") from error
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}. Mend that line; your other edits are untouched.") from error
    return parse_project(table, str(path))


def parse_project(table: Mapping[str, Any], where: str = FILE) -> Project:
    """The project in a TOML table, checked. `where` names the file in error messages."""
    table = dict(table)
    schema = table.pop("limner", None)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BadInput(f"{where}: the first line must be 'limner = {SCHEMA}', the version of the file's format.")
    if schema > SCHEMA:
        raise BadInput(
            f"{where}: format {schema} is newer than this limner reads ({SCHEMA}). Update limner to open it."
        )
    scenes = table.pop("scene", [])
    if not isinstance(scenes, list) or not all(isinstance(scene, dict) for scene in scenes):
        raise BadInput(f"{where}: scenes are written as [[scene]] tables.")
    project = _fill(Project, table, where, "")
    return dataclasses.replace(project, scene=_scenes(scenes, where))


def write_project(folder: Path, project: Project) -> None:
    """Writes `folder/film.toml` atomically, and only if it says something new."""
    data = format_project(project).encode()
    path = folder / FILE
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)


def format_project(project: Project) -> str:
    """The text of film.toml. `parse_project(tomllib.loads(format_project(p))) == p` for every project."""
    lines = [f"limner = {SCHEMA}"]
    for part in dataclasses.fields(project):
        if part.name != "scene" and (body := _lines(getattr(project, part.name))):
            lines += ["", f"[{part.name}]", *body]
    for scene in project.scene:
        lines += ["", "[[scene]]", *_lines(scene)]
    return "\n".join(lines) + "\n"


def _scenes(tables: list[dict[str, Any]], where: str) -> tuple[ProjectScene, ...]:
    """Scenes with an id each; a scene added by hand may leave it out, and needs no more than a narration."""
    taken = {table["id"] for table in tables if isinstance(table.get("id"), str)}
    free = (f"{number:02d}" for number in range(1, len(taken) + len(tables) + 1) if f"{number:02d}" not in taken)
    scenes = []
    for number, table in enumerate(tables, 1):
        place = f"scene {table['id']}" if isinstance(table.get("id"), str) else f"scene number {number}"
        table = {"original": table.get("narration", ""), **table}
        table.setdefault("id", next(free))
        scene: ProjectScene = _fill(ProjectScene, table, where, place)
        if not scene.narration.strip():
            raise BadInput(f"{where}, {place}, narration: is empty. Write what is spoken, or remove the scene.")
        if not scene.id.strip() or any(not (letter.isalnum() or letter in "-_ ") for letter in scene.id):
            raise BadInput(f"{where}, {place}, id: use letters, digits, '-' and '_' (it names files).")
        scenes.append(scene)
    for scene in scenes:
        if sum(other.id == scene.id for other in scenes) > 1:
            raise BadInput(f"{where}, scene {scene.id}, id: two scenes have it. Give each its own, or leave it out.")
    return tuple(scenes)


T = TypeVar("T", bound="DataclassInstance")


def _fill(cls: type[T], table: Mapping[str, Any], where: str, place: str) -> T:
    """A dataclass from a TOML table, checked against the field types and ranges."""
    hints = get_type_hints(cls)
    known = {item.name: item for item in dataclasses.fields(cls)}
    known.pop("scene", None)
    values = {}
    for name, value in table.items():
        at = ", ".join(filter(None, (where, place, name)))
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise BadInput(
                f"{at}: no such field." + (f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(known)}.")
            )
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise BadInput(f"{at}: must be a table, written [{name}].")
            values[name] = _fill(hints[name], value, where, f"[{name}]")
        else:
            values[name] = _check(value, hints[name], at)
            low, high = known[name].metadata.get("range", (None, None))
            if low is not None and values[name] is not None and not low <= values[name] <= high:
                raise BadInput(f"{at}: {value} is not between {low} and {high}.")
    needed = [item.name for item in known.values() if item.default is item.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise BadInput(f"{', '.join(filter(None, (where, place)))}: {' and '.join(missing)} must be given.")
    return cls(**values)


def _check(value: Any, hint: Any, at: str) -> Any:
    if get_origin(hint) is UnionType:  # X | None: a field that may be left out has no null in TOML
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise BadInput(f"{at}: {value!r} is not one of {', '.join(map(repr, get_args(hint)))}.")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise BadInput(f"{at}: must be a list, e.g. {_example(hint)}.")
        return tuple(_check(item, get_args(hint)[0], at) for item in value)
    if type(value) is not hint:
        kinds = {str: "text in quotes", int: "a whole number", bool: "true or false"}
        raise BadInput(f"{at}: {value!r} must be {kinds[hint]}.")
    return value


def _example(hint: Any) -> str:
    return '["fox", "crow"]' if get_args(hint)[0] is str else "[0, 120]"


def _lines(part: Any) -> list[str]:
    """`name = value` for each field; what is None or empty by default is left out."""
    lines = []
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if value is None or (value == item.default and value in ("", ())):
            continue
        lines.append(f"{item.name} = {_value(value)}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _string(str(value))


def _string(text: str) -> str:
    """A TOML basic string; texts of several lines in the three-quote form, so that diffs go by line."""
    escaped = "".join(map(_escape, text))
    if "\n" not in text:
        return '"' + escaped.replace('"', '\\"') + '"'
    escaped = re.sub(r'"{3,}|"+\Z', lambda quotes: '\\"' * len(quotes[0]), escaped)
    return '"""\n' + escaped + '"""'


def _escape(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    if letter not in "\n\t" and (ord(letter) < 32 or ord(letter) == 127):
        return f"\\u{ord(letter):04x}"
    return letter
