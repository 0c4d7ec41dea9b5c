"""Small data sets for tests, in the layouts that people have, in a folder, a zip or tar shards."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

Files = dict[str, bytes]


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def picture(number: int, width: int = 16, height: int = 12) -> np.ndarray:
    """(height, width, 3) uint8: noise, and the number in the first pixel."""
    drawn = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    drawn[0, 0] = number
    return drawn


def classes(number: int, width: int = 16, height: int = 12, count: int = 5) -> np.ndarray:
    return np.random.default_rng(number).integers(0, count, (height, width)).astype(np.uint8)


def paired(count: int, folders: tuple[str, str] = ("A", "B"), first: int = 0) -> Files:
    """B's pictures are the negatives of A's."""
    drawn = {number: picture(number) for number in range(first, first + count)}
    a = {f"{folders[0]}/{number}.png": png(drawn[number]) for number in drawn}
    return a | {f"{folders[1]}/{number}.png": png(255 - drawn[number]) for number in drawn}


def side_by_side(count: int, folder: str = "train", first: int = 0) -> Files:
    drawn = {number: picture(number) for number in range(first, first + count)}
    return {f"{folder}/{n}.png": png(np.concatenate([drawn[n], 255 - drawn[n]], 1)) for n in drawn}


def unpaired(a: int, b: int) -> Files:
    return {f"trainA/{n}.png": png(picture(n)) for n in range(a)} | {
        f"trainB/x{n}.png": png(picture(100 + n)) for n in range(b)
    }


def labelled(count: int, prefix: str = "train_") -> Files:
    files: Files = {}
    for number in range(count):
        files[f"{prefix}img/{number}.png"] = png(picture(number))
        files[f"{prefix}label/{number}.png"] = png(classes(number))
        files[f"{prefix}inst/{number}.png"] = png(classes(number).astype(np.uint16) * 1000 + 7)
    return files


def captioned(count: int, *, texts: bool = False) -> Files:
    files = {f"images/{number}.png": png(picture(number)) for number in range(count)}
    if texts:
        return files | {f"images/{number}.txt": f"picture {number}\n".encode() for number in range(count)}
    lines = [json.dumps({"file_name": f"images/{n}.png", "text": f"picture {n}"}) for n in range(count)]
    return files | {"metadata.jsonl": "\n".join(lines).encode()}


def masked(count: int, masks: int) -> Files:
    files = {f"images/{number}.png": png(picture(number)) for number in range(count)}
    return files | {f"masks/m{n}.png": png(np.full((12, 16), 255 * (n % 2), np.uint8)) for n in range(masks)}


def posed(people: int, shots: int, name: str = "{person:04d}_c{shot}") -> Files:
    """People who walk: their joints are at (shot, person), the left wrist isn't seen, and somebody unclear is about."""
    files: Files = {}
    for number in range(people * shots):
        person, shot = divmod(number, shots)
        file = name.format(person=person, shot=shot)
        found = [[shot, person, 0.9]] * 7 + [[0, 0, 0]] + [[shot, person, 0.9]] * 10
        told = [{"pose_keypoints_2d": np.ravel(points).tolist()} for points in ([[1, 1, 0.1]] * 18, found)]
        files[f"{file}.png"] = png(picture(number))
        files[f"{file}_keypoints.json"] = json.dumps({"people": told}).encode()
    return files


def write(files: Files, path: Path) -> Path:
    """A folder; a zip or a tar if `path` ends so."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path
