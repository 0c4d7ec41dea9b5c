"""From a story and some options to a project whose film.toml holds its scenes; a person's edits are never lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import BadInput
from limner.film.lexicon import storybook_lexicon, whole_lexicon
from limner.film.project import (
    FILE,
    Aspect,
    Captions,
    How,
    Project,
    ProjectScene,
    Quality,
    StorySettings,
    read_project,
    write_project,
)
from limner.film.split import SceneText, split_scenes
from limner.film.store import Entry, Store, key_of, write_atomic
from limner.film.story import Story, read_story
from limner.film.write import ExtractiveWriter, Writer

if TYPE_CHECKING:
    from limner.film.server import ServerWriter

WRITE_VERSION = 2
_EDITABLE = ("narration", "prompt", "cast", "place", "time", "mood")


@dataclass(frozen=True)
class FilmOptions:
    """What a person may ask of a film. None leaves what the project says, or the default (in brackets) for a new one.

    What is given here is written into film.toml, so that the next run needs no options; `animatic` and `yes` are not.
    """

    project: Path | None = None  # the project folder (beside the film: NAME.limner)
    title: str | None = None  # (found in the story)
    author: str | None = None  # (found in the story)
    language: str | None = None  # BCP-47 tag of story and voice (guessed)
    how: How | None = None  # where scenes are cut: auto, stanza, paragraph, topic, hand (auto)
    scenes: int | None = None  # number of scenes (as many as the story needs)
    writer: str | None = None  # "extractive", or the URL of an OpenAI-compatible server (extractive)
    writer_model: str | None = None  # the server's name of the model
    illustrator: str | None = None  # "storybook", a model, or a folder of pictures (storybook)
    candidates: int | None = None  # pictures drawn for each scene (4)
    seed: int | None = None  # of the pictures and camera moves (0)
    voice: str | None = None  # "espeak", "espeak:en-gb", "piper:FILE.onnx", "recorded:FOLDER" (espeak)
    aspect: Aspect | None = None  # 16:9, 9:16 or 1:1 (16:9)
    height: int | None = None  # pixels of the shorter side (720)
    fps: int | None = None  # frames a second (24)
    captions: Captions | None = None  # words (the spoken one is lit), lines, none (words)
    quality: Quality | None = None  # draft or final (final)
    title_card: bool | None = None  # begin with a title (True)
    certificate: Path | None = None  # PEM chain for content credentials
    key: Path | None = None  # its private key, PEM
    animatic: bool = False  # a small, rough film in seconds, to judge the telling before anything is drawn well
    yes: bool = False  # begin without asking


_TABLES = {
    "title": "story", "author": "story", "language": "story", "how": "story", "scenes": "story", "writer": "story",
    "writer_model": "story", "illustrator": "pictures", "candidates": "pictures", "seed": "pictures", "voice": "voice",
    "aspect": "film", "height": "film", "fps": "film", "captions": "film", "quality": "film", "title_card": "film",
    "certificate": "sign", "key": "sign",
}  # fmt: skip


def locate(path: Path, out: Path | None, options: FilmOptions) -> tuple[Path, Path | None, Path | None]:
    """(project folder, story file or None, film file or None) for what was named on the command line."""
    if out is not None and out.suffix.lower() not in (".mp4", ".m4v"):
        raise BadInput(f"The film is written as MP4: give -o a name that ends in .mp4, not {out.name!r}.")
    if out is not None and out.is_dir():
        raise BadInput(f"{out} is a folder. Give -o the name of the film file, e.g. {out / 'film.mp4'}.")
    if path.name == FILE:
        path = path.parent
    if path.is_dir() and (path / FILE).is_file():
        return path, None, out
    if path.is_dir():
        raise BadInput(f"{path} is neither a story nor a film project (it has no {FILE}). Give a text file.")
    if out is None:
        out = Path(f"{path.stem}.animatic.mp4" if options.animatic else f"{path.stem}.mp4")
    folder = options.project or out.with_name(out.stem.removesuffix(".animatic") + ".limner")
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; the project needs a folder there. Name another with --project.")
    return folder, path, out


def prepare(
    folder: Path, story_file: Path | None, out: Path | None, options: FilmOptions, store: Store,
    note: Callable[[str], None], before_asking: Callable[[Project], None],
) -> Project:  # fmt: skip
    """The project, brought up to date with the story and the options, and written to film.toml.

    before_asking: called before a server is asked to write anything, with the project as it may become; it may raise

    The scenes are written anew when the story or the way of writing changed. What a person edited stays where the
    scene's part of the story is the same; edits that have no place any more are kept in film.before.toml and noted.
    """
    known = (folder / FILE).is_file()
    project = read_project(folder) if known else Project()
    story = read_story(story_file) if story_file else None
    if story_file and story:
        project = _take_story(folder, project, story_file, story, known)
    project = _apply(project, options, folder)
    if out is not None and not options.animatic:
        output = os.path.relpath(out.absolute(), folder.absolute())
        project = dataclasses.replace(project, film=dataclasses.replace(project.film, output=Path(output).as_posix()))
    project = _write_scenes(folder, project, store, note, before_asking)
    write_project(folder, project)
    return project


def _take_story(folder: Path, project: Project, file: Path, story: Story, known: bool) -> Project:
    """Copies the story into the project; title, author and language follow it unless a person changed them."""
    data = file.read_bytes()
    copy = folder / project.story.file
    before = StorySettings()
    if known and copy.is_file():
        if copy.read_bytes() == data:
            return project
        old = read_story(copy)
        before = dataclasses.replace(before, title=old.title, author=old.author, language=_language(old))
    write_atomic(copy, data)
    found = {"title": story.title, "author": story.author, "language": _language(story)}
    follow: dict[str, Any] = {
        name: value for name, value in found.items() if getattr(project.story, name) == getattr(before, name)
    }
    return dataclasses.replace(project, story=dataclasses.replace(project.story, **follow))


def _language(story: Story) -> str:
    return story.language if story.language not in ("", "und") else "en"


def _apply(project: Project, options: FilmOptions, folder: Path) -> Project:
    """The project with the options that were given. Files are kept relative to the project folder."""
    for name, table in _TABLES.items():
        value: Any = getattr(options, name)
        if value is None:
            continue
        if isinstance(value, Path):
            value = _relative(str(value), folder)
        elif name == "illustrator":
            value = _relative(value, folder)
        elif name == "voice" and ":" in value:
            kind, _, rest = value.partition(":")
            value = f"{kind}:{_relative(rest, folder)}"
        field = "name" if name == "voice" else name
        part = dataclasses.replace(getattr(project, table), **{field: value})
        project = dataclasses.replace(project, **{table: part})
    return project


def _relative(text: str, folder: Path) -> str:
    """A path that exists here, as seen from the project folder; anything else (a name, a hub id) as it is."""
    path = Path(text).expanduser()
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix() if path.exists() else text


def _write_scenes(
    folder: Path, project: Project, store: Store, note: Callable[[str], None], before_asking: Callable[[Project], None]
) -> Project:
    settings = project.story
    copy = folder / settings.file
    if not copy.is_file() and project.scene:
        return project  # a film of scenes that a person wrote: there is no story to tell
    story = read_story(copy)
    story = dataclasses.replace(
        story, title=settings.title or story.title, author=settings.author or story.author, language=settings.language
    )
    parameters = {
        "how": settings.how, "scenes": settings.scenes, "writer": settings.writer, "model": settings.writer_model,
        "title": story.title, "language": story.language, "vocabulary": _vocabulary(project),
    }  # fmt: skip
    inputs = {"story": hashlib.sha256(copy.read_bytes()).hexdigest()}
    key = key_of("write", WRITE_VERSION, parameters, inputs)
    if key == settings.written and project.scene:
        return project
    artefact = store.find(key)
    if artefact is None:
        writer = _open_writer(project, folder)
        texts = split_scenes(story, how=settings.how, scenes=settings.scenes)
        if not isinstance(writer, ExtractiveWriter):
            before_asking(dataclasses.replace(project, scene=tuple(_draft(writer.words, texts))))

        def maker(place: Path) -> None:
            rows = _rows(writer, story, texts)
            (place / "scenes.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")

        artefact = store.make("write", WRITE_VERSION, parameters, inputs, maker)
        why = "the story or its writer changed" if settings.written else "new"
        store.record(Entry("scenes", "write", key, "made", why, artefact.seconds, len(texts), artefact.bytes))
    fresh = _machine_scenes(artefact.read_json("scenes.json"))
    for scene, row in zip(fresh, artefact.read_json("scenes.json"), strict=True):
        if row["unknown"]:
            words = ", ".join(row["unknown"])
            note(f"scene {scene.id}: the writer's picture had words outside the vocabulary, left out: {words}.")
    before = store.find(settings.written) if settings.written else None
    scenes, lost = merge_scenes(
        _machine_scenes(before.read_json("scenes.json")) if before else (), project.scene, fresh
    )
    if lost:
        write_atomic(folder / "film.before.toml", (folder / FILE).read_bytes())
        names = ", ".join(scene.id for scene in lost)
        note(f"The story changed under your edits of scene {names}: they are kept in {folder / 'film.before.toml'}.")
    return dataclasses.replace(project, story=dataclasses.replace(settings, written=key), scene=scenes)


def _vocabulary(project: Project) -> str:
    return "storybook" if project.pictures.illustrator == "storybook" else "all"


def _draft(words: int, texts: Sequence[SceneText]) -> Iterator[ProjectScene]:
    """What the scenes may be like, as far as time and disk go, before a server has written them."""
    for number, text in enumerate(texts, 1):
        yield ProjectScene(f"{number:02d}", text.original, " ".join(text.original.split()[:words]))


def _open_writer(project: Project, folder: Path) -> ExtractiveWriter | ServerWriter:
    settings = project.story
    lexicon = storybook_lexicon() if _vocabulary(project) == "storybook" else whole_lexicon()
    if settings.writer == "extractive":
        return ExtractiveWriter(lexicon=lexicon)
    if settings.writer.startswith(("http://", "https://")):
        from limner.film.server import ServerWriter

        if not settings.writer_model:
            raise BadInput(f"The writer at {settings.writer} needs the name of a model: --writer-model NAME.")
        return ServerWriter(settings.writer, settings.writer_model, folder / "cache", lexicon=lexicon)
    raise BadInput(
        f"There is no writer {settings.writer!r}. Use 'extractive', or the URL of an OpenAI-compatible server."
    )


def _rows(writer: Writer, story: Story, texts: Sequence[Any]) -> list[dict[str, Any]]:
    rows = []
    for text, scene in zip(texts, writer.write(story, texts), strict=True):
        row = {name: getattr(scene, name) for name in ("original", *_EDITABLE)}
        lists = {"cast": list(scene.cast), "unknown": list(scene.unknown)}
        rows.append({**row, **lists, "span": [text.span.start, text.span.end]})
    return rows


def _machine_scenes(rows: Sequence[Mapping[str, Any]]) -> tuple[ProjectScene, ...]:
    return tuple(
        ProjectScene(
            id=f"{number:02d}",
            original=row["original"],
            cast=tuple(row["cast"]),
            span=tuple(row["span"]),
            **{name: row[name] for name in _EDITABLE if name != "cast"},
        )
        for number, row in enumerate(rows, 1)
    )


def merge_scenes(
    before: Sequence[ProjectScene], mine: Sequence[ProjectScene], fresh: Sequence[ProjectScene]
) -> tuple[tuple[ProjectScene, ...], tuple[ProjectScene, ...]]:
    """(scenes, lost): `fresh` scenes with what a person had changed since `before`, matched by the original text.

    A field that was edited stays; one that was not follows the writer. Choices and ids stay. `lost` are edited scenes
    whose part of the story is gone.
    """
    written = {scene.original: scene for scene in before}
    waiting = list(mine)
    matched: list[ProjectScene | None] = []
    for scene in fresh:
        own = next((other for other in waiting if other.original == scene.original), None)
        if own is not None:
            waiting.remove(own)
        matched.append(own)
    taken = {scene.id for scene in matched if scene}
    free = (f"{number:02d}" for number in range(1, 2 * len(fresh) + 2) if f"{number:02d}" not in taken)
    scenes = []
    for scene, own in zip(fresh, matched, strict=True):
        if own is None:
            scenes.append(dataclasses.replace(scene, id=next(free)))
            continue
        base = written.get(own.original)
        edited = {
            name: getattr(own, name) for name in _EDITABLE if base is None or getattr(own, name) != getattr(base, name)
        }
        kept: dict[str, Any] = {"id": own.id, "pick": own.pick, "picked": own.picked, "picture": own.picture}
        scenes.append(dataclasses.replace(scene, **edited, **kept))
    lost = tuple(scene for scene in waiting if _edited(scene, written.get(scene.original)))
    return tuple(scenes), lost


def _edited(scene: ProjectScene, base: ProjectScene | None) -> bool:
    if base is None or scene.pick is not None or scene.picture:
        return True
    return any(getattr(scene, name) != getattr(base, name) for name in _EDITABLE)
