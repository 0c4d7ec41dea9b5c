"""What discriminators and generators are told: the adversarial objectives, as functions of a discriminator's scores.

`scores` are raw outputs of any shape (no sigmoid), for a batch of pictures; the result is a scalar, the mean over all
of them. A discriminator that gives several maps (scales, layers) is scored map by map by its caller, who knows whether
the paper sums or averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(scores: Tensor, real: bool) -> Tensor:
    """The original objective in its non-saturating form (Goodfellow et al., 2014): how far from being called `real`."""
    return F.softplus(-scores if real else scores).mean()


def least_squares(scores: Tensor, real: bool) -> Tensor:
    """Squared distance to 1 (`real`) or 0 (Mao et al., 2017, eq. 9)."""
    return (scores - float(real)).square().mean()


def hinge(scores: Tensor, real: bool) -> Tensor:
    """The discriminator's hinge: nothing to say once real scores pass 1 and fake ones -1 (Lim and Ye, 2017)."""
    return F.relu(1 - scores if real else 1 + scores).mean()


def critic(scores: Tensor, real: bool) -> Tensor:
    """The linear score of a Wasserstein critic, and of a generator against a hinge discriminator (`real=True`)."""
    return -scores.mean() if real else scores.mean()


def feature_matching(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """How differently a multi-scale discriminator sees fakes and reals inside (pix2pixHD, eq. 4): the mean absolute
    difference of each layer, summed over the layers, averaged over the scales. `fake` and `real` are the layers'
    outputs, scale by scale, without the scores; the real ones are what is aimed at and take no gradient."""
    terms = [
        F.l1_loss(a, b.detach()) for one, other in zip(fake, real, strict=True) for a, b in zip(one, other, strict=True)
    ]
    return torch.stack(terms).sum() / len(fake)


def mode_seeking(pictures: Tensor, others: Tensor, codes: Tensor, other_codes: Tensor) -> Tensor:
    """How alike the pictures of different latent codes are (MSGAN, eq. 4, as its reciprocal, to be minimised): the
    codes' mean absolute difference through the pictures', one ratio for the whole batch."""
    return 1 / (F.l1_loss(pictures, others) / F.l1_loss(codes, other_codes) + 1e-5)
