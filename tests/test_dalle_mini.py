"""DALL-E mini and its VQGAN: what the parity records can't show."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.kinds import Captioned, Pictures
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.parity.dalle_mini import flax_state
from limner.parity.record import Record
from limner.published import dalle_mini as published
from limner.published.dalle_mini_text import BytePairs, hashtag, mend, normalise
from limner.published.keys import fill
from limner.rng import Rng
from limner.system import Draws, config_from
from limner.systems.text.dalle_mini import (
    MEGA,
    DalleMini,
    Decoder,
    Encoder,
    Reader,
    Tokens,
    empty_caption,
    pick,
    probabilities,
)
from limner.systems.text.vqgan import VQGAN
from limner.systems.text.words import BEGIN, END, PAD

RECORDS = Path(__file__).parent / "parity"
BOOK = VQGAN.Config(
    width=32,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(1,),
    channels=16,
    codebook=12,
    code_width=8,
    discriminator_width=8,
    discriminator_start=2,
    learning_rate=1e-3,
)
TINY = DalleMini.Config(
    text_vocabulary=20,
    image_vocabulary=15,  # three tokens more than there are codes
    width=32,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
    glu_width=48,
    text_length=8,
    grid=(2, 3),
    vqgan=BOOK,
    init_std=0.3,
)
TEXT = torch.tensor([[BEGIN, 5, 9, 7, END, PAD, PAD, PAD], [BEGIN, 6, END, PAD, PAD, PAD, PAD, PAD]])
IMAGE = torch.tensor([[3, 11, 0, 4, 4, 9], [1, 2, 3, 10, 8, 7]])


@pytest.fixture
def model() -> DalleMini:
    torch.manual_seed(0)
    return DalleMini(TINY).eval()


@pytest.fixture
def book() -> VQGAN:
    torch.manual_seed(0)
    return VQGAN(BOOK).eval()


class Letters:
    """A tokeniser for tests: each letter a to p is a word."""

    def __call__(self, captions):
        tokens = torch.full((len(captions), TINY.text_length), PAD)
        for row, caption in zip(tokens, captions, strict=True):
            ids = [BEGIN, *(ord(c) - ord("a") + 3 for c in caption if "a" <= c <= "p"), END]
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def unknown(self, caption):
        return tuple(c for c in caption if not "a" <= c <= "p")


# ------------------------------------------------------------------------------------------------- the transformer


def count(network: type[torch.nn.Module], config: DalleMini.Config) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in network(config).parameters())


def test_full_sizes_are_the_published_ones():
    mini = DalleMini.Config(norm_scales=True, vqgan=None)
    mega = replace(MEGA, norm_scales=True, vqgan=None)
    assert (count(Encoder, mini), count(Decoder, mini)) == (202_649_584, 235_313_136)
    assert (count(Encoder, mega), count(Decoder, mega)) == (1_110_220_800, 1_477_746_688)


def test_writing_token_by_token_gives_the_logits_of_the_full_pass(model):
    with torch.no_grad():
        states, words = model.encoder(TEXT), TEXT != PAD
        started = F.pad(IMAGE[:, :-1], (1, 0), value=TINY.start)
        reader = Reader(model.decoder, states, words)
        steps = torch.stack([reader.step(started[:, i : i + 1]) for i in range(6)], 1)
        torch.testing.assert_close(steps, model(TEXT, IMAGE))


def test_a_token_sees_its_past_and_the_words_but_not_the_padding_nor_the_future(model):
    with torch.no_grad():
        logits = model(TEXT, IMAGE)
        later = IMAGE.clone()
        later[:, 4:] = 0
        torch.testing.assert_close(model(TEXT, later)[:, :5], logits[:, :5])
        assert not torch.allclose(model(TEXT, later)[:, 5], logits[:, 5])
        torch.testing.assert_close(model(TEXT[:, :5], IMAGE), logits)
        other = TEXT.clone()
        other[0, 1] = 4
        assert not torch.allclose(model(other, IMAGE)[0], logits[0])


def test_the_start_token_is_the_configurations():
    torch.manual_seed(0)
    model = DalleMini(replace(TINY, start_token=3)).eval()
    with torch.no_grad():
        same = model.decoder(torch.tensor([[3]]), model.encoder(TEXT[:1]), TEXT[:1] != PAD)
        torch.testing.assert_close(model(TEXT[:1], IMAGE[:1])[:, :1], same)
    assert (TINY.start, MEGA.start) == (15, 16384)


def test_only_codes_that_the_vqgan_knows_are_written(model):
    with torch.no_grad():
        model.decoder.head.weight[12:] *= 100  # what it would otherwise prefer half of the time
    tokens = model.sample(TEXT.repeat(8, 1), range(16), guidance=1.0)
    assert tokens.shape == (16, 6) and tokens.max() < 12 == TINY.codebook


def test_a_candidate_depends_on_its_own_seed_alone(model):
    model.tokenise = Letters()
    assert isinstance(model, Draws)
    drawing = model.draw("abz", count=3, seed=7, temperature=9.0)
    assert drawing.pictures.shape == (3, 4, 6, 3) and drawing.pictures.dtype == "uint8"
    assert drawing.seeds == (7, 8, 9) and drawing.unknown == ("z",)
    for picture, seed in zip(drawing.pictures, drawing.seeds, strict=True):
        assert (model.draw("ab", seed=seed, temperature=9.0).pictures[0] == picture).all()
    assert (drawing.pictures[0] != drawing.pictures[1]).any()


def test_guidance_of_one_is_the_model_and_of_none_the_empty_caption(model):
    plain = model.sample(TEXT, (1, 2), guidance=1.0)
    torch.testing.assert_close(model.sample(TEXT, (1, 2), guidance=1.0 + 1e-9), plain)
    torch.testing.assert_close(
        model.sample(TEXT, (1, 2), guidance=0.0), model.sample(empty_caption(TEXT), (1, 2), guidance=1.0)
    )


def test_top_k_keeps_ties_and_top_p_the_fewest_that_suffice():
    logits = torch.tensor([[2.0, 1.0, 1.0, 0.0]])
    assert (probabilities(logits, top_k=2) > 0).tolist() == [[True, True, True, False]]
    assert (probabilities(logits, top_k=99) > 0).all()
    chances = torch.tensor([[0.2, 0.5, 0.3]])
    torch.testing.assert_close(probabilities(chances.log(), top_p=0.6), torch.tensor([[0.0, 0.625, 0.375]]))
    torch.testing.assert_close(probabilities(logits, temperature=0.5), (2 * logits).softmax(-1))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-8, 0.3, 5.0]), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_a_token_without_a_chance_is_never_picked(chances, where):
    row = torch.tensor([[*chances, 1.0]])
    token = int(pick(row, torch.tensor([where], dtype=torch.float64)))
    assert row[0, token] > 0
    assert row[0, :token].double().sum() <= where * row.double().sum() + 1e-9


def train(system, batch, steps):
    sides = {name: (p.parameters(), p.optimiser(p.parameters())) for name, p in system.players.items()}
    system.train()
    for step in range(steps):
        names = []
        for name, losses in system.play(batch, Rng(0, range(2), step)):
            parameters, optimiser = sides[name]
            optimiser.zero_grad()
            torch.stack(list(losses.values())).sum().backward(inputs=parameters)
            optimiser.step()
            names.append(name)
        yield names, {term: value.item() for term, value in losses.items()}
    system.eval()


def test_it_learns_which_picture_belongs_to_which_words():
    torch.manual_seed(0)
    model = DalleMini(replace(TINY, learning_rate=3e-3, warmup=1, init_std=0.02))
    list(train(model, Tokens(TEXT, IMAGE), 80))
    assert torch.equal(model.sample(TEXT, (0, 0), guidance=1.0, top_k=1), IMAGE)
    assert torch.equal(model.sample(TEXT, (0, 0), guidance=3.0, top_k=1), IMAGE)


def test_a_dropped_caption_teaches_the_empty_one(model):
    dropping = DalleMini(replace(TINY, caption_drop=1.0)).eval()
    dropping.load_state_dict(model.state_dict())
    ((_, losses),) = dropping.play(Tokens(TEXT, IMAGE), Rng(0, range(2)))
    wanted = F.cross_entropy(model(empty_caption(TEXT), IMAGE).flatten(0, 1), IMAGE.flatten())
    torch.testing.assert_close(losses["cross_entropy"], wanted)


def test_pictures_with_captions_are_read_as_tokens_and_shown_again(model):
    model.tokenise = Letters()
    pictures = torch.rand(2, 3, 4, 6) * 2 - 1
    batch = Captioned(pictures, ("ab", "c"))
    tokens = model.read(batch)
    assert torch.equal(tokens.image, model.vqgan.encode(pictures).flatten(1))
    assert model.preview(batch, Rng(0, range(2))).shape == (4, 3, 4, 6)
    ((_, one),), ((_, other),) = model.play(batch, Rng(0, range(2))), model.play(tokens, Rng(0, range(2)))
    assert torch.equal(one["cross_entropy"], other["cross_entropy"])


@pytest.mark.parametrize(
    ("text", "image", "says"),
    [
        (TEXT, IMAGE[:, :5], "2x3 codes"),
        (F.pad(TEXT, (0, 1), value=PAD), IMAGE, "at most 8 words"),
        (TEXT + 15, IMAGE, "text vocabulary from 0 to 19"),
        (TEXT, IMAGE + 5, "image vocabulary from 0 to 14"),
        (TEXT, IMAGE - 1, "run from -1"),
    ],
)
def test_tokens_of_another_model_are_refused(model, text, image, says):
    with pytest.raises(BadInput, match=says):
        list(model.play(Tokens(text, image), Rng(0, range(2))))


def test_without_its_parts_it_says_what_is_missing(model):
    with pytest.raises(CannotDo, match="tokeniser"):
        model.draw("a")
    with pytest.raises(CannotDo, match="VQGAN"):
        DalleMini(replace(TINY, vqgan=None)).draw("a")


def test_the_configuration_survives_json():
    for config in (TINY, MEGA, replace(TINY, vqgan=None)):
        assert config_from(DalleMini.Config, json.loads(json.dumps(asdict(config))), "config.json") == config


# -------------------------------------------------------------------------------------------------------- the VQGAN


@pytest.mark.parametrize("patch", [1, 2])
def test_any_multiple_of_the_factor_goes_in_and_comes_out(patch):
    book = VQGAN(replace(BOOK, patch=patch)).eval()
    codes = book.encode(torch.rand(2, 3, 12, 20) * 2 - 1)
    assert book.factor == 2 * patch
    assert codes.shape == (2, 12 // book.factor, 20 // book.factor) and codes.dtype == torch.int64
    pictures = book.decode(codes)
    assert pictures.shape == (2, 3, 12, 20) and pictures.abs().max() <= 1


def test_the_full_size_paints_16_by_9():
    with torch.device("meta"):
        book = VQGAN()
        assert book.latent(torch.empty(1, 3, 144, 256)).shape == (1, 256, 9, 16)
    assert sum(p.numel() for n, p in book.named_parameters() if "discriminator" not in n) == 76_073_859


def test_the_code_is_the_nearest(book):
    latent = torch.randn(2, 8, 3, 4) * 0.1
    cells = latent.permute(0, 2, 3, 1).reshape(-1, 8)
    assert torch.equal(book.nearest(latent).flatten(), torch.cdist(cells, book.codes.weight).argmin(1))


def test_the_border_is_the_same_whatever_the_networks_range(book):
    pictures = torch.rand(1, 3, 8, 8) * 2 - 1
    unit = VQGAN(replace(BOOK, value_range=(0.0, 1.0))).eval()
    unit.load_state_dict(book.state_dict())
    codes = unit.encode(pictures)
    with torch.no_grad():
        assert torch.equal(codes, book.nearest(book.latent((pictures + 1) / 2)))
        painted = book.paint(book.entries(codes)).clamp(0, 1) * 2 - 1
    torch.testing.assert_close(unit.decode(codes), painted)


def test_the_encoder_learns_through_the_code_and_beta_weighs_the_released_term(book):
    latent = torch.randn(1, 8, 2, 2, requires_grad=True)
    codes, entries, _ = book.quantise(latent)
    pull = torch.randn_like(latent)
    torch.testing.assert_close(torch.autograd.grad((entries * pull).sum(), latent)[0], pull)
    torch.testing.assert_close(entries.detach(), book.entries(codes).detach())

    for legacy, factors in ((True, (1.0, 0.25)), (False, (0.25, 1.0))):
        other = VQGAN(replace(BOOK, legacy=legacy))
        other.load_state_dict(book.state_dict())
        _, _, loss = other.quantise(latent)
        cells, weight = torch.autograd.grad(loss, (latent, other.codes.weight))
        gap = 2 * (latent - other.entries(codes)).detach() / latent.numel()
        torch.testing.assert_close(cells, factors[0] * gap)
        wanted = torch.zeros_like(weight).index_add_(0, codes.flatten(), -gap.permute(0, 2, 3, 1).reshape(-1, 8))
        torch.testing.assert_close(weight, factors[1] * wanted)


def test_the_adversarial_game_begins_at_its_step_and_the_picture_gets_nearer():
    torch.manual_seed(0)
    book = VQGAN(BOOK)
    batch = Pictures(torch.linspace(-1, 1, 32)[None, None, None].expand(2, 3, 32, 32))
    before = F.l1_loss(book.eval().decode(book.encode(batch.pictures)), batch.pictures)
    played = list(train(book, batch, 20))
    assert [names for names, _ in played[:3]] == [["autoencoder"], ["autoencoder"], ["autoencoder", "discriminator"]]
    assert set(played[0][1]) == {"reconstruction", "codebook"} and set(played[2][1]) == {"real", "fake"}
    after = F.l1_loss(book.decode(book.encode(batch.pictures)), batch.pictures)
    assert after < 0.7 * before
    assert book.preview(batch, Rng(0, range(2))).shape == (4, 3, 32, 32)


def test_the_discriminators_pull_is_scaled_to_the_likenesss(book):
    pictures = torch.rand(1, 3, 32, 32)
    painted = book.paint(book.latent(pictures))
    likeness, fooled = F.l1_loss(painted, pictures), -book.discriminator(painted).mean()
    last = book.decoder.head.weight
    pulls = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (likeness, fooled)]
    torch.testing.assert_close(book.balance(likeness, fooled), pulls[0] / (pulls[1] + 1e-4))


def test_a_perceptual_distance_is_weighed_in_or_asked_for():
    book = VQGAN(replace(BOOK, perceptual=2.0))
    batch = Pictures(torch.rand(2, 3, 32, 32))
    with pytest.raises(BadInput, match="perceptual"):
        list(book.play(batch, Rng(0, range(2))))
    book.perceptual = lambda a, b: (a - b).square().mean((1, 2, 3))
    ((_, losses),) = book.play(batch, Rng(0, range(2)))
    assert set(losses) == {"reconstruction", "codebook", "perceptual"}


def test_what_a_vqgan_cannot_do_is_an_error(book):
    with pytest.raises(BadInput, match="21x12"):
        book.encode(torch.zeros(1, 3, 12, 21))
    with pytest.raises(BadInput, match="from 0 to 12"):
        book.decode(torch.tensor([[[0, 12]]]))
    with pytest.raises(CannotDo, match="decoder only"):
        VQGAN(replace(BOOK, decoder_only=True)).encode(torch.zeros(1, 3, 8, 8))


# --------------------------------------------------------------------------------------------------- published files


def taming(book: VQGAN) -> dict[str, torch.Tensor]:
    """The discriminator as taming-transformers' checkpoint has it, with its perceptual network beside it."""
    state = {f"loss.discriminator.main.{k}": v + 1 for k, v in book.discriminator.state_dict().items()}
    return state | {"loss.perceptual_loss.net.slice1.0.weight": torch.zeros(3)}


def test_a_full_vqgan_checkpoint_brings_its_discriminator(book):
    state = published.rename(taming(book), published.VQGAN_TAMING, "last.ckpt")
    other = VQGAN(BOOK)
    published.fill_vqgan(other, book.state_dict() | state, "last.ckpt")
    torch.testing.assert_close(other.discriminator[0].weight, book.discriminator[0].weight + 1)


def test_a_strange_or_lacking_entry_is_refused(model):
    state = model.encoder.state_dict()
    with pytest.raises(BadCheckpoint, match=r"encoder.pt.*strange"):
        fill(model.encoder, state | {"strange": torch.zeros(1)}, "encoder.pt")
    with pytest.raises(BadCheckpoint, match="lacks"):
        fill(model.encoder, {k: v for k, v in state.items() if k != "positions.weight"}, "encoder.pt")
    twice = {"ln.weight": torch.zeros(1), "model.ln.weight": torch.zeros(1)}
    with pytest.raises(BadCheckpoint, match="twice"):
        published.rename(twice, published.TRANSFORMER_FLAX, "flax_model.msgpack")


def test_the_flax_release_and_its_port_are_one_model():
    records = {name: Record.read(RECORDS / f"dalle-mini-{name}.json") for name in ("flax", "encoder", "decoder")}
    tree = flax_state(records["flax"])
    options = records["flax"].options | {"decoder_start_token_id": 16384}
    flax = published.open_flax(options, tree)
    assert flax.config.start == 16384 and not flax.training

    halves = {}
    for side, network in (("encoder", flax.encoder), ("decoder", flax.decoder)):
        names = {name: torch.empty(0) for name in records[side].content["state"]}
        weights = network.state_dict()
        halves[side] = {
            name: weights[ours]
            for name in names
            for ours in published.rename({name: names[name]}, published.TRANSFORMER_PORT, side)
            if ours in weights  # the port's files lack the scales that its networks have
        }
    port = published.open_port(halves["encoder"], halves["decoder"], head_width=16)
    assert port.config == replace(flax.config, vqgan=None)
    text = torch.randint(3, 100, (2, 64))
    image = torch.randint(0, 16384, (2, 256))
    with torch.no_grad():
        assert torch.equal(port(text, image), flax(text, image))

    with pytest.raises(BadCheckpoint, match="min-dalle"):
        published.open_port(halves["encoder"], {})


def test_options_that_were_never_released_are_refused():
    options = {
        **{"encoder_vocab_size": 20, "image_vocab_size": 15, "d_model": 32, "max_text_length": 8, "image_length": 16},
        **{"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": 14},
    }
    config = published.config_from_flax(options)
    assert (config.grid, config.start, config.decoder_layers) == ((4, 4), 14, 2)
    for wrong in ({"use_bias": True}, {"ln_positions": "preln"}, {"decoder_ffn_dim": 64}, {"image_length": 17}):
        with pytest.raises(BadCheckpoint):
            published.config_from_flax(options | wrong)


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("caption", "clean"),
    [
        ("A fox, under a TREE!!", " a fox, under a tree"),
        ("It's John's 3.5-inch 1,234,567 on 12/25/2020", " it's john's 3.5 inch 1234567 on 12/25/2020"),
        ("café \u201cnaïve\u201d \U0001f98a", ' cafe " naive ", fox face'),
        ("<b>bold</b> http://x.y/z &amp;amp; 50%", " bold & 50 %"),
        ("[1] waaaait viii ... wow_man", " wait viii, wow man"),
        ("<person> and <person> with <person>", " people with a person"),
        ("rock'n'roll (live) a.b.c", ' rock " n " roll, live, a.b, c'),
        ("\u00c3\u00a9tude", " etude"),
        ("", " "),
    ],
)
def test_captions_are_cleaned_as_in_training(caption, clean):
    assert normalise(caption) == clean


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_cleans_to_plain_ascii(text):
    clean = normalise(text)
    assert clean.isascii() and clean.startswith(" ") and clean == clean.lower()
    assert not set(clean[1:]) & set("()[]|:;?!=+~-{}_#\\`\n\t")


def test_hashtags_fall_apart_by_the_frequency_of_words():
    costs = {"and": 0.0, "dogs": 1.0, "cats": 2.0, "a": 3.0, "at": 4.0, "1": 5.0, "2": 5.0}
    assert hashtag("catsanddogs12", costs) == "cats and dogs 12"
    assert normalise("#CatsAndDogs!", costs) == " cats and dogs"
    assert normalise("#CatsAndDogs!") == " catsanddogs"
    assert mend("plain \x07 text") == "plain  text"


def test_byte_pairs_are_read_framed_cut_and_padded(tmp_path):
    vocabulary = {
        token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "Ġ", "f", "o", "x", "Ġf", "ox", "Ġfox"])
    }
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ f\no x\nĠf ox\n", "utf-8")
    pairs = BytePairs.open(tmp_path, length=6)
    assert pairs(["Fox fox", "fox fox fox fox fox fox"]).tolist() == [[0, 10, 10, 2, 1, 1], [0, 10, 10, 10, 10, 2]]
    assert pairs.unknown("zebra") == ()
    (tmp_path / "vocab.json").write_text("[", "utf-8")
    with pytest.raises(BadCheckpoint, match=r"vocab.json"):
        BytePairs.open(tmp_path)
    with pytest.raises(BadCheckpoint, match=r"merges.txt|vocab.json"):
        BytePairs.open(tmp_path / "nowhere")
