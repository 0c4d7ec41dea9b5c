"""A causal language model as the writer of triplets: taught on triplets, then asked for one caption's after another.

Any model of transformers that is on this machine is fine-tuned with LoRA (Hu et al., 2022; needs peft); or a small
GPT-2 with a tokenizer of whole words is made from nothing, which is enough for a grammar. One epoch, as published for
GPT-3; the loss is that of the completion alone. What is written is a folder that transformers (or peft) opens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner.data.kinds import Batch
from limner.edits.triplets import BETWEEN, END, PROMPT_END, Triplet, prompt
from limner.errors import BadInput, MissingExtra
from limner.rng import Rng, derive, numpy_rng, torch_rng
from limner.runs import MANIFEST, Run, verify_folder, write_folder
from limner.system import Game, Player, System, adamw, warmup
from limner.train import Listener, Options, Trainer, best_device

TEMPERATURE, FREQUENCY_PENALTY, LONGEST = 0.7, 0.1, 256  # as published; tokens of a completion
PIECES = r"\n| ?[^\s,:;.!?]+| ?[,:;.!?]| "  # a new line; a word or a mark, with the space before it; a space alone
UNKNOWN, FINISHED = "<unknown>", "<end>"


@dataclass(frozen=True)
class Lines(Batch):
    """Prompts with their completions as tokens, (B, L) int64 each."""

    tokens: Tensor
    shown: Tensor  # 1 for tokens, 0 for padding
    targets: Tensor  # -100 where there is nothing to learn: at prompts and padding


class Lesson:
    """Triplets as training data: every epoch has all of them, in an order of its own."""

    def __init__(self, triplets: Sequence[Triplet], tokenizer: Any, seed: int, longest: int) -> None:
        self.seed, self.pad = seed, tokenizer.pad_token_id
        self.rows: list[tuple[list[int], int]] = []
        for one in triplets:
            asked = tokenizer(one.prompt).input_ids
            row = asked + tokenizer(one.completion, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
            if len(row) <= longest:
                self.rows.append((row, len(asked)))
        if not self.rows:
            raise BadInput(f"All triplets have more than the {longest} tokens that the model reads.")

    def take(self, numbers: Sequence[int]) -> Lines:
        chosen = [self.rows[self._row(number)] for number in numbers]
        length = max(len(row) for row, _ in chosen)
        tokens = torch.full((len(chosen), length), self.pad)
        shown, targets = torch.zeros_like(tokens), torch.full_like(tokens, -100)
        for at, (row, asked) in enumerate(chosen):
            tokens[at, : len(row)], shown[at, : len(row)] = torch.tensor(row), 1
            targets[at, asked : len(row)] = tokens[at, asked : len(row)]
        return Lines(tokens, shown, targets)

    def _row(self, number: int) -> int:
        epoch, place = divmod(number, len(self.rows))
        return int(numpy_rng(self.seed, "epoch", epoch).permutation(len(self.rows))[place])


class Pupil(System):
    """A language model that learns to go on with prompts. Only what it learns is kept in checkpoints."""

    @dataclass(frozen=True)
    class Config:
        base: str = ""  # the folder of the model it was; none for one from nothing
        rate: float = 2e-4
        warm: int = 20  # steps

    def __init__(self, model: nn.Module, config: Config) -> None:
        super().__init__(config)
        self.model = model
        self.players = {"writer": Player((model,), adamw(config.rate, decay=0.01), warmup(config.warm), clip=1.0)}
        self.learned = {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def play(self, batch: Lines, rng: Rng) -> Game:
        """Cross-entropy of the completions' tokens."""
        found = self.model(input_ids=batch.tokens, attention_mask=batch.shown, labels=batch.targets)
        yield "writer", {"cross_entropy": found.loss}

    def state_dict(self, *args: Any, **keywords: Any) -> dict[str, Tensor]:  # type: ignore[override]  # torch's has overloads
        whole = super().state_dict(*args, **keywords)
        return {name: tensor for name, tensor in whole.items() if name in self.learned}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict({**super().state_dict(), **state_dict}, strict, assign)


def teach(
    triplets: Sequence[Triplet],
    out: Path,
    *,
    base: Path | None = None,
    epochs: int = 1,
    batch: int = 16,
    rate: float | None = None,
    width: int = 128,
    depth: int = 4,
    rank: int = 16,
    seed: int = 0,
    threads: int = 0,
    listener: Listener | None = None,
) -> Path:
    """Teach a model to write triplets; `out` is its folder, and OUT.run the training, which the same call goes on with.

    base: a folder of a causal language model (safetensors) to fine-tune; None makes a small one from nothing
    rate: of AdamW; 2e-4 for LoRA and 1e-3 from nothing, if it isn't given
    width, depth: of the one from nothing
    rank: of LoRA's matrices
    """
    if min(epochs, batch, width, depth, rank) < 1 or width % 32:
        raise BadInput("--epochs, --batch, --depth and --rank are at least 1, and --width is a multiple of 32.")
    if base is None:
        tokenizer = word_tokenizer(triplets)
        model = _from_nothing(tokenizer, width, depth, derive(seed, "weights"))
    else:
        model, tokenizer = _opened(base)
        model = _with_lora(model, rank, derive(seed, "weights"))
    lesson = Lesson(triplets, tokenizer, seed, _longest(model))
    pupil = Pupil(model, Pupil.Config("" if base is None else str(base.resolve()), rate or (2e-4 if base else 1e-3)))
    steps = ceil(epochs * len(lesson.rows) / batch)
    options = Options(steps=steps, batch=batch, seed=seed, sample=0, threads=threads)
    run = Run(out.with_name(f"{out.name}.run"))
    Trainer("edit writer", pupil, lesson, run, options, data=len(triplets), listener=listener).fit()
    with tempfile.TemporaryDirectory() as folder:
        model.cpu().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
    write_folder(out, files)
    return out


class LanguageModel:
    """A folder that `teach` made, or any causal language model, as a writer. Row by row a function of (seed, number,
    attempt) and the caption."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        model, self.tokenizer = _opened(folder)
        self.model = model.eval().to(best_device())
        self.seed, self.longest = seed, _longest(model)

    @torch.inference_mode()
    def complete(self, captions: Sequence[str], numbers: Sequence[int], attempt: int) -> list[str]:
        """Sampled with the published settings: every token that was written before is less likely to come again."""
        asked = [self.tokenizer(prompt(caption)).input_ids for caption in captions]
        start = max(map(len, asked))
        room = min(LONGEST, self.longest - start)
        if room < 1:
            raise BadInput(
                f"A caption takes {start} tokens; the model reads {self.longest}, and has to write some, too."
            )
        device = self.model.device
        tokens = torch.full((len(asked), start), self.tokenizer.pad_token_id, device=device)
        shown = torch.zeros_like(tokens)
        for at, row in enumerate(asked):
            tokens[at, start - len(row) :], shown[at, start - len(row) :] = torch.tensor(row, device=device), 1
        draws = [
            torch.rand(room, generator=torch_rng(self.seed, "write", number, attempt), dtype=torch.float64)
            for number in numbers
        ]
        chance = torch.stack(draws).to(device)
        written: list[list[int]] = [[] for _ in asked]
        going = set(range(len(asked)))
        past: Any = None
        counts: Tensor | None = None
        for step in range(room):
            places = (shown.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
            found = self.model(
                input_ids=tokens, attention_mask=shown, position_ids=places, past_key_values=past, use_cache=True
            )
            past, logits = found.past_key_values, found.logits[:, -1].double()
            counts = torch.zeros_like(logits) if counts is None else counts
            running = ((logits - FREQUENCY_PENALTY * counts) / TEMPERATURE).softmax(-1).cumsum(-1)
            tokens = torch.searchsorted(running, chance[:, step : step + 1] * running[:, -1:], right=True)
            counts.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=counts.dtype))
            shown = torch.cat([shown, torch.ones_like(tokens)], 1)
            for at in sorted(going):
                written[at].append(int(tokens[at]))
                if written[at][-1] == self.tokenizer.eos_token_id or END in self._text(written[at][-8:]):
                    going.discard(at)
            if not going:
                break
        return [self._text(row).partition(END)[0] for row in written]

    def _text(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def word_tokenizer(triplets: Sequence[Triplet]) -> Any:
    """A tokenizer whose tokens are the words and marks of triplets, with and without a space before them."""
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        raise MissingExtra("Teaching a language model", "diffusion") from None
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    texts = {text for one in triplets for text in (one.prompt, one.completion, f"{END}{BETWEEN}{PROMPT_END}")}
    pieces = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    bare = {piece.removeprefix(" ") for piece in pieces} - {"", "\n"}
    known = [UNKNOWN, FINISHED, "\n", " ", *sorted(bare | {f" {piece}" for piece in bare})]
    tokenizer = Tokenizer(models.WordLevel({piece: n for n, piece in enumerate(known)}, UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, eos_token=FINISHED, pad_token=FINISHED,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _from_nothing(tokenizer: Any, width: int, depth: int, seed: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=width, n_layer=depth, n_head=width // 32,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"  # as its published configs have it; a new one says nothing, and is warned of
    return model


def _with_lora(model: Any, rank: int, seed: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtra("Fine-tuning a language model (peft)", "edits") from None
    torch.manual_seed(seed)
    lora = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return get_peft_model(model, lora)


def _opened(folder: Path) -> tuple[Any, Any]:
    """A model and its tokenizer from a folder of transformers or peft; nothing in it is run, nothing downloaded."""
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise MissingExtra("A language model", "diffusion") from None
    if not folder.is_dir() or not {p.name for p in folder.iterdir()} & {"config.json", "adapter_config.json"}:
        raise BadInput(
            f"{folder} is no folder of a language model: it has neither config.json nor adapter_config.json. Give one "
            "that transformers opens, or make one with `limner edits teach`."
        )
    if (folder / MANIFEST).exists():
        verify_folder(folder)
    adapter = (folder / "adapter_config.json").exists()
    logging.disable_progress_bar()
    try:
        if adapter:
            from peft import AutoPeftModelForCausalLM as Opener
        else:
            Opener = AutoModelForCausalLM
        safe = {"local_files_only": True, "use_safetensors": True}
        model = Opener.from_pretrained(folder, **({} if adapter else safe))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        raise MissingExtra(f"A fine-tuned language model ({error.name})", "edits") from None
    except Exception as error:  # transformers raises whatever its readers run into
        raise BadInput(f"{folder} can't be opened as a causal language model: {_first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise BadInput(f"The tokenizer in {folder} has no token for the end of a text, so nothing says when to stop.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.float() if best_device().type == "cpu" else model, tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _longest(model: Any) -> int:
    """How many tokens a model reads."""
    found = getattr(model.config, "max_position_embeddings", None)
    return int(found) if found else 2048
