"""The last stage: sound, chapters and subtitles, one MP4 from finished segments, and files that say what made it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.film.graph import Choice, File, Line, Made, Task, choose_candidate, resolve, task_key
from limner.film.plan import TITLE, Plan
from limner.film.stages import read_cues, read_speech
from limner.film.store import Artefact, Json, sha256_of, sync, writing
from limner.film.timing import Shot, film_frames
from limner.provenance import SourceType, mark_mp4, sign, write_sidecar

if TYPE_CHECKING:
    from limner.film.sound import Track
    from limner.film.subtitles import Cue

FILM_VERSION = 1
PEAK = -1.5  # dBTP before AAC, which may overshoot by half a decibel; -1 is what is promised
_CHAPTER = 48  # characters of a chapter's title


@dataclass(frozen=True)
class Outputs:
    """The files of a finished film. The sidecar is written last: it holds the key, and the sha256 of the others."""

    film: Path

    @property
    def subtitles(self) -> tuple[Path, Path]:
        return self.film.with_suffix(".srt"), self.film.with_suffix(".vtt")

    @property
    def sidecar(self) -> Path:
        return self.film.with_suffix(".json")

    def record(self) -> Mapping[str, Json] | None:
        """The sidecar, if limner wrote it and it can be read."""
        try:
            record = json.loads(self.sidecar.read_text("utf-8"))
            return record if isinstance(record.get("key"), str) and isinstance(record["files"], dict) else None
        except (OSError, ValueError, AttributeError):
            return None

    @property
    def key(self) -> str:
        """The key that the film was made under, or empty."""
        record = self.record()
        return str(record["key"]) if record else ""

    def whole(self, record: Mapping[str, Json]) -> bool:
        """Whether every file is there as it was written."""
        try:
            return all(sha256_of(self.film.with_name(name)) == digest for name, digest in record["files"].items())
        except OSError:
            return False


def film_task(plan: Plan) -> Task:
    """The joining as a task like any other; its result lies where the person wants it rather than in the store."""
    project = plan.project
    inputs = {f"{number:05d}": Made(slot, "video.mp4") for number, slot in enumerate(plan.segment_slots())}
    inputs |= {f"cues {scene.id}": Made(plan.slot(scene.id, "cues"), "cues.json") for scene in project.scene}
    for scene in plan.shots:
        inputs[f"sound {scene.id}"] = Made(plan.slot(scene.id, "voice"), "voice.wav")
        inputs[f"words {scene.id}"] = Made(plan.slot(scene.id, "voice"), "voice.json")
    parameters = {
        "title": project.story.title,
        "author": project.story.author,
        "language": project.story.language,
        "fps": project.film.fps,
        "texts": [[scene.id, scene.narration, scene.prompt] for scene in plan.shots],
        "certificate": _digest(plan.folder / project.sign.certificate) if project.sign.certificate else "",
    }
    return Task(f"{plan.prefix}film", "film", FILM_VERSION, parameters, dict(inputs))


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""  # signing says what is wrong with it


def film_line(plan: Plan, outputs: Outputs, made: Mapping[str, Artefact]) -> Line:
    """The state of the film itself."""
    task = film_task(plan)
    record = outputs.record()
    files = resolve(task, made)
    if record is None or not outputs.film.exists():
        return Line(task.slot, "missing", "new" if record is None else "the file is gone")
    if files is None:
        return Line(task.slot, "stale", "needs what is not fresh", outputs.film)
    if record["key"] != task_key(task, files):
        return Line(task.slot, "stale", "changed", outputs.film)
    if not outputs.whole(record):
        return Line(task.slot, "stale", "a file was changed or removed since it was made", outputs.film)
    return Line(task.slot, "fresh", "", outputs.film)


def join(plan: Plan, outputs: Outputs, made: Mapping[str, Artefact]) -> float:
    """Writes film, subtitles and sidecar. Returns the film's length in seconds. Raises `BadInput`, `DiskFull`; the old
    film stays until the new one is whole."""
    from limner.film.encode import join_film
    from limner.film.subtitles import write_srt, write_vtt

    project, task = plan.project, film_task(plan)
    files = resolve(task, made)
    assert files is not None, "join() comes after everything else"
    shots = plan.times(made)
    seconds = film_frames(shots) / project.film.fps
    cues = film_cues(plan, files, shots)
    recipe, source = film_recipe(plan, made), source_type(plan)
    film = outputs.film
    with writing(film), tempfile.TemporaryDirectory(prefix="part-", dir=plan.folder / "store") as scratch:
        film.parent.mkdir(parents=True, exist_ok=True)
        part = Path(scratch) / "film.mp4"
        sound = film_sound(plan, files, shots, seconds, Path(scratch))
        join_film(
            part,
            [files[f"{number:05d}"].path for number in range(len(plan.segment_slots()))],
            sound=sound,
            fps=project.film.fps,
            chapters=_chapters(plan, shots),
            subtitles=cues,
            language=project.story.language,
            metadata={
                "title": project.story.title,
                "artist": project.story.author,
                "comment": f"Made with limner {version()}. IPTC digital source type: {source}. Recipe in XMP and JSON.",
            },
        )
        mark_mp4(part, source, recipe, _alt(plan))
        if project.sign.certificate:
            signed = Path(scratch) / "signed.mp4"
            sign(
                part, signed, certificate=plan.folder / project.sign.certificate, key=plan.folder / project.sign.key,
                title=project.story.title or film.name, source_type=source, recipe=recipe,
            )  # fmt: skip
            part = signed
        place(part, film)
        srt, vtt = outputs.subtitles
        write_srt(Path(scratch) / srt.name, cues)
        write_vtt(Path(scratch) / vtt.name, cues)
        place(Path(scratch) / srt.name, srt)
        place(Path(scratch) / vtt.name, vtt)
        record = {
            "made by": f"limner {version()}",
            "key": task_key(task, files),
            "digital source type": source,
            "title": project.story.title,
            "author": project.story.author,
            "language": project.story.language,
            "seconds": round(seconds, 3),
            "frames": frames_digest(plan, made),
            "failed": dict(plan.failed),
            "alt": [
                {
                    "start": round(shot.start / shot.fps, 3),
                    "scene": scene.id,
                    "picture": scene.prompt,
                    "text": scene.narration,
                }
                for scene, shot in zip(plan.shots, shots, strict=True)
            ],
            "recipe": recipe,
            "files": {path.name: sha256_of(path) for path in (film, srt, vtt)},
        }
        write_sidecar(outputs.sidecar, record)
    return seconds


def place(part: Path, final: Path) -> None:
    """Moves a finished file to where it belongs, across disks too, so that the old one stays until it is whole."""
    import shutil

    beside = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        try:
            os.replace(part, beside)
        except OSError:  # another disk
            shutil.copyfile(part, beside)
        sync(beside)
        os.replace(beside, final)
        sync(final.parent)
    finally:
        beside.unlink(missing_ok=True)


def film_sound(
    plan: Plan, files: Mapping[str, File], shots: Sequence[Shot], seconds: float, scratch: Path
) -> tuple[Track, int]:
    """(samples, rate) of the whole film at -16 LUFS, on disk: a long film needs no more memory than a short one."""
    from limner.film.sound import Samples, Track, master_into, place_into, read_audio, resample

    speeches = {scene.id: read_speech(files[f"words {scene.id}"].path) for scene in plan.shots}
    rate = max(speech.rate for speech in speeches.values())

    def voices() -> Iterator[tuple[float, Samples]]:
        for scene, shot in zip(plan.shots, shots, strict=True):
            if len(speeches[scene.id].samples):
                samples, own = read_audio(files[f"sound {scene.id}"].path)
                yield shot.speech, resample(samples[:, 0], own, rate)

    length = round(seconds * rate)
    raw, mastered = Track(scratch / "voices.f32", length), Track(scratch / "sound.f32", length)
    place_into(raw, voices(), rate)
    master_into(mastered, raw, rate, peak=PEAK)
    return mastered, rate


def film_cues(plan: Plan, files: Mapping[str, File], shots: Sequence[Shot]) -> list[Cue]:
    """The subtitles of the whole film, in its time. The title has none: it stands on the screen already."""
    starts = {scene.id: shot.speech for scene, shot in zip(plan.shots, shots, strict=True)}
    return [cue for scene in plan.project.scene for cue in read_cues(files[f"cues {scene.id}"].path, starts[scene.id])]


def chosen_pictures(plan: Plan, made: Mapping[str, Artefact]) -> dict[str, tuple[Artefact, Choice]]:
    """Scene id -> its pictures and which of them is shown, for the scenes that have pictures."""
    chosen = {}
    for scene in plan.project.scene:
        artefact = made.get(plan.picture_slot(scene.id))
        if artefact is not None:
            source = plan.chosen(scene)
            chosen[scene.id] = artefact, choose_candidate(artefact, source.pick, source.picked)
    return chosen


def film_recipe(plan: Plan, made: Mapping[str, Artefact]) -> dict[str, Any]:
    """Enough to make the film again: who wrote, drew and spoke, with what settings, and what each scene came from."""
    project, scenes = plan.project, []
    pictures = chosen_pictures(plan, made)
    for scene in project.scene:
        row: dict[str, Any] = {"id": scene.id, "narration": scene.narration, "prompt": scene.prompt}
        if scene.id in plan.failed:
            row["failed"] = plan.failed[scene.id]
        elif scene.id in pictures:
            artefact, choice = pictures[scene.id]
            row |= {
                "candidate": choice.number,
                "chosen by": choice.by,
                "seed": artefact.recipe["parameters"].get("seed"),
            }
        scenes.append(row)
    return {
        "tool": f"limner {version()}",
        "title": project.story.title,
        "writer": project.story.writer,
        "illustrator": plan.makers.illustrator_identity,
        "voice": plan.makers.voice_identity,
        "seed": project.pictures.seed,
        "candidates": project.pictures.candidates,
        "film": {"size": list(project.film.size), "fps": project.film.fps, "quality": project.film.quality},
        "scenes": scenes,
    }


def source_type(plan: Plan) -> SourceType:
    """What the film is to say of itself. A film of one's own pictures still has a made voice and made cards."""
    own = [bool(scene.picture) for scene in plan.project.scene if scene.id not in plan.failed]
    if plan.makers.illustrator.source_type is None or not own or all(own):
        return "compositeSynthetic"
    return "compositeWithTrainedAlgorithmicMedia" if any(own) else plan.makers.illustrator.source_type


def frames_digest(plan: Plan, made: Mapping[str, Artefact]) -> str:
    """A hash of the film's frames as encoded: equal for the same project, seeds and versions."""
    total = hashlib.sha256()
    for slot in plan.segment_slots():
        total.update(made[slot].files["video.mp4"].encode())
    return total.hexdigest()


def version() -> str:
    try:
        return metadata.version("limner")
    except metadata.PackageNotFoundError:  # a source tree that was never installed
        return "(source)"


def _chapters(plan: Plan, shots: Sequence[Shot]) -> list[tuple[float, str]]:
    chapters = []
    for number, (scene, shot) in enumerate(zip(plan.shots, shots, strict=True)):
        text = plan.project.story.title if scene.id == TITLE else " ".join(scene.narration.split())
        if len(text) > _CHAPTER:
            text = text[: _CHAPTER - 1].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"
        middle = (shot.start + shot.dissolve / 2) / shot.fps
        chapters.append((middle if number else 0.0, text))
    return chapters


def _alt(plan: Plan) -> str:
    return " ".join(scene.prompt.rstrip(".") + "." for scene in plan.project.scene if scene.prompt)[:4000]
