"""What `limner doctor` tells: what is here, what is missing and for what."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from limner import __version__

EXTRAS = {
    "film": ("narrated films", {"av": "av", "uharfbuzz": "uharfbuzz", "budoux": "budoux",
             "espeakng_loader": "espeakng-loader", "httpx": "httpx", "pydantic": "pydantic",
             "fontpkg_noto_sans": "fontpkg-noto-sans"}),
    "diffusion": ("Stable Diffusion folders and files", {"diffusers": "diffusers", "transformers": "transformers"}),
    "edits": ("teaching language models to write edits", {"peft": "peft", "transformers": "transformers"}),
    "scale": ("spreading work over a cluster", {"ray": "ray"}),
    "stickers": ("drawing the Sticker World", {"resvg_py": "resvg-py"}),
    "hub": ("models of the hub", {"huggingface_hub": "huggingface_hub"}),
    "provenance": ("content credentials", {"c2pa": "c2pa-python"}),
}  # fmt: skip


def _installed(module: str, package: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        try:
            return version(package)  # a package of data has no module
        except PackageNotFoundError:
            return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "installed"


def examine() -> Iterator[str]:
    """Line by line."""
    import torch

    from limner.hub import SHIPPED
    from limner.stickers.art import art_folder, limner_home
    from limner.train import native_bf16

    yield f"limner {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield f"torch {torch.__version__}, numpy {version('numpy')}, pillow {version('pillow')}"
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(i).total_memory / 2**30
            yield f"device: {torch.cuda.get_device_name(i)}, {memory:.0f} GiB"
    else:
        yield f"device: CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    yield f"bfloat16: {'native' if native_bf16() else 'emulated here, so training uses float32'}"
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield f"disk: {free:.1f} GiB free here; limner's cache is {limner_home()}"
    yield ""
    for extra, (purpose, packages) in EXTRAS.items():
        found = {package: _installed(module, package) for module, package in packages.items()}
        missing = [package for package, seen in found.items() if seen is None]
        if missing:
            yield f"[ ] {extra}: {purpose}. Missing: {', '.join(missing)}. Install: pip install 'limner[{extra}]'"
        else:
            yield f"[x] {extra}: {purpose} ({', '.join(f'{p} {v}' for p, v in found.items())})"
    shipped = sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
    yield f"[{'x' if shipped else ' '}] shipped models: {', '.join(shipped) or 'none in this installation'}"
    art = art_folder()
    yield f"[x] sticker art in {art}" if art.is_dir() else "[ ] sticker art: get it with limner stickers fetch"
