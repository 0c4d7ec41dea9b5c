"""Who draws the scenes: a model that limner loads, or a folder of one's own pictures."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from limner.errors import BadInput, BadPicture

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from limner.provenance import SourceType
    from limner.system import Draws
    from limner.systems.reader import StickerReader

LARGEST_PICTURE = 120_000_000  # pixels; a 120-megapixel picture takes 360 MB to decode
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_WEIGHTS = (".json", ".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".txt")  # the files of a model that decide
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Candidate:
    """One picture for a scene. `score` says how well it shows the prompt (higher is better, comparable within one
    illustrator); `unknown` are the prompt's words that the illustrator doesn't know and so can't have drawn."""

    picture: np.ndarray  # (H, W, 3) uint8 RGB
    score: float
    unknown: tuple[str, ...] = ()
    seed: int | None = None  # makes this picture again on its own, where the illustrator can say


@runtime_checkable
class Illustrator(Protocol):
    """Draws scenes. The same arguments give the same pictures as long as `identity` is the same."""

    ordered: bool  # whether a scene's number matters, as it does for numbered pictures
    seconds_per_picture: float  # a first guess for the estimate; the ledger's measured times replace it
    source_type: SourceType | None  # IPTC digital source type of its pictures, None for a person's own

    @property
    def identity(self) -> str:
        """Name and content of the model or folder; part of every picture's key."""
        ...

    def prepare(self) -> None:
        """Loads what drawing needs. Raises a `LimnerError` if nothing can be drawn at all."""

    def illustrate(self, prompt: str, *, count: int, seed: int, size: tuple[int, int], scene: int) -> list[Candidate]:
        """At least one and at most `count` candidates of `size` (width, height) for a prompt. `scene` is its number
        from 1 where `ordered`, else 0."""
        ...


@runtime_checkable
class Likens(Protocol):
    """An illustrator that can also tell how alike a character looks in two pictures (0 to 1): for the report."""

    def likeness(self, first: np.ndarray, second: np.ndarray, noun: str) -> float: ...


def open_illustrator(spec: str, base: Path) -> Illustrator:
    """The illustrator that film.toml names: a folder of pictures, or anything `limner.load` takes ("storybook", a run
    directory, a diffusers folder or hub id, a checkpoint file). Paths are relative to `base`. Nothing heavy is loaded
    before the first picture is drawn. Raises `BadInput` for a folder with neither."""
    folder = base / Path(spec).expanduser()
    if spec and folder.is_dir() and not _is_model(folder):
        return FolderIllustrator(folder)
    if spec == "storybook":
        return StorybookIllustrator(spec)
    return ModelIllustrator(str(folder) if folder.exists() and spec else spec)


def _is_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("model_index.json", "config.json", "checkpoints"))


class FolderIllustrator:
    """A folder of the user's own pictures.

    Scene 3 takes the pictures whose name begins with its number ("3.jpg", "03 fox.png", "scene-03-b.png"); failing
    that, those whose names share most words with the prompt; failing that, the third picture by name.
    """

    ordered = True
    seconds_per_picture = 0.1
    source_type: SourceType | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()),
            key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name.lower())],
        )
        if not self.files:
            raise BadInput(f"{folder} holds no pictures ({', '.join(SUFFIXES)}) and no model. Put pictures there.")

    @cached_property
    def identity(self) -> str:
        return fingerprint(self.folder, self.files)

    def prepare(self) -> None:
        """There is nothing to load."""

    def illustrate(self, prompt: str, *, count: int, seed: int, size: tuple[int, int], scene: int) -> list[Candidate]:
        ranked = self._ranked(prompt, scene)[:count]
        return [Candidate(open_picture(path, size), score) for path, score in ranked]

    def _ranked(self, prompt: str, scene: int) -> list[tuple[Path, float]]:
        numbered = [path for path in self.files if self._number(path) == scene]
        if numbered:
            return [(path, 1.0) for path in numbered]
        wanted = _words(prompt)
        shared = {path: len(wanted & _words(path.stem)) for path in self.files}
        free = [path for path in self.files if self._number(path) is None]
        by_words = sorted((path for path in free if shared[path]), key=lambda path: -shared[path])
        if by_words:
            return [(path, shared[path] / max(len(wanted), 1)) for path in by_words]
        order = free or self.files
        return [(order[(scene - 1) % len(order)], 0.0)]

    @staticmethod
    def _number(path: Path) -> int | None:
        match = re.match(r"(?:scene|shot|page|picture|img|image)?[ _-]*0*(\d{1,4})(?!\d)", path.stem.lower())
        return int(match[1]) if match else None


def _words(text: str) -> set[str]:
    """The words that can tell pictures apart: "a" and "in" can't."""
    return {word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 2 or not word.isascii()}


class ModelIllustrator:
    """Any system of limner's that draws from words."""

    ordered = False
    source_type: SourceType | None = "trainedAlgorithmicMedia"
    seconds_per_picture = 4.0

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @cached_property
    def identity(self) -> str:
        path = Path(self.spec)
        if not path.exists():
            path = Path(__file__).parents[1] / "weights" / self.spec  # ships with limner; limner.hub would load torch
        if not path.exists():
            return self.spec
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in _WEIGHTS)
        return fingerprint(path, files)

    @cached_property
    def _system(self) -> Draws:
        import limner
        from limner.system import Draws
        from limner.systems import require

        system = limner.load(self.spec)
        require(system, Draws, name=self.spec)
        return cast(Draws, system)

    def prepare(self) -> None:
        _ = self._system

    def illustrate(self, prompt: str, *, count: int, seed: int, size: tuple[int, int], scene: int) -> list[Candidate]:
        from limner.film.motion import reframe

        drawing = self._system.draw(prompt, count=count, seed=seed)
        scores = drawing.scores or (0.0,) * len(drawing.pictures)
        return [
            Candidate(picture if picture.shape[1::-1] == size else reframe(picture, size), score, drawing.unknown, own)
            for picture, score, own in zip(drawing.pictures, scores, drawing.seeds, strict=True)
        ]


class StorybookIllustrator(ModelIllustrator):
    """The model that ships, with the reader that can find its characters again."""

    seconds_per_picture = 1.0

    @cached_property
    def _reader(self) -> StickerReader:
        import limner

        return cast("StickerReader", limner.load("sticker-reader"))

    def likeness(self, first: np.ndarray, second: np.ndarray, noun: str) -> float:
        """1 minus the mean difference of the colours around the character (0 to 1), where the sticker reader finds it
        in both pictures; 0 where one of them doesn't show it."""
        import numpy as np
        from PIL import Image

        seen = []
        for picture in (first, second):
            small = np.asarray(Image.fromarray(picture).resize((256, 144), Image.Resampling.BOX))
            found = [thing for thing in self._reader.read(small[None])[0].things if thing.noun == noun]
            if not found:
                return 0.0
            x, y = round(found[0].x * 256), round(found[0].y * 144)
            seen.append(np.pad(small, ((20, 20), (20, 20), (0, 0)), "edge")[y : y + 40, x : x + 40].astype(float))
        return float(1 - np.abs(seen[0] - seen[1]).mean() / 255)


def open_picture(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture file as (H, W, 3) uint8 RGB, upright, transparency on white; cropped around its subject and scaled to
    `size` (width, height) when that is given. Raises `BadPicture` for what can't be decoded within limner's limits."""
    import numpy as np
    from PIL import Image, ImageOps

    from limner.film.motion import reframe

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the one that counts
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > LARGEST_PICTURE:
                    raise BadPicture(
                        f"{path} says that it has {width} x {height} pixels; limner opens up to "
                        f"{LARGEST_PICTURE // 1_000_000} megapixels. Scale it down first."
                    )
                if size is not None:
                    image.draft("RGB", (2 * size[0], 2 * size[1]))  # JPEG: decode no larger than needed
                upright = _on_white(ImageOps.exif_transpose(image))
                picture = np.asarray(upright)
        return picture if size is None or upright.size == size else reframe(picture, size)
    except BadPicture:
        raise
    except FileNotFoundError as error:
        raise BadPicture(f"There is no picture {path}. Check the path in film.toml.") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, MemoryError) as error:
        raise BadPicture(f"{path} can't be decoded as a picture ({error}). Save it again as PNG or JPEG.") from error


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def fingerprint(name: Path, files: Sequence[Path]) -> str:
    """A name and a hash of file names, sizes, and the first and last MiB of each: a change of weights or pictures
    shows, and a model of many gigabytes is still recognised in milliseconds."""
    total = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        total.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            total.update(file.read(1 << 20))
            if size > 1 << 20:
                file.seek(max(size - (1 << 20), 1 << 20))
                total.update(file.read(1 << 20))
    return f"{name.name}:{total.hexdigest()[:16]}"
