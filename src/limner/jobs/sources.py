"""What `--data` can name: a folder, zip or tar of a user's own, or data that limner makes as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin, get_type_hints

from limner.data.files import open_files
from limner.data.folder import Folder
from limner.data.kinds import Batch
from limner.data.latents import INDEX, LatentFolder
from limner.data.layouts import LAYOUTS, Listing
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.hub import load
from limner.system import System, config_from
from limner.train import Source

if TYPE_CHECKING:
    from limner.stickers.codes import Codec
    from limner.systems.text.patch_codes import PatchCodes

Told = Callable[[str], None]
Size = tuple[int, int]  # width, height


def open_source(
    data: str,
    system: type[System],
    seed: int,
    prepare: Mapping[str, Any] | None = None,
    told: Told = lambda complaint: None,
) -> Source:
    """The training data that `data` names, of a kind that the system trains on.

    prepare: changes to the system's own `preparation` of pictures; for folders only
    told: hears of every broken file
    """
    maker, colon, rest = data.partition(":")
    wanted = kinds_of(system.play, "batch")
    if not (colon and maker in MADE):
        return _folder(data, system, wanted, seed, prepare or {}, told)
    if prepare:
        raise BadInput(f"--prepare is for folders; --data {data} is made as it is needed.")
    source = MADE[maker](rest, seed, system.preparation.size() or (256, 256))
    given = (source.gives,) if hasattr(source, "gives") else kinds_of(source.take, "return")
    if not set(given) & set(wanted):
        raise BadInput(f"{system.__name__} trains on {_named(wanted)} data, and {data} is {_named(given)} data.")
    return source


def kinds_of(function: Callable[..., object], argument: str) -> tuple[type, ...]:
    """The kinds of data that the annotation of `argument` (or of what is returned) names."""
    hint = get_type_hints(function).get(argument)
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,) if isinstance(hint, type) else ()


def _named(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds) or "unknown"


def _folder(
    data: str, system: type[System], wanted: tuple[type, ...], seed: int, prepare: Mapping[str, Any], told: Told
) -> Folder | LatentFolder:
    if (Path(data) / INDEX).is_file():
        return _latent_folder(data, system, wanted, seed, prepare)
    if not Path(data).exists():
        made = "\n".join(f"  {name}:{make.__doc__}" for name, make in MADE.items())
        raise BadInput(f"--data {data}: there is no such folder, zip or tar. What limner makes itself:\n{made}")
    kind: type[Batch] | None = next((kind for kind in wanted if kind in LAYOUTS), None)
    if kind is None:
        raise BadInput(f"{system.__name__} trains on {_named(wanted)} data, which no folder holds: limner makes it.")
    preparation = config_from(Preparation, asdict(system.preparation) | dict(prepare), "--prepare")
    return Folder(Listing(data, open_files(Path(data))), kind, seed=seed, preparation=preparation, told=told)


def _latent_folder(
    data: str, system: type[System], wanted: tuple[type, ...], seed: int, prepare: Mapping[str, Any]
) -> LatentFolder:
    if LatentFolder.gives not in wanted:
        raise BadInput(f"{system.__name__} trains on {_named(wanted)} data, and {data} holds latents of edits.")
    if prepare:
        raise BadInput(f"--prepare is for pictures; {data} holds latents, whose size was chosen when they were made.")
    return LatentFolder(Path(data), seed=seed)


# What limner makes as it is needed: from what stands after the colon, the seed, and the width and height that the
# system is published for. The docstrings say in messages what stands after the colon.


def stickers(rest: str, seed: int, size: Size) -> Source:
    """KIND[:WIDTHxHEIGHT]: lines, labels, night, unpaired, labelled, captioned, edits, collages, readings, orders or
    retouches"""
    from limner.stickers.kinds import PAIRINGS, Kind, StickerData
    from limner.stickers.orders import Orders, Retouches
    from limner.stickers.source import Collages, Readings
    from limner.stickers.vocabulary import storybook_nouns

    what, _, asked = rest.partition(":")
    endless: dict[str, Callable[[int], Source]] = {"readings": Readings, "orders": Orders, "retouches": Retouches}
    if what in endless and not asked:
        return endless[what](seed)
    if what == "collages":
        return Collages(seed, *_size(asked or "256x144"))
    width, height = _size(asked) if asked else size
    if what in PAIRINGS:
        return StickerData("paired", width, height, seed, pairing=what)
    if what in ("unpaired", "labelled", "captioned", "edits"):
        nouns = storybook_nouns() if what == "labelled" else None  # so that class numbers fit into a byte
        return StickerData(cast(Kind, what), width, height, seed, nouns=nouns)
    raise BadInput(f"--data stickers:{rest}: write stickers:{stickers.__doc__}.")


def _size(text: str) -> Size:
    sides = [int(side) if side.isdecimal() else 0 for side in text.split("x")]
    if len(sides) != 2 or not all(32 <= side <= 4096 for side in sides) or not 2 / 3 <= sides[0] / sides[1] <= 4:
        raise BadInput(
            f"Sticker World scenes of {text} can't be made: write WIDTHxHEIGHT, such as 256x144; sides are 32 to 4096 "
            "pixels, and the width is two thirds to four times the height."
        )
    return sides[0], sides[1]


def codes(rest: str, seed: int, size: Size) -> Source:
    """CODEC, captions and picture codes by a vqgan or patch-codes model"""
    from limner.stickers.codes import Coded
    from limner.stickers.source import Crowds

    return Coded(_codec(rest), Crowds(seed))


def lineups(rest: str, seed: int, size: Size) -> Source:
    """CODEC, the same of scenes that are easily confused"""
    from limner.stickers.codes import Coded
    from limner.stickers.source import Lineups

    return Coded(_codec(rest), Lineups(seed))


def plans(rest: str, seed: int, size: Size) -> Source:
    """BOOK, plans of single layers of scenes and their codes by a book of layers"""
    from limner.stickers.codes import Plans

    return Plans(_book(rest), seed)


def written(rest: str, seed: int, size: Size) -> Source:
    """BOOK, captions and plans of scenes"""
    from limner.stickers.codes import Plans

    return Plans(_book(rest), seed, written=True)


def repairs(rest: str, seed: int, size: Size) -> Source:
    """BOOK, scenes painted with a book of layers, and the same five times as large"""
    from limner.stickers.repair import Repairs

    return Repairs(_book(rest), seed=seed)


def latents(rest: str, seed: int, size: Size) -> Source:
    """MODEL, captions and the latents of a kl-autoencoder"""
    from limner.stickers.codes import Encoded
    from limner.systems.diffusion.autoencoder import KLAutoencoder

    autoencoder = load(rest)
    if not isinstance(autoencoder, KLAutoencoder):
        raise BadInput(f"{rest} is no kl-autoencoder, but a {type(autoencoder).__name__}.")
    return Encoded(autoencoder, seed)


def _codec(path: str) -> Codec:
    """What turns whole pictures into codes."""
    from limner.systems.text.patch_codes import PatchCodes
    from limner.systems.text.vqgan import VQGAN

    codec = load(path)
    if isinstance(codec, PatchCodes) and codec.config.channels != 3:
        raise BadInput(f"{path} is a book of layers; whole pictures need one made without --layers.")
    if not isinstance(codec, VQGAN | PatchCodes):
        raise BadInput(f"{path} is no codec of pictures, but a {type(codec).__name__}.")
    return codec


def _book(path: str) -> PatchCodes:
    """A book of layers."""
    from limner.systems.text.patch_codes import PatchCodes

    book = load(path)
    if not isinstance(book, PatchCodes) or book.config.channels != 4:
        raise BadInput(f"{path} is no book of layers. `limner stickers book --layers -o BOOK` makes one.")
    return book


MADE: dict[str, Callable[[str, int, Size], Source]] = {
    make.__name__: make for make in (stickers, codes, lineups, plans, written, repairs, latents)
}
"""The word before the colon of `--data` -> what opens the rest."""
