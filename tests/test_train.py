from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from games import Duel, Noise, Solo
from limner.errors import BadCheckpoint, BadInput, Interrupted, NotFinite
from limner.jobs.training import estimate
from limner.runs import Run, read_checkpoint
from limner.system import Player, adam
from limner.train import TIMED, Options, Progress, Trainer, _Side

HERE = Path(__file__).parent


def train(path: Path, steps: int, system: type = Duel, **options: object) -> Trainer:
    fixed = {"batch": 4, "threads": 1, "save": 1e9, "sample": 0, "log": 1, "precision": "fp32"}
    torch.manual_seed(0)
    trainer = Trainer("duel", system(), Noise(), Run(path), Options(steps=steps, **{**fixed, **options}))
    trainer.fit()
    return trainer


def weights(path: Path) -> dict[str, torch.Tensor]:
    checkpoint, complaints = Run(path).newest(training=True)
    assert checkpoint is not None and not complaints
    return checkpoint.weights | checkpoint.optimizer


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, different


def test_a_run_stopped_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    train(tmp_path / "whole", 9)
    for stop in (2, 5, 9):
        train(tmp_path / "parts", stop)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 10))


def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    """SIGKILL at random moments, over several runs, until at least twenty have hit a training in progress."""
    steps, command = 120, [sys.executable, str(HERE / "train_duel.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole"), str(steps)], check=True, env=environment)
    expected = weights(tmp_path / "whole")
    chance, kills = random.Random(11), 0
    for attempt in range(12):
        run = tmp_path / f"killed-{attempt}"
        while True:
            process = subprocess.Popen([*command, str(run), str(steps)], env=environment)
            started = Run(run).checkpoints[-1:]  # wait until it has gone on from where it was, then strike
            while process.poll() is None and Run(run).checkpoints[-1:] == started:
                time.sleep(0.002)
            try:
                process.wait(chance.uniform(0, 0.5))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                continue
            assert process.returncode == 0
            break
        assert_same(expected, weights(run))
        if kills >= 20:
            break
    assert kills >= 20


def test_accumulation_keeps_the_numbers(tmp_path: Path) -> None:
    train(tmp_path / "one", 4, Solo)
    train(tmp_path / "four", 4, Solo, accumulate=4)
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    for name in one:
        torch.testing.assert_close(one[name], four[name], atol=1e-6, rtol=1e-5)


def test_the_games_step_is_the_classic_loop(tmp_path: Path) -> None:
    """The trainer's result equals zero_grad, backward, step written by hand."""
    from limner.rng import Rng, derive

    system = Duel()
    start = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    options = Options(steps=3, batch=4, threads=1, sample=0, precision="fp32")
    trainer = Trainer("duel", system, Noise(), Run(tmp_path / "run"), options)
    trainer.fit()

    mine = Duel()
    mine.load_state_dict(start)
    mine = mine.to(memory_format=torch.channels_last)
    mine.train()
    optimisers = {name: player.optimiser(player.parameters()) for name, player in mine.players.items()}
    for step in range(3):
        numbers = list(range(4 * step, 4 * step + 4))
        torch.manual_seed(derive(0, "step", step, 0))
        for name, losses in mine.play(Noise().take(numbers), Rng(derive(0, "play"), numbers, step)):
            optimisers[name].zero_grad()
            sum(losses.values()).backward()
            if mine.players[name].clip:
                torch.nn.utils.clip_grad_norm_(mine.players[name].parameters(), mine.players[name].clip)
            optimisers[name].step()
    for name, tensor in mine.state_dict().items():
        torch.testing.assert_close(trainer.system.state_dict()[name], tensor, atol=1e-7, rtol=1e-6)


def test_a_moving_average_lags_behind(tmp_path: Path) -> None:
    trainer = train(tmp_path / "run", 5)
    saved = weights(tmp_path / "run")
    name = "generator.0.weight"
    assert not torch.equal(saved[name], saved[f"ema.{name}"])
    assert "ema.critic.0.weight" not in saved
    assert torch.equal(saved[name], trainer.system.state_dict()[name])


def test_nan_stops_within_the_step_and_names_the_term(tmp_path: Path) -> None:
    options = Options(steps=9, batch=4, threads=1, save=0.0, sample=0)
    trainer = Trainer("duel", Duel(Duel.Config(poison=6)), Noise(), Run(tmp_path), options)
    with pytest.raises(NotFinite, match=r"Step 6: generator/adversarial is nan"):
        trainer.fit()
    checkpoint, _ = Run(tmp_path).newest()
    assert checkpoint is not None and checkpoint.state["step"] == 6
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint.weights.values())


def test_other_settings_are_refused_and_the_run_stays(tmp_path: Path) -> None:
    train(tmp_path, 2)
    before = weights(tmp_path)
    with pytest.raises(BadInput, match="options"):
        train(tmp_path, 4, seed=1)
    assert_same(before, weights(tmp_path))


def test_a_run_that_saved_nothing_may_begin_with_other_settings(tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        options = Options(steps=2, batch=4, threads=1, save=1e9, sample=0, precision="fp32")
        Trainer("duel", Duel(Duel.Config(poison=0)), Noise(), Run(tmp_path), options).fit()
    assert train(tmp_path, 2, seed=1).step == 2


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    train(tmp_path / "run", 6, save=0.0)
    train(tmp_path / "whole", 8)
    newest = Run(tmp_path / "run").checkpoints[-1]
    file = newest / "weights.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-3] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(BadCheckpoint, match="sha256"):
        read_checkpoint(newest)
    trainer = train(tmp_path / "run", 8, save=0.0)
    assert "weights.safetensors is damaged" in trainer.complaints[0]
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_when_every_checkpoint_is_damaged_nothing_is_overwritten(tmp_path: Path) -> None:
    train(tmp_path, 2)
    (Run(tmp_path).checkpoints[-1] / "manifest.json").write_text("{")
    with pytest.raises(BadCheckpoint, match="No sound checkpoint"):
        train(tmp_path, 4)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty and not a run"):
        train(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.txt"]


def test_interrupting_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    options = Options(steps=6, batch=4, threads=1, save=1e9, sample=0, log=1, precision="fp32")
    torch.manual_seed(0)
    with pytest.raises(Interrupted, match=r"step [34]"):
        Trainer("duel", Duel(), Noise(), Run(tmp_path / "run"), options, listener=stop).fit()
    train(tmp_path / "run", 6)
    train(tmp_path / "whole", 6)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_a_budget_ends_the_run_well(tmp_path: Path) -> None:
    trainer = train(tmp_path, 10**6, budget=1e-6)
    assert 1 <= trainer.step < 100
    assert Run(tmp_path).checkpoints


def test_how_long_it_will_take_is_told_after_a_few_steps_of_every_start(tmp_path: Path) -> None:
    heard: list[Progress] = []
    fixed = {"batch": 4, "threads": 1, "save": 1e9, "sample": 0, "log": 1000, "precision": "fp32"}
    for steps in (7, 14):
        Trainer("duel", Duel(), Noise(), Run(tmp_path), Options(steps=steps, **fixed), listener=heard.append).fit()
    assert [progress.step for progress in heard] == [TIMED, 7, 7 + TIMED, 14]
    assert [progress.seconds_left > 0 for progress in heard] == [True, False, True, False]
    assert "7 steps that are left" in estimate(dataclasses.replace(heard[2], steps=18, seconds_left=7500.0))
    assert "2 h 5 min" in estimate(dataclasses.replace(heard[2], seconds_left=7500.0))
    assert estimate(dataclasses.replace(heard[2], seconds_left=59.0)) == ""


def test_samples_are_drawn_with_the_averages(tmp_path: Path) -> None:
    from PIL import Image

    train(tmp_path, 4, sample=2)
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == ["00000002.png", "00000004.png"]
    assert Image.open(tmp_path / "samples" / "00000004.png").size[0] >= 8


def test_bf16_trains(tmp_path: Path) -> None:
    trainer = train(tmp_path, 2, precision="bf16")
    assert all(torch.isfinite(p).all() for p in trainer.system.parameters())


@pytest.mark.parametrize("shard", [[], ["--shard"]], ids=["flat all-reduce", "FSDP2"])
def test_two_processes_reach_the_weights_of_one(tmp_path: Path, shard: list[str]) -> None:
    script = str(HERE / "train_solo.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, str(tmp_path / "one"), "6"], check=True, env=environment)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    subprocess.run([*command, str(tmp_path / "two"), "6", *shard], check=True, env=environment, capture_output=True)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-6, rtol=1e-6)


def test_gradients_that_were_exchanged_lie_like_their_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused Adam goes through both in the order of memory; where they lie otherwise, it mixes them up."""
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    player = Player((layer,), adam(1e-3))
    side = _Side("player", player, {id(parameter): name for name, parameter in layer.named_parameters()})
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    before = [parameter.grad.clone() for parameter in side.parameters]
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: None)
    side._all_reduce()
    for parameter, gradient in zip(side.parameters, before, strict=True):
        assert parameter.grad.stride() == parameter.stride()
        torch.testing.assert_close(parameter.grad, gradient)
