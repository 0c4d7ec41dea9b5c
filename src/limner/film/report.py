"""How good is the film? Measured on the finished file where that can be: a JSON report and an HTML storyboard."""

from __future__ import annotations

import base64
import html
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from limner.film.estimate import duration
from limner.film.finish import Outputs, chosen_pictures, version
from limner.film.plan import TITLE, Plan
from limner.film.stages import read_speech
from limner.film.store import Artefact, Json, write_atomic
from limner.film.timing import Shot, film_frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner.film.sound import Sound, Track

    Curve = NDArray[np.float64]

REPORT_VERSION = 1
_STEP = 0.002  # seconds: the grid on which the voice is looked for in the film
_SEARCH = 0.25  # seconds, either way
_LISTEN = 4.0  # seconds of each scene that are compared


class Failed(Protocol):
    """What the report needs of a failure."""

    @property
    def slot(self) -> str: ...

    @property
    def message(self) -> str: ...


@dataclass(frozen=True)
class Report:
    json: Path
    storyboard: Path


def write_report(plan: Plan, outputs: Outputs, made: Mapping[str, Artefact], failures: Sequence[Failed]) -> Report:
    """Measures the film and writes `out/NAME.report.json` and `out/NAME.storyboard.html` in the project folder, unless
    they are there for this very film."""
    stem = outputs.film.stem
    report = Report(plan.folder / "out" / f"{stem}.report.json", plan.folder / "out" / f"{stem}.storyboard.html")
    facts = measure(plan, made, failures)
    facts = {"report": REPORT_VERSION, "key": outputs.key, **facts}
    known = _read(report.json)
    if report.storyboard.is_file() and all(known.get(name) == value for name, value in facts.items()):
        return report
    facts |= listen(plan, outputs.film, made)
    write_atomic(report.json, (json.dumps(facts, ensure_ascii=False, indent=1) + "\n").encode())
    write_atomic(report.storyboard, "".join(_page(plan, facts, made)).encode())
    return report


def measure(plan: Plan, made: Mapping[str, Artefact], failures: Sequence[Failed]) -> dict[str, Json]:
    """What can be said without listening: scores, choices, cast, timing of captions, what is stale or failed."""
    shots = plan.times(made)
    scenes = [
        _scene(plan, scene.id, shot, made) for scene, shot in zip(plan.shots, shots, strict=True) if scene.id != TITLE
    ]
    scores = [scene["score"] for scene in scenes if scene["score"] is not None]
    return {
        "made by": f"limner {version()}",
        "title": plan.project.story.title,
        "author": plan.project.story.author,
        "seconds": round(film_frames(shots) / plan.project.film.fps, 3),
        "text-picture score": {"mean": _rounded(scores), "n": len(scores), "protocol": "the illustrator's own score"},
        "scenes": scenes,
        "cast": cast_consistency(plan, made),
        "caption lag ms": _caption_lag(plan, shots, made),
        "missing glyphs": [failure.message for failure in failures if "font" in failure.message.lower()],
        "stale choices": [scene["id"] for scene in scenes if scene["choice is stale"]],
        "failed": {failure.slot: failure.message for failure in failures},
    }


def _scene(plan: Plan, id: str, shot: Shot, made: Mapping[str, Artefact]) -> dict[str, Json]:
    number = plan.project.scene_number(id)
    scene = plan.project.scene[number - 1]
    row: dict[str, Json] = {
        "id": id,
        "number": number,
        "start": round(shot.start / shot.fps, 3),
        "seconds": round(shot.frames / shot.fps, 3),
        "narration": scene.narration,
        "original": scene.original,
        "prompt": scene.prompt,
        "picture": None,
        "candidate": None,
        "chosen by": None,
        "choice is stale": False,
        "score": None,
        "scores": [],
        "unknown words": [],
        "lufs": made[plan.slot(id, "voice")].read_json("voice.json")["lufs"],
        "failed": plan.failed.get(id),
    }
    artefact, choice = chosen_pictures(plan, made)[id]
    candidates = artefact.read_json("pictures.json")["candidates"]
    row["picture"] = artefact.path(choice.name).relative_to(plan.folder).as_posix()
    if id in plan.failed:
        return row
    if artefact.recipe["stage"] == "pictures":
        row["score"] = candidates[choice.number - 1]["score"]
        row["scores"] = [candidate["score"] for candidate in candidates]
    row["candidate"], row["chosen by"], row["choice is stale"] = choice.number, choice.by, choice.stale
    row["unknown words"] = sorted({word for candidate in candidates for word in candidate["unknown"]})
    return row


def _caption_lag(plan: Plan, shots: Sequence[Shot], made: Mapping[str, Artefact]) -> dict[str, Json]:
    """How long after a word is spoken the frame that lights it comes: at most one frame, by construction."""
    lags = []
    for scene, shot in zip(plan.shots, shots, strict=True):
        for word in read_speech(made[plan.slot(scene.id, "voice")].path("voice.json")).words:
            lags.append(1000 * (-(shot.speech + word.start) * shot.fps % 1) / shot.fps)
    return {"mean": _rounded(lags), "largest": round(max(lags), 1) if lags else None, "words": len(lags)}


# The cast ------------------------------------------------------------------------------------------------------------


def cast_consistency(plan: Plan, made: Mapping[str, Artefact]) -> list[dict[str, Json]]:
    """For each noun that appears in several scenes: how alike its successive appearances are (0 to 1)."""
    rows = []
    for noun in plan.cast():
        row: dict[str, Json] = made[plan.likeness_slot(noun)].read_json("likeness.json")
        values, pairs = row.pop("values"), list(itertools.pairwise(row["scenes"]))
        row["worst"] = list(min(zip(values, pairs, strict=True))[1]) if values else None
        rows.append(row)
    return rows


# The sound -----------------------------------------------------------------------------------------------------------


def listen(plan: Plan, film: Path, made: Mapping[str, Artefact]) -> dict[str, Json]:
    """Decodes the finished film's sound: loudness, peak, and where each voice really begins."""
    from limner.film.sound import blocks, loudness, read_audio, true_peak

    with tempfile.TemporaryDirectory(prefix="part-", dir=plan.folder / "store") as scratch:
        samples, rate = _decode(film, Path(scratch) / "sound.f32")
        level, peak = loudness(samples, rate), true_peak(samples, rate)
        clipped = sum(int((abs(block) >= 1.0).sum()) for block in blocks(samples, rate))
        lags = {}
        for scene, shot in zip(plan.shots, plan.times(made), strict=True):
            voice, own = read_audio(made[plan.slot(scene.id, "voice")].path("voice.wav"))
            lag = voice_lag(samples, rate, voice[:, 0], own, shot.speech)
            if lag is not None:
                lags[scene.id] = round(1000 * lag, 1)
    return {
        "loudness": {
            "lufs": round(level, 2) if level > -100 else None, "target": -16.0,
            "true peak db": round(peak, 2) if peak > -100 else None, "clipped samples": clipped,
        },
        "sync error ms": {"largest": max(map(abs, lags.values()), default=None), "by scene": lags, "protocol":
                          "voice in the film against its planned place, by envelope correlation on a 2 ms grid"},
    }  # fmt: skip


def voice_lag(film: Sound, rate: int, voice: np.ndarray, own: int, start: float) -> float | None:
    """Seconds by which `voice` comes late in `film` against `start`; None if there is nothing to hear."""
    import numpy as np

    heard_from = max(0.0, start - _SEARCH)
    length = min(_LISTEN, len(voice) / own)
    heard = _envelope(film[round(heard_from * rate) : round((start + length + _SEARCH) * rate)], rate)
    wanted = _envelope(voice[: round(length * own)], own)
    if len(wanted) < 10 or len(heard) <= len(wanted) or wanted.max() < 1e-3:
        return None
    fits = np.correlate(heard, wanted - wanted.mean(), mode="valid")
    return float(int(fits.argmax()) * _STEP - (start - heard_from))


def _envelope(samples: np.ndarray, rate: int) -> Curve:
    """Mean absolute value in steps of 2 ms."""
    import numpy as np

    edges = np.round(np.arange(0, len(samples) / rate / _STEP - 1) * _STEP * rate).astype(int)
    if not len(edges):
        return np.zeros(0)
    sums = np.add.reduceat(np.abs(np.asarray(samples, np.float64)), edges)
    return np.asarray(sums / (_STEP * rate))


def _decode(film: Path, scratch: Path) -> tuple[Track, int]:
    """The film's sound, mono, on disk: a long film takes no more memory than a short one."""
    import av

    from limner.film.sound import Track

    with scratch.open("wb") as file, av.open(str(film)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            file.write(frame.to_ndarray().reshape(len(frame.layout.channels), -1)[0].astype("<f4").tobytes())
        rate = int(stream.rate)
    return Track(scratch), rate


# The storyboard ------------------------------------------------------------------------------------------------------

_STYLE = """
body{font:17px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:2rem;background:#faf8f4;color:#222}
h1{margin-bottom:0}.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1.5rem}
article{background:#fff;border:1px solid #ddd;border-radius:.5rem;overflow:hidden}article>div{padding:0 1rem 1rem}
img{width:100%;display:block}.others{display:flex;gap:.3rem;padding:.3rem}
.others img{width:auto;height:3.2rem;border-radius:.2rem}.others img.chosen{outline:3px solid #b5651d}
.small{color:#666;font-size:.85rem}.bad{color:#a3231a;font-weight:600}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#1b1a19;color:#eee}article{background:#262422;border-color:#444}.small{color:#aaa}}
"""


def _page(plan: Plan, facts: Mapping[str, Json], made: Mapping[str, Artefact]) -> Iterator[str]:
    language = html.escape(plan.project.story.language)
    title = html.escape(facts["title"] or "A film")
    yield f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}: storyboard</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
    yield f'<h1 dir="auto">{title}</h1>\n<p dir="auto">{html.escape(facts["author"])}</p>\n'
    yield from _summary(facts)
    yield '<main class="grid">\n'
    pictures = chosen_pictures(plan, made)
    for scene in facts["scenes"]:
        yield from _card(scene, *pictures[scene["id"]])
    yield f'</main>\n<p class="small">{html.escape(facts["made by"])}</p>\n</body></html>\n'


def _summary(facts: Mapping[str, Json]) -> Iterator[str]:
    loud, sync, score = facts["loudness"], facts["sync error ms"], facts["text-picture score"]
    rows = [
        ("Length", f"{duration(facts['seconds'])}, {len(facts['scenes'])} scenes"),
        ("Text-picture score", f"{score['mean']} (n = {score['n']}; {score['protocol']})"),
        ("Loudness", f"{loud['lufs']} LUFS (target {loud['target']}), true peak {loud['true peak db']} dB"),
        (
            "Sync error",
            f"at most {sync['largest']} ms (captions: at most {facts['caption lag ms']['largest']} ms late)",
        ),
    ]
    rows += [
        (
            f"Cast: {row['noun']}",
            f"likeness {row['likeness']}, least in scenes {' and '.join(row['worst'])} ({row['protocol']})"
            if row["worst"]
            else row["failed"],
        )
        for row in facts["cast"]
    ]
    rows += [(f"Failed: {slot}", message) for slot, message in facts["failed"].items()]
    rows += [("Stale choice", f"scene {id}: choose again") for id in facts["stale choices"]]
    yield "<table>\n"
    for name, text in rows:
        bad = ' class="bad"' if name.startswith(("Failed", "Stale")) else ""
        yield f"<tr><th>{html.escape(name)}</th><td{bad}>{html.escape(str(text))}</td></tr>\n"
    yield "</table>\n"


def _card(scene: Mapping[str, Json], artefact: Artefact, choice: Any) -> Iterator[str]:
    alt = html.escape(scene["prompt"] or scene["narration"])
    yield f'<article>\n<img src="{_thumbnail(artefact, choice.name)}" alt="{alt}">\n'
    candidates = artefact.read_json("pictures.json")["candidates"]
    if len(candidates) > 1:
        yield '<div class="others">'
        for number, candidate in enumerate(candidates, 1):
            mark = ' class="chosen"' if number == choice.number else ""
            label = f"candidate {number}, score {candidate['score']}"
            picture = _thumbnail(artefact, candidate["file"])
            yield f'<img{mark} src="{picture}" alt="{label}" title="{label}">'
        yield "</div>\n"
    yield f'<div><h2>{scene["number"]}</h2>\n<p dir="auto">{html.escape(scene["narration"])}</p>\n'
    yield f'<p class="small">Picture: {alt}</p>\n'
    if scene["failed"]:
        yield f'<p class="bad">{html.escape(scene["failed"])}</p>\n'
    if scene["unknown words"]:
        words = html.escape(", ".join(scene["unknown words"]))
        yield f'<p class="small">Words the illustrator doesn\'t know: {words}</p>\n'
    if scene["original"] != scene["narration"]:
        original = html.escape(scene["original"]).replace("\n", "<br>")
        yield f'<details class="small"><summary>In the story</summary><p dir="auto">{original}</p></details>\n'
    yield f'<p class="small">{scene["start"]:.1f} s, {scene["seconds"]:.1f} s long'
    yield f", score {scene['score']}, chosen by {scene['chosen by']}</p></div>\n</article>\n"


def _thumbnail(artefact: Artefact, picture: str) -> str:
    data = artefact.path(picture).with_suffix(".webp").read_bytes()
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _rounded(values: Sequence[float]) -> float | None:
    return round(statistics.fmean(values), 4) if values else None


def _read(path: Path) -> dict[str, Json]:
    try:
        value = json.loads(path.read_text("utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}
