"""DRIT++'s parity records: both translators, the discriminators, and a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import Given
from limner.parity.record import Network, Record
from limner.published import drit as published
from limner.published.keys import fill, under
from limner.systems.translation.drit import DRIT, ContentDiscriminator, Discriminator, Domain, ResidualBlock

Outputs = Mapping[str, Any]


@torch.no_grad()
def translator(record: Record) -> Outputs:
    where = str(record.path)
    state = published.ours(record.state(), where)
    model = DRIT(
        DRIT.Config(
            width=len(state["a.content_encoder.0.conv.weight"]),
            attribute="concat" if record.options["concat"] else "film",
            style_width=record.options["nz"],
        )
    )
    judges = {name: value for name, value in model.state_dict().items() if "judge" in name}
    fill(model, {**judges, **state}, where)
    a, b, z = record.input("a"), record.input("b"), record.input("z")
    content_a, content_b = model.content(model.a, a), model.content(model.b, b)
    (mean_a, log_variance_a), (mean_b, log_variance_b) = model.a.attribute_encoder(a), model.b.attribute_encoder(b)
    return {
        "content_a": content_a,
        "content_b": content_b,
        **({"attr_a": mean_a, "attr_b": mean_b} if log_variance_a is None else {}),
        **{"mu_a": mean_a, "logvar_a": log_variance_a, "mu_b": mean_b, "logvar_b": log_variance_b},
        "a2b_random": model.paint(model.b, content_a, z),
        "b2a_random": model.paint(model.a, content_b, z),
        "a2b_attr_of_b": model.paint(model.b, content_a, mean_b),
        "n_params": count(value for name, value in model.named_parameters() if "judge" not in name),
        "n_params_full": full_sizes(),
    }


def full_sizes() -> dict[str, int]:
    """Of the published networks, both domains together."""
    with torch.device("meta"):
        concat, film = Domain(DRIT.Config()), Domain(DRIT.Config(attribute="film"))
        block, judge, single, content_judge = (
            ResidualBlock(256), Discriminator(64, 3), Discriminator(64, 1), ContentDiscriminator(256, 3)
        )  # fmt: skip

    def size(network: nn.Module) -> int:
        return count(network.parameters())

    return {
        "E_content": 2 * size(concat.content_encoder) + size(block),
        "E_attr_concat": 2 * size(concat.attribute_encoder),
        "E_attr": 2 * size(film.attribute_encoder),
        "G_concat": 2 * size(concat.decoder) + size(block),
        "G_film": 2 * size(film.decoder),
        "MultiScaleDis": size(judge),
        "Dis": size(single),
        "Dis_content": size(content_judge),
    }


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    """As `disA` of a checkpoint."""
    where = str(record.path)
    state = under("judge_a.", published.ours({f"disA.{n}": v for n, v in record.state().items()}, where))
    first = state["scales.0.layers.0.weight"]
    scales = {name.split(".")[1] for name in state}
    model = Discriminator(len(first), len(scales))
    fill(model, state, where)
    scores = model(record.input("xd"))
    if record.network == "d":
        scores = [each.flatten() for each in scores]
    return {f"out{i}": each for i, each in enumerate(scores)} | {"n_params": count(model.parameters())}


@torch.no_grad()
def content_discriminator(record: Record) -> Outputs:
    where = str(record.path)
    state = under("content_judge.", published.ours({f"disContent.{n}": v for n, v in record.state().items()}, where))
    layers = {name.split(".")[1] for name in state}
    model = ContentDiscriminator(len(state["layers.0.weight"]), len(layers) - 2)
    fill(model, state, where)
    return {"out0": model(record.input("xd")).flatten(), "n_params": count(model.parameters())}


def losses(record: Record) -> Outputs:
    """A full step, in which nothing is stepped."""
    options, where = record.options, str(record.path)
    if options["dis_norm"] != "None" or options["dis_spectral_norm"]:
        raise BadInput(f"{where}: discriminators with norms were never published, and limner builds none.")
    seeking = 0.0 if options["no_ms"] else 1.0
    model = published.convert(record.state(), where, {"mode_seeking": seeking, "content_steps": 1})
    assert isinstance(model, DRIT)
    model.train()
    names = ["content a", "content b", "attribute a", "attribute b", "random", "random, the other"]
    names += ["content again a", "content again b", "attribute again a", "attribute again b"]
    if model.config.attribute == "film":
        names = [name for name in names if not name.startswith("attribute")]
    if not seeking:
        names.remove("random, the other")
    draws = {name: record.input(f"noise{i}", "x") for i, name in enumerate(names)}

    game = model.play(Unpaired(record.input("A", "x"), record.input("B", "x")), Given(draws))
    _, judging = next(game)
    gradients = torch.autograd.grad(judging["domain_a"], list(model.judge_a.parameters()), retain_graph=True)
    (_, content), (_, making), (_, random) = game
    found: dict[str, Tensor] = {
        "disA_loss": judging["domain_a"],
        "disB_loss": judging["domain_b"],
        "disA2_loss": judging["random_a"],
        "disB2_loss": judging["random_b"],
        "disContent_loss": torch.stack(list(content.values())).sum(),
        "G_loss": torch.stack(list(making.values())).sum(),
        "lz_AB": random.get("mode_seeking_b", torch.zeros(())),
        "lz_BA": random.get("mode_seeking_a", torch.zeros(())),
    }
    for side in "ab":
        found |= {
            f"gan_loss_{side}": making[f"adversarial_{side}"],
            f"gan_loss_{side}content": making[f"content_{side}"],
            f"kl_loss_za_{side}": making[f"kl_{side}"],
            f"kl_loss_zc_{side}": making[f"content_kl_{side}"],
            f"l1_recon_{side.upper()}_loss": making[f"cycle_{side}"],
            f"l1_recon_{2 * side.upper()}_loss": making[f"reconstruction_{side}"],
            f"l1_recon_z_loss_{side}": random[f"latent_{side}"],
            f"gan2_loss_{side}": random[f"random_{side}"],
        }
    return {name: value.reshape(1) for name, value in found.items()} | {
        "gradnorm_disA": torch.stack([each.double().norm() for each in gradients]).norm(),
        **pictures(model, record, draws),
        "n_params": count(model.parameters()),
    }


@torch.no_grad()
def pictures(model: DRIT, record: Record, draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Some of the pictures that the step was about."""
    rng = Given(draws)
    (a, _), (b, _) = record.input("A", "x").chunk(2), record.input("B", "x").chunk(2)
    content_a, content_b = model.noisy(a, b, rng)
    (attribute_a, _), (attribute_b, _) = model.attributes(a, b, rng)
    fake_a = model.paint(model.a, content_b, attribute_a)
    fake_b = model.paint(model.b, content_a, attribute_b)
    _, again_a = model.noisy(fake_a, fake_b, rng, "again ")
    (found_a, _), _ = model.attributes(fake_a, fake_b, rng, "again ")
    _, random_b = model.paint_randomly(content_a, content_b, model.random_codes(rng, a))
    return {
        "fake_A_encoded": fake_a,
        "fake_A_recon": model.paint(model.a, again_a, found_a),
        **{f"fake_B_random{place}": fake for place, fake in zip(["", "2"], random_b, strict=False)},
    }


NETWORKS = {
    "translator-concat": Network(translator),
    "translator-film": Network(translator),
    "multiscale-d": Network(discriminator),
    "d": Network(discriminator),
    "d-content": Network(content_discriminator),
    "losses": Network(losses),
}
