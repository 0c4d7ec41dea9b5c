"""The kinds of data that systems train on: each a frozen dataclass of tensors, one batch at a time.

Pictures are float tensors (B, 3, H, W) in [-1, 1], RGB. Words stay strings; a system tokenises its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

B = TypeVar("B", bound="Batch")


@dataclass(frozen=True)
class Batch:
    """What all kinds can do."""

    def to(self: B, device: torch.device | str) -> B:
        """The same batch with its tensors on a device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = value.to(device) if hasattr(value, "to") else value
        return type(self)(**moved)

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))


@dataclass(frozen=True)
class Pictures(Batch):
    """Pictures, and nothing said about them."""

    pictures: torch.Tensor  # (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True)
class Captioned(Batch):
    """Pictures with one caption each."""

    pictures: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Latents(Batch):
    """Captioned pictures that an autoencoder has encoded beforehand: a normal distribution for every cell."""

    mean: torch.Tensor  # (B, C, h, w), unscaled
    std: torch.Tensor  # (B, C, h, w)
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Edits(Batch):
    """A picture, an instruction in words, and the picture that obeys it."""

    before: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    instructions: tuple[str, ...]
    after: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    captions_before: tuple[str, ...]
    captions_after: tuple[str, ...]


@dataclass(frozen=True)
class EditLatents(Batch):
    """Edits whose pictures an autoencoder has encoded beforehand: of the one before the mode, of the one after a normal
    distribution for every cell."""

    before: torch.Tensor  # (B, C, h, w), unscaled, and so are the next
    instructions: tuple[str, ...]
    mean: torch.Tensor  # (B, C, h, w)
    std: torch.Tensor  # (B, C, h, w)


@dataclass(frozen=True)
class Paired(Batch):
    """A source picture and the target that belongs to it, pixel by pixel."""

    source: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    target: torch.Tensor  # (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True)
class Unpaired(Batch):
    """Pictures of two domains that do not belong together."""

    a: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    b: torch.Tensor  # (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True)
class Transferred(Batch):
    """Pictures of two domains that do not belong together, and what those of the first show: labels to carry over."""

    a: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    b: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    classes: torch.Tensor  # (B,) int64, of `a`


@dataclass(frozen=True)
class Labelled(Batch):
    """Pictures with a class and an instance number for every pixel."""

    pictures: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    classes: torch.Tensor  # (B, H, W) int64
    instances: torch.Tensor  # (B, H, W) int64; 0 is the background


@dataclass(frozen=True)
class Masked(Batch):
    """Pictures, and where something is to be filled in."""

    pictures: torch.Tensor  # (B, 3, H, W) in [-1, 1], whole
    masks: torch.Tensor  # (B, 1, H, W) bool; True: to be filled in


@dataclass(frozen=True)
class Posed(Batch):
    """Two pictures of one person, and where the person's joints are in each: x and y in pixels, NaN where unseen."""

    source: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    source_joints: torch.Tensor  # (B, 18, 2), in the order of `limner.data.joints`
    target: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    target_joints: torch.Tensor  # (B, 18, 2)


@dataclass(frozen=True)
class Retouched(Batch):
    """Pictures, one change in a region of each, and the pictures afterwards, which are the same elsewhere."""

    before: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    regions: torch.Tensor  # (B, 1, H, W) bool
    nouns: torch.Tensor  # (B,) int64: what in the region changes, counted from 1; 0 for all of it
    changes: torch.Tensor  # (B,) int64: into what
    after: torch.Tensor  # (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True)
class Read(Batch):
    """Pictures with what is to be read in them, as numbers of a vocabulary."""

    pictures: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    things: torch.Tensor  # (B, K, 3) int64: noun, row and column of the centre's cell; -1 where there are fewer than K
    colours: torch.Tensor  # (B, K) int64: what each thing is painted in, counted from 1; 0 for as it is by nature
    sides: torch.Tensor  # (B, K) int64: of each thing's square, in cells
    places: torch.Tensor  # (B,) int64, and so are the next
    times: torch.Tensor
    seasons: torch.Tensor
    styles: torch.Tensor
    weathers: torch.Tensor


@dataclass(frozen=True)
class Planned(Batch):
    """Plans of what stands where, and the picture codes that show it, as tokens."""

    plans: torch.Tensor  # (B, 2 + 3 things) int64
    codes: torch.Tensor  # (B, rows * columns) int64
