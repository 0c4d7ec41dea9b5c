"""Pairs packed for training: tar shards in webdataset's manner, or latents.

A shard's samples are KEY.before.jpg, KEY.after.jpg and KEY.json, with PROMPT-SEED for KEY. What was chosen is taken as
it is listed in each folder's metadata.jsonl; in a folder without, every pair that has both pictures.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from limner.data import decode
from limner.data.files import read_file
from limner.data.latents import INDEX
from limner.edits.pair import CHOSEN, PROMPT, read_prompt, read_samples
from limner.edits.triplets import Triplet
from limner.errors import BadInput
from limner.runs import write_bytes, write_json
from limner.system import from_uint8
from limner.train import best_device

Told = Callable[[str], None]
_BEFORE = re.compile(r"(\d+)_0\.\w+")


@dataclass(frozen=True)
class Pair:
    """One chosen pair of a folder."""

    prompt: str  # the folder's name
    seed: str
    triplet: Triplet
    before: Path
    after: Path

    @property
    def words(self) -> dict[str, str]:
        told = {"caption": self.triplet.caption, "edit": self.triplet.edit, "output": self.triplet.output}
        return {"prompt": self.prompt, "seed": self.seed, **told}


def pairs_of(root: Path, told: Told) -> list[Pair]:
    """All chosen pairs of a folder in the published layout, in order. What is broken is told and left out."""
    if not root.is_dir():
        raise BadInput(f"There is no folder {root}. Pairs of pictures are made by limner edits pair.")
    found = [pair for folder in sorted(root.iterdir()) for pair in _folder(folder, told)]
    if not found:
        raise BadInput(
            f"{root} holds no pairs: they are in folders with prompt.json, <seed>_0.jpg and <seed>_1.jpg. If a filter "
            "kept none, choose other thresholds with limner edits filter."
        )
    return found


def _folder(folder: Path, told: Told) -> Iterator[Pair]:
    if folder.name.startswith(".") or not (folder / PROMPT).is_file():
        return
    try:
        triplet = read_prompt(folder)
        listed = None
        if (folder / CHOSEN).is_file():
            listed = {str(sample.seed) for sample in read_samples(folder / CHOSEN)}
    except BadInput as error:
        told(str(error))
        return
    files = {path.name: path for path in folder.iterdir()}
    for name in sorted(files):
        seed = match[1] if (match := _BEFORE.fullmatch(name)) and name.lower().endswith(decode.SUFFIXES) else None
        if seed is None or (listed is not None and seed not in listed):
            continue
        after = files.get(f"{seed}_1{files[name].suffix}")
        if after is None:
            told(f"{files[name]} is left out: the picture after it is missing.")
        else:
            yield Pair(folder.name, seed, triplet, files[name], after)


def write_shards(
    pairs: Sequence[Pair], out: Path, *, size: int, told: Told, progress: Callable[[int, int], None]
) -> int:
    """Tar shards of `size` pairs each; a shard that is there already stays. Returns how many pairs are in them."""
    count = 0
    for number, group in _groups(pairs, size):
        path = out / f"pairs-{number:05d}.tar"
        if path.exists():
            _check_shard(path, group)
        else:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for pair in group:
                    try:
                        files = [("before", pair.before), ("after", pair.after)]
                        parts = [(f"{which}{file.suffix}", _checked(file)) for which, file in files]
                    except BadInput as error:
                        told(str(error))
                        continue
                    for name, data in [*parts, ("json", json.dumps(pair.words, ensure_ascii=False).encode())]:
                        entry = tarfile.TarInfo(f"{pair.prompt}-{pair.seed}.{name}")
                        entry.size = len(data)
                        tar.addfile(entry, io.BytesIO(data))
            write_bytes(path, content.getvalue())
        count += len(group)
        progress(count, len(pairs))
    return count


def _check_shard(path: Path, group: Sequence[Pair]) -> None:
    """A shard of an earlier call has nothing that this one wouldn't put there."""
    try:
        with tarfile.open(path, "r:") as tar:
            keys = {name.partition(".")[0] for name in tar.getnames()}
    except (OSError, tarfile.TarError) as error:
        raise BadInput(f"{path} is damaged: {error}. Delete it, then give the command again.") from error
    if not keys <= {f"{pair.prompt}-{pair.seed}" for pair in group}:
        raise BadInput(f"{path} holds other pairs. Choose another --out, or delete it.")


def _checked(path: Path) -> bytes:
    """A picture's file, if it is a whole picture."""
    content = read_file(path)
    decode.picture(content, str(path))
    return content


@torch.inference_mode()
def write_latents(
    pairs: Sequence[Pair],
    out: Path,
    model: Any,
    name: str,
    *,
    resolution: tuple[int, int],
    size: int,
    told: Told,
    progress: Callable[[int, int], None],
) -> int:
    """Latents of all pairs by a model's autoencoder, in files of `size` pairs; what is there already stays.

    resolution: height and width that pictures are squeezed to, as the published loader does it (Lanczos)
    name: of the model, for people
    """
    recipe = {"model": name, "size": list(resolution), "pairs": len(pairs), "mirrored": True, "files": []}
    if (out / INDEX).exists():
        known = json.loads(read_file(out / INDEX))
        if {**known, "files": []} != recipe:
            raise BadInput(f"{out} holds other latents (see {out / INDEX}). Choose another --out.")
    device, count = best_device(), 0
    autoencoder = model.autoencoder.to(device)
    files: list[str] = []
    for number, group in _groups(pairs, size):
        file = f"latents-{number:05d}"
        if not ((out / f"{file}.safetensors").exists() and (out / f"{file}.jsonl").exists()):
            rows: dict[str, list[Tensor]] = {"before": [], "mean": [], "logvar": []}
            lines: list[str] = []
            for pair in group:
                try:
                    both = [_sized(path, resolution) for path in (pair.before, pair.after)]
                except BadInput as error:
                    told(str(error))
                    continue
                whole = from_uint8(np.stack(both)).to(device)
                posterior = autoencoder.encode(torch.cat([whole, whole.flip(-1)]), return_dict=False)[0]
                mean, logvar = (part.half().cpu().contiguous() for part in (posterior.mean, posterior.logvar))
                rows["before"].append(mean[0::2])
                rows["mean"].append(mean[1::2])
                rows["logvar"].append(logvar[1::2])
                lines.append(json.dumps(pair.words, ensure_ascii=False) + "\n")
            if not lines:
                raise BadInput(f"All of the {len(group)} pairs from {group[0].before.parent} on are broken.")
            write_bytes(out / f"{file}.jsonl", "".join(lines).encode())
            write_bytes(
                out / f"{file}.safetensors", save_tensors({k: torch.stack(v).contiguous() for k, v in rows.items()})
            )
        files.append(file)
        count += len(group)
        progress(count, len(pairs))
        write_json(out / INDEX, {**recipe, "files": files})
    return count


def _sized(path: Path, resolution: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(decode.picture(read_file(path), str(path)))
    return np.array(picture.resize(resolution[::-1], Image.Resampling.LANCZOS))


def _groups(pairs: Sequence[Pair], size: int) -> Iterator[tuple[int, Sequence[Pair]]]:
    if size < 1:
        raise BadInput(f"{size} pairs in a shard: from 1.")
    return ((number, pairs[first : first + size]) for number, first in enumerate(range(0, len(pairs), size)))
