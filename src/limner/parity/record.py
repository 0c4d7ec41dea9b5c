"""A parity record, and the numbers it asks for."""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.parity.fill import fill_state_dict, fill_tensor, make_input


@dataclass(frozen=True)
class Network:
    """How to get our outputs for a record: `outputs(record)` returns them by the record's own names.

    A value is a tensor, a number, a list, or a dict, as the record has it; `n_params...` entries are compared with
    the record's counts. A `tolerance` other than 1e-4 (of the output's standard deviation) says why.
    """

    outputs: Callable[[Record], Mapping[str, Any]]
    tolerance: float = 1e-4
    because: str = ""


@dataclass(frozen=True)
class Record:
    """One record: the JSON under `content`, and whether its second filling (`post_fill`) is on."""

    path: Path
    content: Mapping[str, Any] = field(repr=False)
    post_filled: bool = False

    @classmethod
    def read(cls, path: Path) -> Record:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"{path}: can't read this parity record: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: not a parity record: it should be JSON, but {error}") from None
        missing = {"system", "network", "options", "state", "inputs", "outputs"} - (
            content.keys() if isinstance(content, dict) else set()
        )
        if missing:
            raise BadInput(f"{path}: not a parity record: it lacks {', '.join(sorted(missing))}")
        return cls(path, content)

    @property
    def system(self) -> str:
        return str(self.content["system"])

    @property
    def network(self) -> str:
        return str(self.content["network"])

    @property
    def options(self) -> Mapping[str, Any]:
        """The published options the network was built with."""
        options: Mapping[str, Any] = self.content["options"]
        return options

    @property
    def seed(self) -> int:
        """The seed of filling, and of the inputs that name none."""
        return int(self.content.get("fill_seed", self.content.get("seed", 0)))

    @property
    def expected(self) -> dict[str, Any]:
        """Every output that must be met, and the parameter counts. How far the published program's rounding alone
        takes its result is no output."""
        outputs = dict(self.content["outputs_post_fill" if self.post_filled else "outputs"])
        outputs.pop("max_abs_diff_float32_float64", None)
        counts = {name: count for name, count in self.content.items() if name.startswith("n_params")}
        return {**outputs, **counts}

    def state(self, built: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The published state dict, filled: every key of the record's `state`, float32.

        `built` holds the entries that stay as the published program built them: those under `skip`, and integers.
        """
        built = dict(built or {})
        skip = tuple(self.content.get("skip", ()))
        empty = {
            name: built.get(name, torch.empty(shape))
            for name, shape in self.content["state"].items()
            if name in built or not (skip and name.endswith(skip))
        }
        state = fill_state_dict(empty, self.seed, skip)
        if self.post_filled:
            rules = self.content["post_fill"]["rules"]
            state = {
                name: value if name in built else self._post_fill(rules, name, value) for name, value in state.items()
            }
        return state

    def _post_fill(self, rules: list[Mapping[str, Any]], name: str, value: Tensor) -> Tensor:
        rule = next((rule for rule in rules if re.search(rule["match"], name)), None)
        if rule is None:
            return value
        factor = float(rule["factor"])
        match rule["op"]:
            case "fan_in":
                return value * factor * math.sqrt(math.prod(value.shape[1:]))
            case "scale":
                return value * factor
            case "add":
                return value + factor
            case "running_var":
                return fill_tensor(f"{name}.running_var", tuple(value.shape), self.seed)
        raise BadInput(f"{self.path}: unknown post_fill operation {rule['op']!r}")

    def transform(self, name: str) -> str:
        """How the record says, in words and formulas, that input `name` is made."""
        return str(self._input(name).get("transform") or "none")

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._input(name)["shape"])

    def input(self, name: str, formula: str | None = None) -> Tensor:
        """Input `name`, made by the formula that its transform begins with, or by another one given here.

        A formula has `+ - * /`, numbers, `sqrt`, `floor`, `make_input('NAME')`, and `x` for `make_input` of the
        input's own name; "none", "as is" and the like mean `x`. The words after the formula are the caller's to obey.
        """
        text = formula or re.split(r"[,;:]\s", self.transform(name))[0].strip()
        if re.match(r"(none|as is|make_input)\b(?!\()", text):
            text = "x"
        try:
            value = self._evaluate(ast.parse(text, mode="eval").body, name)
        except SyntaxError:
            raise BadInput(f"{self.path}: input {name!r}: {text!r} is not a formula this check knows") from None
        return torch.as_tensor(value)

    def _input(self, name: str) -> Mapping[str, Any]:
        entry = self.content["inputs"].get(name)
        if entry is None:
            raise BadInput(f"{self.path}: the record has no input {name!r}; it has {', '.join(self.content['inputs'])}")
        found: Mapping[str, Any] = entry
        return found

    def _evaluate(self, node: ast.expr, name: str) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id="x"):
                return self._drawn(name, name)
            case ast.Call(func=ast.Name(id="make_input"), args=[ast.Constant(value=str() as drawn), *_]):
                return self._drawn(drawn, name)
            case ast.Call(func=ast.Name(id="sqrt"), args=[inner]):
                return math.sqrt(self._evaluate(inner, name))
            case ast.Call(func=ast.Name(id="floor"), args=[inner]):
                return torch.floor(self._evaluate(inner, name))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._evaluate(inner, name)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right=right):
                return _OPERATORS[type(op)](self._evaluate(left, name), self._evaluate(right, name))
        raise BadInput(f"{self.path}: input {name!r}: {ast.unparse(node)!r} is not a formula this check knows")

    def _drawn(self, drawn: str, name: str) -> Tensor:
        seed = self._input(name).get("seed")
        return make_input(drawn, self.shape(name), self.seed if seed is None else int(seed))


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
