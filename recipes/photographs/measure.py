"""Measures style transfer and inpainting on the photographs: measure.py RUNS; writes docs/results/photographs.md."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from photographs import HELD_OUT, LARGE, PHOTOGRAPHS, SMALL
from scipy.ndimage import distance_transform_edt
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

from limner import load
from limner.data.strokes import strokes
from limner.metrics import Result
from limner.metrics.similarity import SSIM
from limner.provenance import encode_picture
from limner.rng import numpy_rng
from limner.runs import Run, write_bytes
from limner.system import System, from_uint8, to_uint8
from limner.systems.translation.adain import LAYERS, AdaIN, Encoder, recoloured, statistics
from limner.systems.translation.rfr_inpainting import RFRInpainting

MASKS, TRAINED, SQUARE = 10, 64, 20  # of each kind; pixels a side of a training crop and of a square hole
SHOWN = ("chelsea", "astronaut"), ("china", "flower", "hubble", "coffee")  # contents and styles of the sheet
PICTURES, PAGE = Path("docs/images/photographs"), Path("docs/results/photographs.md")


# Style


def style_rows(model: AdaIN) -> Iterator[str]:
    """How near the style a picture comes, and how much of the content is left, over pairs of photographs."""
    torch.manual_seed(1)
    other = Encoder(width=model.config.width)
    pictures = {name: photograph.at(SMALL) for name, photograph in PHOTOGRAPHS.items()}
    told = {name: {which: seen(encoder, picture) for which, encoder in (("own", model.encoder), ("other", other))}
            for name, picture in pictures.items()}  # fmt: skip
    ways: dict[str, Callable[[str, str], np.ndarray]] = {
        "*the content as it is*": lambda content, style: pictures[content],
        "*its colours moved to the style's*": lambda content, style: moved(pictures[content], pictures[style]),
        "AdaIN": lambda content, style: model.stylise(pictures[content][None], [pictures[style]])[0],
    }
    pairs = [(content, style) for content in pictures for style in pictures if content != style]
    for held_out in (False, True):
        chosen = [pair for pair in pairs if (HELD_OUT in pair) == held_out]
        for way, make in ways.items():
            each: dict[str, list[float]] = {"own": [], "other": [], "ssim": []}
            for content, style in chosen:
                made = make(content, style)
                for which, encoder in (("own", model.encoder), ("other", other)):
                    each[which].append(apart(seen(encoder, made), told[style][which]))
                each["ssim"].append(float(SSIM("wang").each(made[None], pictures[content][None])[0]))
            cells = [f"{np.mean(values):.3g} ± {np.std(values) / len(values) ** 0.5:.2g}" for values in each.values()]
            yield f"| {way} | {'with the held-out one' if held_out else 'seen'} ({len(chosen)}) | {' | '.join(cells)} |"


@torch.inference_mode()
def seen(encoder: Encoder, picture: np.ndarray) -> list[torch.Tensor]:
    """The statistics of each layer, which are the style."""
    return [statistics(found) for found in encoder((from_uint8(picture[None]) + 1) / 2, LAYERS)]


def apart(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """Of two styles: relative difference, mean over the layers."""
    return float(np.mean([float((a - b).norm() / b.norm()) for a, b in zip(one, other, strict=True)]))


def moved(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """The content with the mean and covariance of the style's colours."""
    shown: np.ndarray = to_uint8(recoloured(from_uint8(content[None]), from_uint8(style[None])))
    return shown[0]


def style_sheet(model: AdaIN) -> np.ndarray:
    """The styles above, each content at the left, and every content in every style."""
    contents, styles = ([cut(PHOTOGRAPHS[name].at(LARGE)) for name in names] for names in SHOWN)
    rows = [[np.full_like(contents[0], 255), *styles]]
    rows += [[one, *(model.stylise(one[None], [style])[0] for style in styles)] for one in contents]
    return np.concatenate([np.concatenate(row, 1) for row in rows])


def cut(picture: np.ndarray) -> np.ndarray:
    """The middle square, of 192 pixels."""
    y, x = ((side - 192) // 2 for side in picture.shape[:2])
    return picture[y : y + 192, x : x + 192]


# Holes


def stroke_mask(number: int, height: int, width: int) -> np.ndarray:
    """Strokes as in training, whose pictures are smaller than this one: side by side. At most half is covered."""
    chance, mask = numpy_rng(0, "test strokes", number), np.ones((height, width), bool)
    for y in range(0, height, TRAINED):
        for x in range(0, width, TRAINED):
            part = strokes(TRAINED, TRAINED, chance)
            while part.mean() > 0.5:
                part = strokes(TRAINED, TRAINED, chance)
            mask[y : y + TRAINED, x : x + TRAINED] = part[: height - y, : width - x]
    return mask


def square_mask(number: int, height: int, width: int) -> np.ndarray:
    """Six squares that don't meet."""
    chance, mask = numpy_rng(0, "test squares", number), np.zeros((height, width), bool)
    while mask.sum() < 6 * SQUARE**2:
        y, x = (int(chance.integers(side - SQUARE)) for side in (height, width))
        if not mask[max(0, y - 4) : y + SQUARE + 4, max(0, x - 4) : x + SQUARE + 4].any():
            mask[y : y + SQUARE, x : x + SQUARE] = True
    return mask


def filled_ways(model: RFRInpainting) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    def mean(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask[..., None], picture[~mask].mean(0).round().astype(np.uint8), picture)

    def nearest(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        rows, columns = distance_transform_edt(mask, return_distances=False, return_indices=True)
        return picture[rows, columns]

    def biharmonic(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        blank = np.where(mask[..., None], 0, picture) / 255
        # In regions: the same numbers; as a whole, scikit-image 0.26 fails on some masks.
        filled = inpaint_biharmonic(blank, mask, channel_axis=-1, split_into_regions=True)
        return (filled.clip(0, 1) * 255).round().astype(np.uint8)

    return {
        "*mean colour*": mean,
        "*nearest pixel*": nearest,
        "*biharmonic (scikit-image)*": biharmonic,
        "RFR": lambda picture, mask: model.translate(picture[None], mask=mask[None])[0],
    }


def inside(made: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and SSIM, of what is in the hole alone."""
    error = np.square(made[mask].astype(float) - truth[mask]).mean()
    _, similar = structural_similarity(
        made, truth, channel_axis=2, full=True, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=255,
    )  # fmt: skip
    return float(10 * np.log10(255**2 / max(error, 1e-6))), float(similar[mask].mean())


def hole_rows(model: RFRInpainting) -> tuple[list[str], str, np.ndarray]:
    """A table's rows, what they say in words, and a sheet: the holes, what three ways make of them, and the truth."""
    truth, rows, said, sheet = PHOTOGRAPHS[HELD_OUT].at(SMALL), [], [], []
    ways = filled_ways(model)
    for kind, draw in (("strokes", stroke_mask), ("squares", square_mask)):
        masks = [draw(number, *truth.shape[:2]) for number in range(MASKS)]
        reached: dict[str, float] = {}
        for way, fill in ways.items():
            found = np.array([inside(fill(truth, mask), truth, mask) for mask in masks])
            decibels, similar = (
                Result(float(each.mean()), MASKS, "in the hole", float(each.std(ddof=1) / MASKS**0.5))
                for each in found.T
            )
            reached[way] = decibels.value
            rows.append(
                f"| {kind}, {np.mean(masks):.0%} covered | {way} | {decibels.value:.2f} ± {decibels.error:.2g} | "
                f"{similar.value:.3f} ± {similar.error:.2g} |"
            )
        ours = reached.pop("RFR")
        for words, passed in (("passes", True), ("stays below", False)):
            names = [way.strip("*") for way, value in reached.items() if (ours > value) == passed]
            if names:
                said.append(f"In {kind} it {words} {', '.join(names)}.")
        mask = masks[0]
        shown = [fill(truth, mask) for way, fill in ways.items() if "mean" not in way]
        sheet.append(np.concatenate([np.where(mask[..., None], 0, truth).astype(np.uint8), *shown, truth], 1))
    return rows, " ".join(said), np.concatenate(sheet)


# The page


def trained(run: Path) -> str:
    newest, _ = Run(run).newest()
    assert newest is not None
    options = newest.config["options"]
    return f"{newest.state['step']:,} steps of {options['batch']}"


def save(picture: np.ndarray, name: str, what: str) -> str:
    """A picture of the page, marked as what it is; returns its Markdown."""
    content = encode_picture(
        picture, ".jpg", source_type="compositeWithTrainedAlgorithmicMedia", description=what, quality=85
    )
    PICTURES.mkdir(parents=True, exist_ok=True)
    write_bytes(PICTURES / f"{name}.jpg", content)
    return f"![{what}](../images/photographs/{name}.jpg)"


def opened(path: Path, kind: type[System]) -> System:
    model = load(path)
    assert isinstance(model, kind)
    return model


def main() -> None:
    warnings.simplefilter("ignore")
    runs = Path(sys.argv[1])
    adain, rfr = opened(runs / "adain", AdaIN), opened(runs / "rfr", RFRInpainting)
    assert isinstance(adain, AdaIN) and isinstance(rfr, RFRInpainting)
    holes, said, filled = hole_rows(rfr)
    credits = [f"| {name} | {each.by} | {each.licence} | <{each.address}> |" for name, each in PHOTOGRAPHS.items()]
    page = f"""# Photographs, measured

Made by `bash recipes/photographs/make.sh`: AdaIN and RFR trained from nothing on six photographs that scikit-image
and scikit-learn bring along, and measured with a seventh, {HELD_OUT}, that neither has seen. Six photographs are next
to nothing, and minutes on one CPU core are, too: the page shows that the systems work on photographs, and not how
good the published weights are.

## Style transfer

[AdaIN](../systems/adain.md) needs a VGG that knows ImageNet, which limner doesn't ship. Its stand-in here is a VGG-19
of a quarter of its width that was trained as an autoencoder on the photographs ({trained(runs / "encoder")}); then
AdaIN's decoder was trained ({trained(runs / "adain")}).

{save(style_sheet(adain), "styles", "contents at the left, styles above, and each content in each style")}

Above the styles, at the left the contents ({HELD_OUT} was never seen). *Style apart* is the relative difference of
the means and deviations of four layers, of AdaIN's own encoder and of one with other, random weights: less is nearer.
*Content* is SSIM (Wang et al.) with the content: more is more of it.

| | pairs | style apart, own encoder | style apart, random encoder | content |
|---|---|---|---|---|
{chr(10).join(style_rows(adain))}

## Inpainting

[RFR](../systems/rfr-inpainting.md) at a quarter of its width, with four iterations and windows of 5, without its
perceptual losses, trained on crops of {TRAINED} pixels with random strokes ({trained(runs / "rfr")}). {HELD_OUT} has
{SMALL} pixels on its shorter side; {MASKS} masks of each kind, PSNR (dB) and SSIM (Gaussian window) inside the holes
alone, ± standard error. In italics are ways that need no training. {said} Published trainings take 400,000 steps.

{save(filled, "holes", "holes, the nearest pixel, biharmonic, RFR, and the truth")}

From the left: the holes, the nearest pixel, biharmonic, RFR, the truth.

| holes | | PSNR | SSIM |
|---|---|---|---|
{chr(10).join(holes)}

## Photographs

Cropped, scaled, restyled and partly painted over here. The packages say of them:

| | by | licence | |
|---|---|---|---|
{chr(10).join(credits)}

scikit-learn's note names danielbuechele for the flower, too, and links to vultilion's page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)


main()
