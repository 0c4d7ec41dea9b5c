"""The stages of a film: each is a function from parameters and files to files in an empty folder, and knows nothing of
the project, the store or the other stages. It returns how much work it did, in the unit that estimate.py counts."""

from __future__ import annotations

import io
import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import BadInput, LimnerError
from limner.film.illustrate import Candidate, Illustrator, Likens, open_picture
from limner.film.store import Json
from limner.film.timing import REST, dissolve_frames, shot_frames
from limner.provenance import encode_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limner.film.captions import Side
    from limner.film.subtitles import Cue
    from limner.film.voice import Speech, Voice

    Frame = NDArray[np.uint8]  # RGB (H, W, 3) or I420, see limner.film.planes


_THUMBNAIL = 640  # pixels of the longer side: two to a pixel of the storyboard


@dataclass(frozen=True)
class Work:
    """What a stage gets. `illustrator` and `voice` are used by the stages that draw and speak only."""

    folder: Path
    parameters: Mapping[str, Json]
    files: Mapping[str, Path]
    illustrator: Illustrator
    voice: Voice


def make_pictures(work: Work) -> float:
    """k candidates for a scene: 1.png, 2.png, ..., a small 1.webp, 2.webp, ... of each, and pictures.json."""
    p = work.parameters
    width, height = p["size"]
    candidates = work.illustrator.illustrate(
        p["prompt"], count=p["count"], seed=p["seed"], size=(width, height), scene=p["number"]
    )
    if not candidates:
        raise BadInput(
            f"The illustrator drew nothing for {p['prompt']!r}. Change the prompt, or choose another illustrator."
        )
    source = work.illustrator.source_type or None
    for number, candidate in enumerate(candidates, 1):
        if candidate.picture.shape != (height, width, 3):
            raise BadInput(f"The illustrator drew {candidate.picture.shape} instead of {(height, width, 3)}.")
        # No number where the seed says enough: the same picture is the same file, wherever it stands
        which = {"seed": p["seed"], "candidate": number} if candidate.seed is None else {"seed": candidate.seed}
        recipe = {"tool": "limner", "model": p["illustrator"], "prompt": p["prompt"], **which}
        data = encode_picture(
            candidate.picture, ".png", source_type=source, recipe=recipe if source else None, description=p["prompt"]
        )
        (work.folder / f"{number}.png").write_bytes(data)
    _write_candidates(work.folder, candidates)
    return len(candidates)


def make_own_picture(work: Work) -> float:
    """A person's own picture, cut to the film's shape."""
    width, height = work.parameters["size"]
    picture = open_picture(work.files["picture"], (width, height))
    (work.folder / "1.png").write_bytes(encode_picture(picture, ".png", source_type=None))
    _write_candidates(work.folder, [Candidate(picture, 1.0)])
    return 1


def make_title(work: Work) -> float:
    """The title, on the picture of the first scene."""
    from limner.film.cards import title_card

    p = work.parameters
    picture = open_picture(work.files["picture"]) if "picture" in work.files else None
    _write_card(
        work.folder, title_card(p["title"], p["author"], tuple(p["size"]), picture=picture, language=p["language"])
    )
    return 1


def make_failure(work: Work) -> float:
    """The card that stands for a scene that failed. What no font can show must not make it fail again."""
    import numpy as np

    from limner.film.cards import failure_card

    p = work.parameters
    width, height = p["size"]
    plain = p["reason"].encode("ascii", "replace").decode()
    for text, reason in ((p["text"][:300], p["reason"]), ("", plain)):
        try:
            _write_card(work.folder, failure_card(text, reason, (width, height)))
            return 1
        except LimnerError:
            continue
    _write_card(work.folder, np.full((height, width, 3), 96, np.uint8))
    return 1


def _write_card(folder: Path, picture: Frame) -> None:
    (folder / "1.png").write_bytes(encode_picture(picture, ".png", source_type="algorithmicMedia"))
    _write_candidates(folder, [Candidate(picture, 0.0)])


def _write_candidates(folder: Path, candidates: list[Candidate]) -> None:
    rows = [
        {"file": f"{number}.png", "score": round(float(candidate.score), 6), "unknown": list(candidate.unknown)}
        for number, candidate in enumerate(candidates, 1)
    ]
    _write_json(folder / "pictures.json", {"candidates": rows})
    for number, candidate in enumerate(candidates, 1):
        (folder / f"{number}.webp").write_bytes(_thumbnail(candidate.picture))


def _thumbnail(picture: Frame) -> bytes:
    from PIL import Image

    small = Image.fromarray(picture)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BICUBIC, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80, method=1)
    return file.getvalue()


def make_likeness(work: Work) -> float:
    """How alike a noun looks from each picture to the next (likeness.json: values from 0 to 1). A report can do without
    it, so a comparison that fails fails nothing else."""
    p, noun = work.parameters, work.parameters["noun"]
    compare = work.illustrator.likeness if isinstance(work.illustrator, Likens) else colour_likeness
    values, why = [], ""
    try:
        pictures = (open_picture(work.files[f"scene {id}"]) for id in p["scenes"])
        values = [round(float(compare(one, two, noun)), 3) for one, two in itertools.pairwise(pictures)]
    except Exception as error:  # an illustrator may be anyone's code
        why = f"{type(error).__name__}: {error}"
    mean = round(statistics.fmean(values), 4) if values else None
    facts = {"noun": noun, "scenes": p["scenes"], "likeness": mean, "values": values, "protocol": p["protocol"]}
    _write_json(work.folder / "likeness.json", facts | ({"failed": why} if why else {}))
    return len(p["scenes"])


def colour_likeness(first: Frame, second: Frame, noun: str) -> float:
    """Histogram intersection over 6 x 6 x 6 RGB cells of two pictures (H, W, 3) uint8: 1 for the same colours."""
    import numpy as np

    histograms = []
    for picture in (first, second):
        cells = picture[::4, ::4].astype(np.int64) * 6 // 256
        counts = np.bincount((cells @ np.array([36, 6, 1])).ravel(), minlength=216)
        histograms.append(counts / counts.sum())
    return float(np.minimum(*histograms).sum())


def make_voice(work: Work) -> float:
    """A scene's narration at -16 LUFS (voice.wav, 16 bit) and the time of every word (voice.json)."""
    from limner.film.sound import loudness, master

    p = work.parameters
    speech = work.voice.speak(p["text"], scene=p["number"] - 1)
    samples = master(speech.samples, speech.rate) if len(speech.samples) else speech.samples
    level = loudness(samples, speech.rate)
    write_speech(work.folder, speech, samples, level if level > -100 else None)
    return len(p["text"])


def make_silence(work: Work) -> float:
    """What is heard of a scene or title without a voice: nothing, for as long as its text takes to read."""
    import numpy as np

    from limner.film.voice import Speech

    rate = 22050
    samples = np.zeros(int(work.parameters["seconds"] * rate), np.float32)
    write_speech(work.folder, Speech(samples, rate, ()), samples, None)
    return 1


def write_speech(folder: Path, speech: Speech, samples: NDArray[np.floating[Any]], level: float | None) -> None:
    from limner.film.sound import write_wav

    write_wav(folder / "voice.wav", samples, speech.rate)
    facts = {
        "rate": speech.rate,
        "samples": len(samples),
        "lufs": level,
        "notes": list(speech.notes),
        "words": [asdict(word) for word in speech.words],
    }
    _write_json(folder / "voice.json", facts)


def read_speech(path: Path) -> Speech:
    """The words and length of a voice.json. Its samples are zeros that take no memory: only the sound needs more."""
    import numpy as np

    from limner.film.voice import Speech, Word

    facts = json.loads(path.read_text("utf-8"))
    silence = np.broadcast_to(np.zeros(1, np.float32), (facts["samples"],))
    return Speech(silence, facts["rate"], tuple(Word(**word) for word in facts["words"]), tuple(facts["notes"]))


def make_cues(work: Work) -> float:
    """The narration cut into captions, timed from the first sample of the voice (cues.json)."""
    from limner.film import subtitles
    from limner.film.captions import check_caption

    p = work.parameters
    if p["drawn"]:
        check_caption(p["text"])  # before any picture is drawn
    speech = read_speech(work.files["voice"])
    cues = subtitles.make_cues(speech, p["text"], start=0.0, language=p["language"], max_chars=p["letters"])
    _write_json(work.folder / "cues.json", [asdict(cue) for cue in cues])
    return len(p["text"])


def read_cues(path: Path, start: float) -> list[Cue]:
    """The captions of a voice that begins `start` seconds into the film."""
    from limner.film.subtitles import Cue
    from limner.film.voice import Word

    cues = []
    for row in json.loads(path.read_text("utf-8")):
        words = [{**word, "start": word["start"] + start, "end": word["end"] + start} for word in row["words"]]
        spoken = tuple(Word(**word) for word in words)
        cues.append(Cue(row["start"] + start, row["end"] + start, row["text"], spoken, tuple(row["breaks"])))
    return cues


def make_body(work: Work) -> float:
    """The frames of a shot between its dissolves, moved and captioned, as one piece of video."""
    from limner.film.encode import encode_segment

    p = work.parameters
    size, fps = tuple(p["size"]), p["fps"]
    speech = read_speech(work.files["voice"])
    first = dissolve_frames(fps)
    count = shot_frames(speech.seconds, fps) - 2 * first
    view = _view(work.files["picture"], p["move"], size, p["quality"] == "final")
    captioned = _captioner(p, work.files)

    def stream() -> Iterator[Frame]:
        for index in range(count):
            yield captioned(view(index / max(count - 1, 1)), (first + index) / fps)

    encode_segment(stream(), work.folder / "video.mp4", size=size, fps=fps, quality=p["quality"])
    return count * float(size[0] * size[1]) / 1e6


def make_dissolve(work: Work) -> float:
    """The frames that two shots share; at the ends of the film one of them is black. The camera rests while they pass,
    so they are the same however long the shots last."""
    from limner.film.encode import encode_segment
    from limner.film.motion import dissolve

    p = work.parameters
    size, fps = tuple(p["size"]), p["fps"]
    count = dissolve_frames(fps)
    before, after = _edge(work, "from", 1.0), _edge(work, "to", 0.0)

    def stream() -> Iterator[Frame]:
        for index in range(count):
            yield dissolve(before, after, (index + 1) / (count + 1))

    encode_segment(stream(), work.folder / "video.mp4", size=size, fps=fps, quality=p["quality"])
    return count * float(size[0] * size[1]) / 1e6


def _edge(work: Work, side: str, t: float) -> Frame:
    """What a shot shows at `t` of its move, or black where there is none."""
    import numpy as np

    from limner.film.planes import to_i420

    p = work.parameters
    width, height = p["size"]
    if f"{side} picture" not in work.files:
        return to_i420(np.zeros((height, width, 3), np.uint8))
    return _view(work.files[f"{side} picture"], p[f"{side} move"], (width, height), p["quality"] == "final")(t)


def _view(path: Path, move: Json, size: tuple[int, int], fine: bool) -> Callable[[float], Frame]:
    """What the camera sees of a picture (I420) as its move goes from 0 to 1. `move`: [seed, index], or None for cards.
    `fine`: resampled as well as can be, not as fast."""
    from limner.film.motion import frame_at, plan_move

    source, focus, _ = _source(path, size)
    if move is None:
        return lambda t: source
    plan = plan_move(move[0], move[1], size[0] / size[1], focus)
    return lambda t: frame_at(source, plan, t, size, fine=fine)


@lru_cache(maxsize=3)  # a shot's picture is wanted by its body and by two dissolves; a file of the store never changes
def _source(path: Path, size: tuple[int, int]) -> tuple[Frame, tuple[float, float], Side]:
    """A picture in I420, where its subject is, and the side for its captions."""
    from limner.film.captions import quiet_side
    from limner.film.motion import subject
    from limner.film.planes import to_i420

    picture = open_picture(path, size)
    return to_i420(picture), subject(picture), quiet_side(picture)


def _captioner(p: Mapping[str, Json], files: Mapping[str, Path]) -> Callable[[Frame, float], Frame]:
    """Draws the caption that belongs to a moment of the shot (seconds from its first frame) onto a frame; all captions
    of a shot stand on the same side."""
    from limner.film.captions import CaptionStyle, draw_caption

    if p["captions"] == "none":
        return lambda frame, t: frame
    cues = read_cues(files["cues"], dissolve_frames(p["fps"]) / p["fps"] + REST)
    _, _, side = _source(files["picture"], tuple(p["size"]))
    style = CaptionStyle(highlight="word" if p["captions"] == "words" else "line", side=side, language=p["language"])

    def captioned(frame: Frame, t: float) -> Frame:
        cue = next((cue for cue in cues if cue.start <= t < cue.end), None)
        return frame if cue is None else draw_caption(frame, cue, t, style)

    return captioned


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


Maker = Callable[[Work], float]

STAGES: Mapping[str, tuple[int, Maker]] = {  # the version is raised when the same inputs give another result
    "pictures": (2, make_pictures),
    "own picture": (2, make_own_picture),
    "title": (3, make_title),
    "failure": (2, make_failure),
    "likeness": (1, make_likeness),
    "voice": (1, make_voice),
    "silence": (1, make_silence),
    "cues": (2, make_cues),
    "body": (3, make_body),
    "dissolve": (3, make_dissolve),
}
