"""Gets the sticker art and turns icons into pixels.

The art is three icon sets, published as npm packages in Iconify's JSON layout: Fluent Emoji flat and high-contrast
(Microsoft, MIT) and Noto Emoji (Google, Apache-2.0). It is never part of limner: `fetch` gets the pinned versions
once, checks their hashes and licences, and keeps only the two files it needs of each.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import BadInput, DiskFull, LimnerError, MissingExtra

if TYPE_CHECKING:
    import numpy as np

STYLES = ("fluent", "line", "noto")
RASTER = 2  # counts up when the way icons become pixels changes, so that old rasters are left alone
LARGEST_FILE = 64 * 2**20  # icons.json of the largest set has 25 MB


@dataclass(frozen=True)
class Package:
    """One pinned npm package: `style` is what limner calls its art."""

    style: str
    name: str
    version: str
    licence: str  # SPDX
    tarball_sha512: str  # as npm writes `integrity`, without the prefix
    icons_sha256: str  # of package/icons.json

    @property
    def stem(self) -> str:
        """The name of the tarball that `npm pack` makes, without `.tgz`."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


PACKAGES = (
    Package(
        "fluent",
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "MIT",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "f5f4cf457c0db2ad5a2e42e033e02e0c87d10e43d0164cfffb3bb84914970a63",
    ),
    Package(
        "line",
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "MIT",
        "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
        "c522fb74fef65ccef67b38dfdbf0f3dcd4353339e4b8faec4aa45faf83ed4739",
    ),
    Package(
        "noto",
        "@iconify-json/noto",
        "1.2.9",
        "Apache-2.0",
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        "9eac6ef4e7ec122b6f0e7ac281d61008afdbc720d0ce861e398b939daaa347c6",
    ),
)


def limner_home() -> Path:
    """Where limner keeps what it has fetched: `$LIMNER_HOME`, else `~/.cache/limner`."""
    return Path(os.environ.get("LIMNER_HOME") or Path.home() / ".cache" / "limner")


def art_folder(cache: Path | None = None) -> Path:
    """The folder that `fetch` fills and `Art` reads."""
    return (cache or limner_home()) / "stickers"


def fetch(
    cache: Path | None = None,
    *,
    source: Path | None = None,
    packages: Sequence[Package] = PACKAGES,
    force: bool = False,
) -> Path:
    """Gets the art once and returns its folder; does nothing when it is there already, unless `force`.

    Without `source` the packages come from npm's own client (`npm pack`, no install, no scripts). `source` is a
    folder with the tarballs that `npm pack` makes, or with the packages unpacked; nothing is downloaded then.
    A wrong hash or licence, a missing file or a missing npm is a `LimnerError`, and nothing is left half done.
    """
    folder = art_folder(cache)
    wanted = {package.style: package.icons_sha256 for package in packages}
    if not force and _manifest(folder) == wanted:
        return folder
    if source is not None and not source.is_dir():
        raise BadInput(f"There is no folder {source}. Give the folder that holds the sticker packages.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            for package in packages:
                found = _find(package, source) if source is not None else _pack(package, Path(scratch))
                write_whole(folder / f"{package.style}.json", _checked(package, found))
        # The manifest comes last: a fetch that was killed before it has simply not happened.
        write_whole(folder / "manifest.json", json.dumps(wanted, indent=2).encode())
    except OSError as error:
        raise disk_error(error, folder) from None
    open_art.cache_clear()
    return folder


def _manifest(folder: Path) -> dict[str, str] | None:
    try:
        return dict(json.loads((folder / "manifest.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _pack(package: Package, folder: Path) -> Path:
    """Has npm download one tarball into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise LimnerError(
            "Fetching the sticker art needs npm, which isn't installed. Install Node.js, or run `npm pack` for "
            f"{', '.join(f'{p.name}@{p.version}' for p in PACKAGES)} on another machine and give the folder of the "
            "tarballs: limner stickers fetch --from FOLDER"
        )
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        raise LimnerError(
            f"npm took over ten minutes to get {package.name}. Check the network and try again."
        ) from None
    tarball = folder / f"{package.stem}.tgz"
    if done.returncode or not tarball.is_file():
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise LimnerError(
            f"npm could not get {package.name}@{package.version}: {reason[-1] if reason else 'no reason given'}. "
            "Check the network, or give a folder with the packages: limner stickers fetch --from FOLDER"
        )
    return tarball


def _find(package: Package, source: Path) -> Path:
    """A tarball or an unpacked package in `source`, under any of the names people have them."""
    short = package.name.rpartition("/")[2]
    tarballs = (source / f"{package.stem}.tgz",)
    folders = (
        source / package.name, source / short, source / package.stem, source / f"{package.stem}.tgz",
    )  # fmt: skip
    for tarball in tarballs:
        if tarball.is_file():
            return tarball
    for folder in folders:
        for place in (folder, folder / "package"):
            if (place / "icons.json").is_file():
                return place
    raise BadInput(
        f"{source} holds neither {package.stem}.tgz nor an unpacked {package.name}. "
        f"Make it there with: npm pack {package.name}@{package.version}"
    )


def _checked(package: Package, found: Path) -> bytes:
    """The bytes of icons.json, after the hash and the licence have been checked."""
    if found.is_dir():
        icons, info = _read(found / "icons.json"), _read(found / "info.json")
    else:
        content = _read(found)
        if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.tarball_sha512:
            raise BadInput(
                f"{found} is not {package.name}@{package.version} as published: its sha512 differs. Delete it and get "
                "it again."
            )
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tarball:
                icons, info = (_member(tarball, f"package/{name}.json") for name in ("icons", "info"))
        except (tarfile.TarError, OSError, EOFError, KeyError) as error:
            raise BadInput(f"{found} can't be unpacked ({error}). Delete it and get it again.") from None
    if hashlib.sha256(icons).hexdigest() != package.icons_sha256:
        raise BadInput(
            f"icons.json of {found} is not that of {package.name}@{package.version}: its sha256 differs. Get that "
            "version again."
        )
    try:
        licence = json.loads(info)["license"]["spdx"]
    except (ValueError, KeyError, TypeError):
        licence = "unknown"
    if licence != package.licence:
        raise BadInput(
            f"{package.name} says that its licence is {licence}, not {package.licence}; limner won't use it."
        )
    return icons


def _member(tarball: tarfile.TarFile, name: str) -> bytes:
    """One plain file of a tarball, read in memory: nothing is ever extracted to a path the tarball chose."""
    entry = tarball.getmember(name)
    stream = tarball.extractfile(entry)
    if stream is None or entry.size > LARGEST_FILE:
        raise KeyError(name)
    return stream.read(LARGEST_FILE)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path} is larger than {LARGEST_FILE >> 20} MB, so it isn't sticker art. Get it again.")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror}). Get the packages again.") from None


def disk_error(error: OSError, where: Path) -> LimnerError:
    """What to tell when `where` can't be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"The disk is full: {where} is unfinished. Make room and run the same command again.")
    return LimnerError(f"{error.filename or where} can't be written: {error.strerror}. Choose another folder.")


def write_whole(path: Path, content: bytes) -> None:
    """Writes by a temporary name and a rename, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@cache
def open_art(folder: Path) -> Art:
    """The art in `folder`, opened once per process."""
    return Art(folder)


def art() -> Art:
    """The art that `limner stickers fetch` got."""
    return open_art(art_folder())


class Art:
    """The icons of all styles, and their rasters.

    Rasters are kept on disk under the hash of the icon set, since resvg takes milliseconds for each; any number of
    processes may share them.
    """

    def __init__(self, folder: Path) -> None:
        manifest = _manifest(folder)
        if manifest is None:
            raise LimnerError(
                f"The sticker art isn't here yet (looked in {folder}). Get it with: limner stickers fetch"
            )
        self.folder = folder
        self.hashes = manifest
        self._icons: dict[str, dict[str, Any]] = {}

    def icons(self, style: str) -> dict[str, Any]:
        """The Iconify set of a style, parsed on first use."""
        if style not in self.hashes:
            raise BadInput(f"There is no art of the style {style!r}; there are: {', '.join(self.hashes)}.")
        if style not in self._icons:
            path = self.folder / f"{style}.json"
            content = _read(path)
            if hashlib.sha256(content).hexdigest() != self.hashes[style]:
                raise BadInput(f"{path} is damaged. Mend it with: limner stickers fetch --force")
            self._icons[style] = json.loads(content)
        return self._icons[style]

    def has(self, style: str, icon: str) -> bool:
        """Whether a style draws this icon."""
        icons = self.icons(style)
        return icon in icons["icons"] or icon in icons.get("aliases", {})

    def sprite(self, style: str, icon: str, size: int) -> np.ndarray:
        """A `(size, size, 4)` uint8 RGBA raster (alpha not multiplied in), trimmed: it touches the bottom edge, is
        centred, and fills the square in its longer direction."""
        return _sprite(self, style, icon, size)

    def _raster(self, style: str, icon: str, size: int) -> np.ndarray:
        import numpy as np

        stored = self.folder / "sprites" / f"{self.hashes[style][:16]}-{RASTER}" / str(size) / f"{icon}.npy"
        with contextlib.suppress(OSError, ValueError):
            pixels: np.ndarray = np.load(stored, allow_pickle=False)
            if pixels.shape == (size, size, 4) and pixels.dtype == np.uint8:
                return pixels
        body, view = self._trimmed(style, icon)
        pixels = _resvg(body, view, size)
        if style == "line":
            pixels = _paper_inside(pixels)
        buffer = io.BytesIO()
        np.save(buffer, pixels)
        with contextlib.suppress(OSError):  # a full or read-only disk costs time, not the picture
            write_whole(stored, buffer.getvalue())
        return pixels

    def _trimmed(self, style: str, icon: str) -> tuple[str, tuple[float, float, float, float]]:
        """SVG body, and the square view that holds exactly what it paints, standing on its lower edge."""
        import numpy as np

        body, (left, top, width, height) = self._svg(style, icon)
        probe = 256
        side = max(width, height)
        painted = _resvg(body, (left, top, side, side), probe)[..., 3] > 8
        if not painted.any():
            raise BadInput(f"The icon {icon!r} of the style {style!r} paints nothing. Get the art again.")
        rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
        unit = side / probe
        x0, x1 = left + (columns[0] - 1) * unit, left + (columns[-1] + 2) * unit
        y0, y1 = top + (rows[0] - 1) * unit, top + (rows[-1] + 2) * unit
        side = max(x1 - x0, y1 - y0)
        return body, ((x0 + x1 - side) / 2, y1 - side, side, side)

    def _svg(self, style: str, icon: str) -> tuple[str, tuple[float, float, float, float]]:
        icons = self.icons(style)
        name = icon
        for _ in range(8):  # aliases may chain, a malformed set might loop
            alias = icons.get("aliases", {}).get(name)
            if alias is None:
                break
            name = alias["parent"]
        entry = icons["icons"].get(name)
        if entry is None:
            raise BadInput(
                f"The style {style!r} has no icon {icon!r}. Get the pinned art: limner stickers fetch --force"
            )
        width, height = (float(entry.get(key, icons.get(key, 16))) for key in ("width", "height"))
        return entry["body"], (float(entry.get("left", 0)), float(entry.get("top", 0)), width, height)


@lru_cache(maxsize=4096)
def _sprite(art: Art, style: str, icon: str, size: int) -> np.ndarray:
    pixels = art._raster(style, icon, size)
    pixels.flags.writeable = False
    return pixels


def _resvg(body: str, view: tuple[float, float, float, float], size: int) -> np.ndarray:
    import numpy as np
    from PIL import Image

    try:
        import resvg_py
    except ImportError:
        raise MissingExtra("Drawing stickers", "stickers") from None
    box = " ".join(f"{number:.4f}" for number in view)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="{size}" height="{size}" color="#101010">{body}</svg>'
    )
    try:
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))
    except ValueError as error:
        raise BadInput(f"An icon of the sticker art can't be drawn ({error}). Get the art again.") from None
    pixels: np.ndarray = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    return pixels


def _paper_inside(pixels: np.ndarray) -> np.ndarray:
    """Fills what a line drawing encloses with white, so that things behind it don't shine through."""
    import numpy as np
    from PIL import Image, ImageDraw

    alpha = pixels[..., 3].astype(np.float32) / 255
    size = len(alpha)
    walls = np.zeros((size + 2, size + 2), np.uint8)
    walls[1:-1, 1:-1] = np.where(alpha > 0.5, 255, 0)
    canvas = Image.fromarray(walls).copy()
    ImageDraw.floodfill(canvas, (0, 0), 128)
    inside = np.asarray(canvas)[1:-1, 1:-1] == 0
    ink = pixels[..., :3] * alpha[..., None] + 255 * (1 - alpha[..., None])
    filled = pixels.copy()
    filled[inside, :3] = ink[inside]
    filled[inside, 3] = 255
    return filled
