import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import compvis_layout
from limner.errors import BadInput
from limner.parity import SYSTEMS
from limner.parity import __main__ as command
from limner.parity.check import check, network_for, verdict
from limner.parity.compare import compare
from limner.parity.fill import summary
from limner.parity.record import Record
from limner.published import compvis

RECORDS = Path(__file__).parent / "parity"
SOURCE = Path(sys.modules["limner.parity"].__file__).parent


def content(name):
    return json.loads((RECORDS / f"latent-diffusion-{name}.json").read_text())


def written(tmp_path, record):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    return path


def test_the_filling_is_the_one_the_records_were_made_with():
    assert (SOURCE / "fill.py").read_bytes() == (RECORDS / "fill.py").read_bytes()


@pytest.mark.parametrize("name", ["unet", "vae", "vae-full", "text-encoder", "schedule", "ddim"])
def test_latent_diffusion_is_the_published_one(name):
    result = verdict(RECORDS / f"latent-diffusion-{name}.json")
    assert result.passed, "\n".join(result.lines)


def test_every_record_has_a_network():
    for path in RECORDS.glob("*.json"):
        network_for(Record.read(path))


def test_the_layouts_of_these_tests_are_the_published_ones():
    """Guards compvis_layout.py, from which other tests make checkpoints of other sizes."""

    def recorded(name):
        return {key: tuple(shape) for key, shape in content(name)["state"].items()}

    widths = (32, 64, 128, 128)
    assert compvis_layout.unet(widths, (True, True, True, False), 2, 24) == recorded("unet")
    assert compvis_layout.autoencoder(widths, 2) == recorded("vae")
    assert compvis_layout.text(200, 48, 3, 192) == recorded("text-encoder")


def test_a_record_of_another_size_seed_and_shape(tmp_path):
    """Ours, run on a U-Net of other options, inputs and seeds, made into a record, which must pass, and then spoilt."""
    record = content("unet")
    record["options"] |= {"channel_mult": [1, 2], "attention_resolutions": [2], "num_res_blocks": 1, "context_dim": 40}
    layout = compvis_layout.unet((32, 64), (False, True), 1, 40)
    record |= {"state": {name: list(shape) for name, shape in layout.items()}, "seed": 7}
    for name, shape in {"x": [2, 4, 12, 6], "context": [2, 5, 40], "timesteps": [2]}.items():
        record["inputs"][name] |= {"shape": shape, "seed": 5}
    record["inputs"]["timesteps"]["transform"] = "float timesteps [3, 998.25]"
    ours = network_for(Record(tmp_path, record)).outputs(Record(tmp_path, record))
    assert ours["eps"].shape == (2, 4, 12, 6)
    record["outputs"] = {name: summary(ours[name]) for name in record["outputs"]}
    record["n_params"] = sum(torch.empty(shape, device="meta").numel() for shape in layout.values())
    path = written(tmp_path, record)
    assert verdict(path).passed

    changed = copy.deepcopy(record)
    changed["inputs"]["x"]["seed"] = 6
    assert not verdict(written(tmp_path, changed)).passed
    changed = copy.deepcopy(record)
    changed["seed"] = 8
    assert not verdict(written(tmp_path, changed)).passed


def test_ddim_with_noise_takes_it_from_the_record(tmp_path):
    record = content("ddim")
    record["options"] |= {"ddim_steps": 2, "ddim_eta": 1.0}
    record["inputs"]["z"]["shape"] = record["inputs"]["noise"]["shape"] = [1, 4, 8, 8]
    outputs = network_for(Record(tmp_path, record)).outputs(Record(tmp_path, record))
    assert outputs["ddim_timesteps"] == [1, 501]
    record["inputs"]["noise"]["transform"] = "step i: 2*make_input('noise%d' % i)"
    louder = network_for(Record(tmp_path, record)).outputs(Record(tmp_path, record))
    assert not torch.allclose(outputs["final_latent"], louder["final_latent"])


def test_a_key_too_many_or_too_few_is_an_error(tmp_path):
    record = content("text-encoder")
    record["state"]["transformer.text_model.extra.weight"] = [3]
    assert "no place" in verdict(written(tmp_path, record)).lines[0]
    record = content("unet")
    del record["state"]["out.2.bias"]
    assert "lacks conv_out.bias" in verdict(written(tmp_path, record)).lines[0]
    del record["options"]["num_heads"]
    assert "can't be checked as it is: KeyError: 'num_heads'" in verdict(written(tmp_path, record)).lines[0]
    with pytest.raises(Exception, match="not the name of anything"):
        compvis.unet_names([*content("unet")["state"], "whatever.weight"])


@pytest.mark.parametrize(
    ("expected", "given", "passes"),
    [
        (1.0, 1.00001, True),
        (1.0, 1.01, False),
        ([1.0, 2.0], torch.tensor([1.0, 2.0]), True),
        ([1.0, 2.0], [1.0, 2.0, 3.0], False),
        ([[1, 2], [3, 4]], torch.tensor([[1, 2], [3, 5]]), False),
        ({"0": 1.0, "3": 4.0}, torch.tensor([1.0, 2.0, 3.0, 4.0]), True),
        ({"0": 1.0, "9": 4.0}, torch.tensor([1.0, 2.0, 3.0, 4.0]), False),
        ({"a": {"x": 1.0}}, {"a": {"x": 1.0}}, True),
        ({"a": {"x": 1.0}}, {"a": {"y": 1.0}}, False),
        ([float("inf")], [float("inf")], True),
        ([0.0], [float("nan")], False),
        ("relu", "relu", True),
        ("relu", "gelu", False),
        ([], [], True),
    ],
)
def test_comparing(expected, given, passes):
    assert compare("output", expected, given).within(1e-4) is passes


def test_a_summary_is_met_in_all_its_parts():
    numbers = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert compare("output", summary(numbers), numbers).within(1e-9)
    for part, value in {"mean": 3.0, "std": 3.0, "shape": [5, 4]}.items():
        assert not compare("output", summary(numbers) | {part: value}, numbers).within(1e-4)
    constant = torch.full((3,), 2.0)
    assert compare("output", summary(constant), constant + 1e-5).within(1e-4)
    assert not compare("output", summary(constant), constant + 1e-3).within(1e-4)


def test_formulas_are_read_and_nothing_else(tmp_path):
    record = Record(tmp_path, content("ddim"))
    assert record.input("z").std() == pytest.approx(1, abs=0.1)
    assert record.input("z", "floor((x + 1) / 2 * 10)").max() <= 9
    for bad in ("__import__('os')", "x.grad", "open('file')", "x if x else x", "make_input(", "9**9**9"):
        with pytest.raises(BadInput, match="not a formula"):
            record.input("z", bad)


def test_a_second_filling_is_checked_on_its_own(tmp_path):
    record = content("schedule")
    record["state"] = {"a.weight": [2, 8], "b.bias": [3]}
    record["post_fill"] = {
        "rules": [{"match": "weight$", "op": "fan_in", "factor": 2.0}, {"match": "bias$", "op": "add", "factor": 1.0}]
    }
    record["outputs_post_fill"] = record["outputs"]
    path = written(tmp_path, record)
    assert [filled.post_filled for filled, _, _ in check(Record.read(path))] == [False, True]
    plain, filled = Record(path, record).state(), Record(path, record, post_filled=True).state()
    assert torch.allclose(filled["a.weight"], plain["a.weight"] * 2 * 8**0.5)
    assert torch.equal(filled["b.bias"], plain["b.bias"] + 1)


def test_the_command(tmp_path):
    """Two good records side by side, one that fails, one that is unknown, one that isn't there: one line says why."""
    wrong = content("schedule")
    wrong["outputs"]["sigma_max"] = 15.0
    unknown = content("schedule") | {"system": "perpetual-motion"}
    paths = [RECORDS / "latent-diffusion-schedule.json", tmp_path / "wrong.json", tmp_path / "unknown.json"]
    paths[1].write_text(json.dumps(wrong))
    paths[2].write_text(json.dumps(unknown))
    call = [sys.executable, "-m", "limner.parity", *map(str, paths), str(tmp_path / "none.json"), "--jobs", "2"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BAD sigma_max: largest difference 3.85e-01" in done.stdout
    assert f"there is {', '.join(SYSTEMS)}" in done.stdout
    assert "1 of 4 records pass" in done.stdout


def test_what_has_passed_is_remembered_until_something_changes(tmp_path, monkeypatch, capsys):
    record = tmp_path / "schedule.json"
    record.write_text(json.dumps(content("schedule")))
    options = ["parity", str(record), "--cache", str(tmp_path / "kept"), "--page", str(tmp_path / "page.md")]
    checked = []
    monkeypatch.setattr(command, "verdict", lambda path: checked.append(path) or verdict(path))
    monkeypatch.setattr(sys, "argv", options)
    assert command.main() == command.main() == 0
    assert checked == [record] and capsys.readouterr().out.count("1 of 1 records pass") == 2
    assert "| latent-diffusion | schedule | 14 | " in (tmp_path / "page.md").read_text()

    wrong = content("schedule")
    wrong["outputs"]["sigma_max"] = 15.0
    record.write_text(json.dumps(wrong))
    assert command.main() == command.main() == 1
    assert checked == [record] * 3, "a failure is not remembered"
    monkeypatch.setattr(command, "_code", lambda: b"another program")
    record.write_text(json.dumps(content("schedule")))
    assert command.main() == 0 and len(checked) == 4
