"""storybook-edit: the storybook's pictures, changed by words. It plans the edit, as the storybook plans a scene.

Eyes (a sticker reader of its own) tell what the picture shows; a small transformer of DALL-E mini's kind reads that and
the instruction, and writes a program of a few steps; a retoucher takes things away, paints them and changes the light,
the season or the weather; what is moved is lifted off and laid down elsewhere; what is new is painted by the storybook.
What no step touches keeps its pixels to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import BadInput, CannotDo
from limner.system import Drawing, System, config_from, from_uint8, to_uint8
from limner.systems.reader import Reading, StickerReader
from limner.systems.text.dalle_mini import DalleMini, Tokeniser
from limner.systems.text.patch_codes import over
from limner.systems.text.retoucher import Retoucher, around
from limner.systems.text.scene_edits import GONE, PUT, Piece, Scene, Script, Step
from limner.systems.text.storybook import Storybook, one_thread
from limner.systems.text.words import UNKNOWN

PLAIN = ("summer", "clear", "fluent")
"""How the storybook paints every place."""


class StorybookEdit(System):
    """Edits pictures by instructions. Pictures of any size are seen, and changed, at 256 x 144."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        script: Script
        eyes: StickerReader.Config
        planner: DalleMini.Config
        retoucher: Retoucher.Config
        cell: int = 8  # pixels
        top_k: int = 8
        temperature: float = 0.4

        def __post_init__(self) -> None:
            parts: dict[str, type] = {
                "script": Script,
                "eyes": StickerReader.Config,
                "planner": DalleMini.Config,
                "retoucher": Retoucher.Config,
            }
            for name, kind in parts.items():
                if isinstance(value := getattr(self, name), Mapping):  # read from JSON
                    object.__setattr__(self, name, config_from(kind, value, name))

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.eyes = StickerReader(config.eyes)
        self.planner = DalleMini(config.planner)
        self.retoucher = Retoucher(config.retoucher)
        self.players = {}
        self._storybook: tuple[Storybook, ...] = ()  # no part of the weights: it ships by itself

    def lend(self, storybook: Storybook) -> None:
        """Give the editor the storybook that paints what is new."""
        self._storybook = (storybook,)

    @property
    def storybook(self) -> Storybook:
        if not self._storybook:
            raise CannotDo("This editor has no storybook to paint with: load it with limner.load, or `lend` it one.")
        return self._storybook[0]

    @property
    def tokenise(self) -> Tokeniser:
        assert self.planner.tokenise is not None, "a planner's config holds its words"
        return self.planner.tokenise

    @torch.inference_mode()
    def edit(self, picture: np.ndarray, words: str, *, count: int = 1, seed: int = 0) -> Drawing:
        """`count` pictures that obey the words, likeliest program first: uint8 (H, W, 3) -> (count, H, W, 3)."""
        rows, columns = self.config.script.grid
        cell = self.config.cell
        large = from_uint8(picture[None])
        small = F.interpolate(large, size=(rows * cell, columns * cell), mode="area")
        scene = self.see(small)
        if not bool((self.tokenise([words]) > UNKNOWN).any()):
            raise BadInput(
                f"storybook-edit knows none of the words in {words!r}. It adds, removes, replaces, moves, swaps, "
                'counts, paints and resizes things ("make the boat red"), and changes the place, the time, the season, '
                "the weather and the style of a picture."
            )
        text = self.tokenise([self.config.script.ask(words, scene)]).expand(count, -1)
        seeds = list(range(seed, seed + count))
        with one_thread():
            rows_of_tokens = self.planner.sample(
                text, seeds, guidance=1.0, top_k=self.config.top_k, temperature=self.config.temperature
            )
            scores = self.planner.likelihood(text, rows_of_tokens)
        programs = [self.config.script.read(row.tolist(), scene, words) for row in rows_of_tokens]
        if not any(programs):
            shown = ", ".join(dict.fromkeys(piece.noun for piece in scene.things)) or "nothing that it knows"
            raise BadInput(f"storybook-edit doesn't see what {words!r} asks of this picture. It sees: {shown}.")
        order = sorted(range(count), key=lambda i: -scores[i])
        edited = []
        for i in order:
            after, touched = self.perform(small, scene, programs[i])
            edited.append(self._enlarged(after, touched, large))
        return Drawing(
            to_uint8(torch.cat(edited)),
            tuple(scores[i] for i in order),
            tuple(seeds[i] for i in order),
            self.tokenise.unknown(words),
        )

    def see(self, picture: Tensor) -> Scene:
        """What a picture (1, 3, 144, 256) in [-1, 1] shows."""
        return told(self.eyes.read(to_uint8(picture))[0], self.config.script)

    # Performing a program

    def perform(self, picture: Tensor, scene: Scene, steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
        """A program's picture (1, 3, 144, 256), and where it is not the old one to the bit (1, 1, 144, 256)."""
        before, touched = picture, torch.zeros_like(picture[:, :1], dtype=torch.bool)
        after = self.config.script.followed(scene, steps)
        gone = [step.slot for step in steps if step.change == GONE]
        layers = {
            step.slot: self._lifted(before, scene.things[step.slot - 1])
            for step in steps
            if step.change == PUT and step.slot
        }
        if after.place != scene.place:
            picture, new = self._elsewhere(before, scene, after, gone)
            touched |= new
        for step in steps:
            if step.change in (PUT, after.place) or (step.change == GONE and after.place != scene.place):
                continue
            picture, new = self._retouched(picture, scene.things[step.slot - 1] if step.slot else None, step.change)
            touched |= new
        staying = sorted(
            (thing for slot, thing in enumerate(scene.things, 1) if slot not in gone), key=lambda thing: thing.bottom
        )
        put = [(step.slot, step.piece) for step in steps if step.piece is not None]
        for slot, piece in sorted(put, key=lambda each: each[1].bottom):
            if slot:
                layer = _shifted(layers[slot], scene.things[slot - 1], piece, self.config.cell)
            else:
                layer = self._painted(after, piece)
            picture, new = over(layer, picture), layer[:, 3:] > -1 + 1 / 127.5
            if piece.colour and not slot:
                picture, dyed = self._retouched(picture, piece, piece.colour)
                new = new | dyed
            for nearer in staying:
                if nearer.bottom > piece.bottom and nearer.meets(piece):
                    picture = over(self._lifted(before, nearer), picture)
            touched |= new
        return picture, touched

    def _retouched(self, picture: Tensor, piece: Piece | None, change: str) -> tuple[Tensor, Tensor]:
        config = self.config.retoucher
        if change not in config.changes:
            raise CannotDo(
                f"This editor's retoucher can't make anything {change}: it knows {', '.join(config.changes)}."
            )
        return self.retoucher.retouch(
            picture,
            self._region(piece, picture),
            torch.tensor([1 + config.nouns.index(piece.noun) if piece else 0], device=picture.device),
            torch.tensor([config.changes.index(change)], device=picture.device),
        )

    def _region(self, piece: Piece | None, picture: Tensor) -> Tensor:
        """Where a thing, its shadow and its ripples are, or everything: (1, 1, H, W) bool."""
        height, width = picture.shape[-2:]
        if piece is None:
            return torch.ones_like(picture[:, :1], dtype=torch.bool)
        left, bottom, side = (self.config.cell * at for at in (piece.left, piece.bottom, piece.side))
        return around(left, bottom, side, (height, width))[None].to(picture.device)

    def _lifted(self, picture: Tensor, piece: Piece) -> Tensor:
        """A thing as a layer (1, 4, H, W): what the retoucher would put something else in the place of."""
        _, covered = self._retouched(picture, piece, GONE)
        alpha = covered.to(picture)
        return torch.cat([alpha * (picture + 1) - 1, 2 * alpha - 1], 1)

    def _painted(self, scene: Scene, piece: Piece) -> Tensor:
        """A new thing as the storybook paints it in this place and time: a layer (1, 4, H, W)."""
        storybook, painter = self.storybook, self.storybook.painter
        if piece.noun not in painter.config.nouns:
            raise CannotDo(f"The storybook can't paint {piece.noun}.")
        own = int(painter.sides[painter.config.nouns.index(piece.noun)])
        coarse = storybook.book.factor // self.config.cell  # the painter's cells are so many of ours
        rows, columns = painter.config.grid
        left = min(max(0, piece.left // coarse), columns - own)
        bottom = min(max(own, -(-piece.bottom // coarse)), rows)
        plan = painter.tokens(scene.place, scene.time, [(piece.noun, left, bottom)])
        layer = storybook.book.decode(painter.paint(torch.tensor([plan], device=painter.sides.device)))
        here = replace(piece, side=own * coarse, left=left * coarse, bottom=bottom * coarse)
        return _shifted(layer, here, piece, self.config.cell)

    def _elsewhere(self, picture: Tensor, scene: Scene, after: Scene, gone: Sequence[int]) -> tuple[Tensor, Tensor]:
        """All of the scene's things, but those that go, in the new scene's place."""
        storybook = self.storybook
        empty = storybook.painter.tokens(after.place, after.time, [])
        found = storybook.paint(torch.tensor([empty], device=picture.device))
        for look in (scene.season, scene.weather, scene.style):
            if look not in PLAIN:
                found, _ = self._retouched(found, None, look)
        staying = [piece for slot, piece in enumerate(scene.things, 1) if slot not in gone]
        for piece in sorted(staying, key=lambda piece: piece.bottom):
            found = over(self._lifted(picture, piece), found)
        return found, torch.ones_like(picture[:, :1], dtype=torch.bool)

    def _enlarged(self, after: Tensor, touched: Tensor, large: Tensor) -> Tensor:
        """What is new in a small picture, at the size of the large one; everything else is the large one's own."""
        size = tuple(large.shape[-2:])
        if size == tuple(after.shape[-2:]):
            return torch.where(touched, after, large)
        new = F.interpolate(touched.to(after), size=size, mode="bilinear", align_corners=False) > 0.5
        crisp = self.storybook.upscaler(after).clamp(-1, 1)
        smaller = size[0] <= crisp.shape[-2] and size[1] <= crisp.shape[-1]
        return torch.where(new, F.interpolate(crisp, size=size, mode="area" if smaller else "bilinear"), large)


def told(reading: Reading, script: Script) -> Scene:
    """What eyes see, as the planner is told it: the surest things first."""
    rows, columns = script.grid
    pieces = []
    for seen in reading.things[: script.slots]:
        left, bottom = round(seen.x * columns - seen.side / 2), round(seen.y * rows + seen.side / 2)
        inside = min(max(left, 0), columns - 1), min(max(bottom, 0), rows)
        pieces.append(Piece(seen.noun, seen.colour, seen.side, *inside))
    return Scene(reading.place, reading.time, reading.season, reading.weather, reading.style, tuple(pieces))


def _shifted(layer: Tensor, here: Piece, there: Piece, cell: int) -> Tensor:
    """A layer (1, 4, H, W) moved and scaled so that what fills one square fills the other."""
    height, width = layer.shape[-2:]
    scale = here.side / there.side
    # From the new picture to the old: x_old = scale (x_new - left_new) + left_old, in cells; grids run from -1 to 1.
    theta = layer.new_tensor(
        [
            [scale, 0, scale - 1 + 2 * cell / width * (here.left - scale * there.left)],
            [0, scale, scale - 1 + 2 * cell / height * (here.bottom - scale * there.bottom)],
        ]
    )
    grid = F.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    return F.grid_sample(layer + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1
