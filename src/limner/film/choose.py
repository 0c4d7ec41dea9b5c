"""A person chooses: a contact sheet of the candidates, and a choice that is kept in film.toml."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from limner.errors import BadInput, LimnerError
from limner.film.finish import chosen_pictures
from limner.film.graph import Choice, pin, scan
from limner.film.illustrate import Illustrator, open_picture
from limner.film.plan import Plan, open_makers
from limner.film.project import Project, ProjectScene, read_project, write_project
from limner.film.store import Artefact, Store, write_atomic

if TYPE_CHECKING:
    from PIL import Image

_SCENES_A_SHEET = 12
_COLUMN, _HEAD, _GAP = 400, 40, 12  # pixels: width of a picture, height of a line of text, space between

Pictures = Mapping[str, tuple[Artefact, Choice]]


def contact_sheet(project: Path, *, illustrator: Illustrator | None = None) -> list[Path]:
    """Draws all candidates, a row for each scene, numbered, with scores, the one that is shown framed; twelve scenes to
    a sheet, as PNG files in the project's `out` folder."""
    folder, settings, pictures = _look(project, illustrator)
    scenes = [scene for scene in settings.scene if scene.id in pictures]
    sheets = []
    for first in range(0, len(scenes), _SCENES_A_SHEET):
        path = folder / "out" / f"contact-sheet-{first // _SCENES_A_SHEET + 1}.png"
        write_atomic(path, _sheet(settings, scenes[first : first + _SCENES_A_SHEET], pictures))
        sheets.append(path)
    return sheets


def choose(project: Path, scene: int | str, pick: int | None, *, illustrator: Illustrator | None = None) -> Project:
    """Keeps candidate `pick` (from 1) for a scene, given by its number or id; None takes the choice back. The next run
    makes what depends on it. Raises `BadInput` for a scene or candidate that isn't there."""
    folder, settings, pictures = _look(project, illustrator)
    found = _scene(settings, scene, folder)
    picked = ""
    if pick is not None:
        if found.id not in pictures:
            raise BadInput(f"Scene {scene} has no candidates yet. Draw them first: limner film {folder}")
        count = len(pictures[found.id][0].read_json("pictures.json")["candidates"])
        if not 1 <= pick <= count:
            raise BadInput(f"Scene {scene} has candidates 1 to {count}, not {pick}.")
        picked = pin(pictures[found.id][0], pick)
    chosen = dataclasses.replace(found, pick=pick, picked=picked)
    scenes = tuple(chosen if other.id == found.id else other for other in settings.scene)
    settings = dataclasses.replace(settings, scene=scenes)
    with Store(folder).locked():
        write_project(folder, settings)
    return settings


def choose_by_asking(
    project: Path, ask: Callable[[str], str], tell: Callable[[str], None], *, illustrator: Illustrator | None = None
) -> int:
    """Goes through the scenes and asks for each which candidate to show: a number, Enter to keep what is shown, q to
    stop. Returns how many choices were made; each is kept at once."""
    folder, settings, pictures = _look(project, illustrator)
    chosen = 0
    for number, scene in enumerate(settings.scene, 1):
        if scene.id not in pictures:
            continue
        artefact, choice = pictures[scene.id]
        count = len(artefact.read_json("pictures.json")["candidates"])
        if count < 2:
            continue
        tell(f"Scene {number}: {scene.narration}")
        while True:
            answer = ask(f"Which of 1-{count}? Now {choice.number}, by {choice.by}. Enter keeps it, q stops: ").strip()
            if answer.lower() == "q":
                return chosen
            if not answer:
                break
            if answer.isdecimal() and 1 <= int(answer) <= count:
                choose(folder, scene.id, int(answer), illustrator=illustrator)
                chosen += 1
                break
            tell(f"Please type a number from 1 to {count}, Enter, or q.")
    return chosen


def _look(project: Path, illustrator: Illustrator | None) -> tuple[Path, Project, Pictures]:
    """(folder, project, pictures that are fresh). Raises `BadInput` if there are none at all."""
    folder = project.parent if project.name == "film.toml" else project
    settings = read_project(folder)
    plan = Plan(settings, folder, open_makers(settings, folder, illustrator=illustrator))
    _, made = scan(list(plan.picture_tasks().values()), Store(folder))
    pictures = chosen_pictures(plan, made)
    if not pictures:
        raise BadInput(f"{folder} has no candidates to choose from yet. Draw them first: limner film {folder}")
    return folder, settings, pictures


def _scene(settings: Project, scene: int | str, folder: Path) -> ProjectScene:
    found = next((other for other in settings.scene if other.id == scene), None)
    if found is None and str(scene).isdecimal() and 1 <= int(scene) <= len(settings.scene):
        found = settings.scene[int(scene) - 1]
    if found is None:
        raise BadInput(f"{folder} has scenes 1 to {len(settings.scene)}, and no scene {scene}.")
    return found


def _sheet(settings: Project, scenes: list[ProjectScene], pictures: Pictures) -> bytes:
    """One sheet as PNG."""
    from PIL import Image, ImageDraw

    width, height = settings.film.size
    tall = round(_COLUMN * height / width) if width >= height else _COLUMN
    wide = _COLUMN if width >= height else round(_COLUMN * width / height)
    rows = {scene.id: pictures[scene.id][0].read_json("pictures.json")["candidates"] for scene in scenes}
    columns = max(map(len, rows.values()))
    row = _HEAD + tall + _HEAD + _GAP
    sheet = Image.new("RGB", (columns * (wide + _GAP) + _GAP, len(scenes) * row), "#faf8f4")
    pen = ImageDraw.Draw(sheet)
    for place, scene in enumerate(scenes):
        artefact, choice = pictures[scene.id]
        top = place * row
        number = settings.scene_number(scene.id)
        _text(sheet, _GAP, top, f"{number}.  {scene.prompt or scene.narration}", settings.story.language)
        for column, candidate in enumerate(rows[scene.id]):
            left = _GAP + column * (wide + _GAP)
            picture = Image.fromarray(open_picture(artefact.path(candidate["file"]), (wide, tall)))
            sheet.paste(picture, (left, top + _HEAD))
            shown = column + 1 == choice.number
            if shown:
                box = (left - 4, top + _HEAD - 4, left + wide + 3, top + _HEAD + tall + 3)
                pen.rectangle(box, outline="#b5651d", width=4)
            mark = f"  chosen by {choice.by}" if shown else ""
            _text(sheet, left, top + _HEAD + tall, f"{column + 1}    score {candidate['score']:.3f}{mark}", "en")
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _text(sheet: Image.Image, left: int, top: int, text: str, language: str) -> None:
    """One line of text, cut off at the edge. What has no font becomes question marks: the numbers are what matters."""
    from PIL import Image

    from limner.film.letters import Type, paint, shape

    style = Type(20, 500, language)
    try:
        line = shape(text, style)
    except LimnerError:
        line = shape(text.encode("ascii", "replace").decode(), style)
    room = (sheet.width - left - _GAP, _HEAD)
    mask = Image.fromarray(paint(line, 0, 0.7 * _HEAD, room))
    sheet.paste((34, 34, 34), (left, top), mask)
