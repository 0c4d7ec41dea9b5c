"""A film from a story: only what is missing or stale is made, what is made is kept, and a film comes out even when a
scene fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.errors import BadInput, DiskFull, Interrupted, LimnerError, MissingExtra
from limner.film.estimate import Estimate, estimate
from limner.film.finish import Outputs, chosen_pictures, film_line, join
from limner.film.graph import File, Line, Task, pin, resolve, scan, task_key
from limner.film.illustrate import Illustrator
from limner.film.plan import ANIMATIC, TITLE, Plan, animatic_of, open_makers
from limner.film.prepare import FilmOptions, locate, prepare
from limner.film.progress import Progress, Silent
from limner.film.project import Project, format_project, read_project, write_project
from limner.film.report import write_report
from limner.film.stages import STAGES, Work
from limner.film.store import Artefact, Entry, Store
from limner.film.timing import film_frames
from limner.film.voice import Voice
from limner.provenance import check_signing


@dataclass(frozen=True)
class Failure:
    slot: str  # "scene 03/pictures"
    message: str


@dataclass(frozen=True)
class FilmResult:
    """What came out. `made` are the slots that had to be made; `notes` is what a person should know."""

    film: Path
    project: Path
    storyboard: Path
    report: Path
    seconds: float  # of film
    made: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 if a scene failed and is shown as a card."""
        return 1 if self.failures else 0


def make_film(
    path: Path, out: Path | None = None, options: FilmOptions | None = None, progress: Progress | None = None, *,
    illustrator: Illustrator | None = None, voice: Voice | None = None,
    confirm: Callable[[Estimate], bool] | None = None,
) -> FilmResult:  # fmt: skip
    """Makes the film of a story (a text file) or of a project (its folder or film.toml), or goes on where it stopped.

    out: the MP4 file; beside it come .srt, .vtt and .json files and the project folder (NAME.limner)
    illustrator, voice: used instead of those that film.toml names
    confirm: asked with the estimate before anything is made, unless `options.yes`; False ends it with `Interrupted`

    Raises `BadInput`, `MissingExtra`, `DiskFull`, and `Interrupted` for Ctrl-C: what was finished is kept, and the same
    call goes on. A scene that fails does not raise: it becomes a card, and a `Failure` in the result.
    """
    options, progress = options or FilmOptions(), progress or Silent()
    folder, story, out = locate(path, out, options)
    store = Store(folder)
    try:
        with store.locked():
            run = _Run(folder, store, options, progress)
            return run.film(story, out, illustrator, voice, confirm)
    except KeyboardInterrupt:
        ready = sum(entry.result == "made" for entry in store.entries())
        raise Interrupted(
            f"Stopped. The {ready} artefacts made so far are kept in {folder}; the same command goes on from there."
        ) from None


def status(project: Path, *, illustrator: Illustrator | None = None, voice: Voice | None = None) -> list[Line]:
    """The state of every artefact of a project, the film last: fresh, stale, missing or failed, and why. A choice that
    was made among other pictures is a line of its own. Makes and changes nothing."""
    folder = _folder(project)
    settings = read_project(folder)
    store = Store(folder)
    plan = Plan(settings, folder, open_makers(settings, folder, illustrator=illustrator, voice=voice))
    lines, made = scan(plan.tasks(), store)
    for id, (_, choice) in chosen_pictures(plan, made).items():
        if choice.stale:
            lines.append(Line(f"scene {id}/choice", "stale", _stale_choice(folder, settings, id)))
    return [*lines, film_line(plan, Outputs(_output(folder, settings)), made)]


def unused(project: Path, *, illustrator: Illustrator | None = None) -> list[tuple[Path, int]]:
    """Folders (with bytes) of the store that the film as it is now doesn't use: older pictures, texts, segments.

    They are kept because an edit may be undone; removing them is a person's decision (`clean`)."""
    folder = _folder(project)
    settings = read_project(folder)
    store = Store(folder)
    makers = open_makers(settings, folder, illustrator=illustrator)
    keep = {settings.story.written}
    good = Plan(settings, folder, makers)
    for plan in (good, _animatic_plan(good, store)):
        keep |= {artefact.key for artefact in scan(plan.tasks(), store)[1].values()}
    return store.unused(keep)


def clean(project: Path, *, illustrator: Illustrator | None = None) -> int:
    """Removes what `unused` lists; returns the bytes that came free."""
    import shutil

    with Store(_folder(project)).locked():
        freed = 0
        for folder, size in unused(project, illustrator=illustrator):
            shutil.rmtree(folder)
            freed += size
        return freed


def _folder(project: Path) -> Path:
    return project.parent if project.name == "film.toml" else project


def _output(folder: Path, project: Project) -> Path:
    path = folder / project.film.output
    return path.parent.resolve() / path.name


def _stale_choice(folder: Path, project: Project, id: str) -> str:
    number = project.scene_number(id)
    return (
        f"the choice for scene {id} was made among other pictures; the best by score is shown until you choose again: "
        f"limner film choose {folder} --scene {number} --pick K"
    )


def _animatic_plan(good: Plan, store: Store) -> Plan:
    """The rough film; where good pictures are there already, it shows them."""
    tasks = good.picture_tasks()
    lines, _ = scan(list(tasks.values()), store)
    ready = {id: task for (id, task), line in zip(tasks.items(), lines, strict=True) if line.state == "fresh"}
    return dataclasses.replace(good, project=animatic_of(good.project), prefix=ANIMATIC, ready=ready)


class _SceneFailed(Exception):
    def __init__(self, task: Task, key: str, message: str) -> None:
        super().__init__(message)
        self.task, self.key, self.message = task, key, message


class _Run:
    """One call of `make_film`."""

    def __init__(self, folder: Path, store: Store, options: FilmOptions, progress: Progress) -> None:
        self.folder, self.store, self.options, self.progress = folder, store, options, progress
        self.notes: list[str] = []
        self.failures: list[Failure] = []
        self.slots: list[str] = []  # made in this run

    def note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)
            self.progress.note(message)

    def film(
        self, story: Path | None, out: Path | None, illustrator: Illustrator | None, voice: Voice | None,
        confirm: Callable[[Estimate], bool] | None,
    ) -> FilmResult:  # fmt: skip
        asked = False

        def begin(project: Project, *more: Task) -> tuple[Plan, Outputs]:
            """Plans the film, and says what it will take before anything long begins; asks once."""
            nonlocal asked
            plan, outputs = self._plan(project, out, illustrator, voice)
            self._estimate(plan, outputs, None if asked else confirm, more)
            asked = True
            return plan, outputs

        def before_asking(draft: Project) -> None:
            begin(draft, Task("scenes", "write", 0, {}, units=len(draft.scene)))

        project = prepare(self.folder, story, out, self.options, self.store, self.note, before_asking)
        plan, outputs = begin(project)
        plan, made = self._build(plan)
        plan = self._pin(plan, made)
        line = film_line(plan, outputs, made)
        if line.state != "fresh":
            self._join(plan, outputs, made, line)
        report = write_report(plan, outputs, made, self.failures)
        self._tell(plan, made)
        seconds = film_frames(plan.times(made)) / plan.project.film.fps
        return FilmResult(
            outputs.film, self.folder, report.storyboard, report.json, seconds, tuple(self.slots), tuple(self.failures),
            tuple(self.notes),
        )  # fmt: skip

    def _plan(
        self, project: Project, out: Path | None, illustrator: Illustrator | None, voice: Voice | None
    ) -> tuple[Plan, Outputs]:
        makers = open_makers(project, self.folder, illustrator=illustrator, voice=voice)
        if project.sign.certificate:
            check_signing(self.folder / project.sign.certificate, self.folder / project.sign.key)
        plan, output = Plan(project, self.folder, makers), _output(self.folder, project)
        if self.options.animatic:
            plan = _animatic_plan(plan, self.store)
            output = out.absolute() if out else output.with_name(f"{output.stem}.animatic.mp4")
        return plan, Outputs(output)

    def _estimate(
        self, plan: Plan, outputs: Outputs, confirm: Callable[[Estimate], bool] | None, more: Sequence[Task]
    ) -> None:
        """Says what the plan and `more` will take, asks, and makes sure of the disk before anything is begun."""
        tasks = [*more, *plan.tasks()]
        lines, made = scan(tasks, self.store)
        cost = estimate(
            tasks, lines, [entry for entry in self.store.entries() if entry.slot.startswith(plan.prefix)], self.folder,
            seconds_per_picture=plan.makers.illustrator.seconds_per_picture,
            film_seconds=film_frames(plan.times(made)) / plan.project.film.fps,
            film_fresh=film_line(plan, outputs, made).state == "fresh",
        )  # fmt: skip
        self.progress.estimated(cost)
        cost.check_disk(self.folder)
        if cost.rows and confirm is not None and not self.options.yes and not confirm(cost):
            where = "" if more else f" The scenes are in {self.folder / 'film.toml'}, to read and edit."
            raise Interrupted(f"Nothing was begun.{where}")

    def _build(self, plan: Plan) -> tuple[Plan, dict[str, Artefact]]:
        """Makes everything that isn't fresh. A scene that fails is planned anew as a card, and the rest goes on."""
        while True:
            try:
                return plan, self._make_all(plan)
            except _SceneFailed as failure:
                task, message = failure.task, failure.message
                self.store.record(Entry(task.slot, task.stage, failure.key, "failed", "", error=message))
                if task.stage == "voice":
                    plan = dataclasses.replace(plan, mute=plan.mute | {task.scene})
                if task.stage == "voice" and task.scene == TITLE:
                    self.note(f"The title is not spoken: {message}")
                    continue
                self.failures.append(Failure(task.slot, message))
                self.note(f"{task.slot} failed: {message}")
                plan = dataclasses.replace(plan, failed={**plan.failed, task.scene: message})

    def _make_all(self, plan: Plan) -> dict[str, Artefact]:
        tasks = plan.tasks()
        lines, _ = scan(tasks, self.store)
        stages = [task.stage for task, line in zip(tasks, lines, strict=True) if line.state != "fresh"]
        begun: set[str] = set()
        made: dict[str, Artefact] = {}
        for task, line in zip(tasks, lines, strict=True):
            files = resolve(task, made)
            assert files is not None, "a task's inputs come before it"
            if line.state != "fresh" and task.stage not in begun:
                begun.add(task.stage)
                self.progress.begin(task.stage, stages.count(task.stage))
            made[task.slot] = self.store.find(task_key(task, files)) or self._make(plan, task, files, line.why)
            if line.state != "fresh":
                self.progress.advance(task.stage)
        return made

    def _make(self, plan: Plan, task: Task, files: Mapping[str, File], why: str) -> Artefact:
        """Makes one artefact and says so in the ledger."""
        makers, units = plan.makers, 0.0
        if task.stage == "pictures":
            _open(makers.illustrator)

        def maker(folder: Path) -> None:
            nonlocal units
            paths = {name: file.path for name, file in files.items()}
            units = STAGES[task.stage][1](Work(folder, task.parameters, paths, makers.illustrator, makers.voice))

        key = task_key(task, files)
        try:
            artefact = self.store.make(
                task.stage, task.version, task.parameters, {name: file.digest for name, file in files.items()}, maker
            )
        except (DiskFull, MissingExtra, Interrupted):
            raise
        except Exception as error:  # an illustrator or voice may be anyone's code: the film goes on without this scene
            message = str(error) if isinstance(error, LimnerError) else f"{type(error).__name__}: {error}"
            lost = not task.scene or task.stage in ("failure", "silence")
            if lost or (task.scene in plan.failed and task.stage != "voice"):  # the card itself can't be made
                self.store.record(Entry(task.slot, task.stage, key, "failed", why, error=message))
                raise BadInput(f"{task.slot} can't be made: {message}") from error
            raise _SceneFailed(task, key, message) from error
        self.store.record(
            Entry(task.slot, task.stage, key, "made", why, artefact.seconds, round(units, 3), artefact.bytes)
        )
        self.slots.append(task.slot)
        return artefact

    def _pin(self, plan: Plan, made: Mapping[str, Artefact]) -> Plan:
        """Notes which picture each choice that was edited into film.toml means, so that it can be known to be stale."""
        path = self.folder / "film.toml"
        if self.options.animatic or path.read_text("utf-8") != format_project(plan.project):
            return plan  # someone edited the file meanwhile: it is theirs, and the next run reads it
        pictures = chosen_pictures(plan, made)
        scenes = []
        for scene in plan.project.scene:
            if scene.pick is not None and scene.id in pictures and scene.id not in plan.failed:
                artefact, choice = pictures[scene.id]
                if choice.by == "person" and not scene.picked.startswith(f"{scene.pick}:"):
                    scene = dataclasses.replace(scene, picked=pin(artefact, scene.pick))
            scenes.append(scene)
        project = dataclasses.replace(plan.project, scene=tuple(scenes))
        write_project(self.folder, project)
        return dataclasses.replace(plan, project=project)

    def _join(self, plan: Plan, outputs: Outputs, made: Mapping[str, Artefact], line: Line) -> None:
        self.progress.begin("film", 1)
        begun = time.perf_counter()
        length = join(plan, outputs, made)
        seconds, size = round(time.perf_counter() - begun, 4), outputs.film.stat().st_size
        self.store.record(Entry(line.slot, "film", outputs.key, "made", line.why, seconds, round(length, 3), size))
        self.slots.append(line.slot)
        self.progress.advance("film")

    def _tell(self, plan: Plan, made: Mapping[str, Artefact]) -> None:
        """What a person should know although nothing failed."""
        for scene in plan.project.scene:
            voice = made[plan.slot(scene.id, "voice")].read_json("voice.json")
            for text in voice["notes"]:
                self.note(f"scene {scene.id}: {text}")
        for id, (artefact, choice) in chosen_pictures(plan, made).items():
            if choice.stale and not self.options.animatic:
                self.note(f"scene {id}: {_stale_choice(self.folder, plan.project, id)}")
            words = sorted(
                {word for row in artefact.read_json("pictures.json")["candidates"] for word in row["unknown"]}
            )
            if words:
                self.note(
                    f"scene {id}: the illustrator doesn't know {', '.join(words)}; use other words in its prompt."
                )


def _open(illustrator: Illustrator) -> None:
    """Loads the illustrator. If that fails no scene can be drawn, so it ends the run rather than every scene."""
    try:
        illustrator.prepare()
    except (LimnerError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise BadInput(f"The illustrator can't be opened ({type(error).__name__}: {error}). Check its name.") from error
