"""The command line: verbs, and nothing else in limner parses arguments.

Each verb is a dataclass whose fields are its options, parsed by tyro; what it imports, it imports when it runs, so
that `limner --help` answers at once.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from limner import __version__
from limner.cli.edits import EditsCost, EditsFilter, EditsPair, EditsShard, EditsSweep, EditsTeach, EditsWrite
from limner.cli.making import Draw, Edit, FilmChoose, FilmClean, FilmStatus, Translate
from limner.cli.models import Convert, Doctor, Published, Systems
from limner.cli.stickers import Book, Fetch, Make, Show
from limner.cli.training import Check, Eval, Resume, Train
from limner.errors import BadInput, Interrupted, LimnerError

GROUPS: dict[str, dict[str, type]] = {
    "data": {"check": Check},
    "stickers": {"fetch": Fetch, "show": Show, "make": Make, "book": Book},
    "edits": {
        "write": EditsWrite,
        "teach": EditsTeach,
        "pair": EditsPair,
        "filter": EditsFilter,
        "shard": EditsShard,
        "cost": EditsCost,
        "sweep": EditsSweep,
    },
}


VERBS: dict[str, tuple[type | None, str]] = {
    "draw": (Draw, "draw pictures from words"),
    "film": (None, "make a narrated film from a story; film status, film choose, film clean"),
    "train": (Train, "train a system"),
    "resume": (Resume, "go on with a training run"),
    "translate": (Translate, "translate pictures with a trained model"),
    "edit": (Edit, "edit pictures by words, one instruction after the other"),
    "eval": (Eval, "measure what a model makes, or a folder of pictures by another"),
    "convert": (Convert, "turn weights that authors have published into a model folder"),
    "published": (Published, "list the weights that authors have released"),
    "data": (None, "data of your own: check"),
    "stickers": (None, "the Sticker World: fetch, show, make, book"),
    "edits": (None, "data for editing by words: write, teach, pair, filter, shard, cost, sweep"),
    "systems": (Systems, "list the systems and their options"),
    "doctor": (Doctor, "what is installed, what is missing, device, disk"),
}


def _help() -> str:
    lines = [f"limner {__version__}: words, pictures and stories become pictures and films."]
    lines += ["", "usage: limner VERB ...", ""]
    lines += [f"  {verb:10} {about}" for verb, (_, about) in VERBS.items()]
    lines += ["", 'limner VERB --help shows its options. Start with: limner draw "a fox under a tree at night" -n 4']
    return "\n".join(lines)


def _parse(kind: type, prog: str, args: Sequence[str]) -> Any:
    import tyro  # loaded only when a verb is parsed; the annotations in the verb's module name it

    vars(sys.modules[kind.__module__])["tyro"] = tyro
    return tyro.cli(kind, prog=prog, args=list(args), description=kind.__doc__, config=(tyro.conf.FlagCreatePairsOff,))


def _film_kind(args: Sequence[str]) -> tuple[type, str, Sequence[str]]:
    """`film status`, `film choose`, `film clean`, or `film STORY`."""
    about = {"status": FilmStatus, "choose": FilmChoose, "clean": FilmClean}
    if args and args[0] in about:
        return about[args[0]], f"limner film {args[0]}", args[1:]
    from limner.jobs.filming import Film

    return Film, "limner film", args


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code. `LimnerError` is raised to the caller."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"limner {__version__}")
        return 0
    verb, rest = args[0], args[1:]
    if verb not in VERBS:
        import difflib

        close = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(VERBS)}."
        raise BadInput(f"There is no verb {verb!r}. {hint}")
    kind, prog = VERBS[verb][0], f"limner {verb}"
    if verb == "film":
        kind, prog, rest = _film_kind(rest)
    elif verb in GROUPS:
        group = GROUPS[verb]
        if not rest or rest[0] not in group:
            wanted = rest[0] if rest and not rest[0].startswith("-") else None
            about = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in group.items()}
            text = "\n".join(f"  limner {verb} {name:6} {line}" for name, line in about.items())
            if wanted:
                raise BadInput(f"limner {verb} has no {wanted!r}. There is:\n{text}")
            print(text)
            return 0
        kind, prog, rest = group[rest[0]], f"{prog} {rest[0]}", rest[1:]
    assert kind is not None
    command = _parse(kind, prog, rest)
    if command.dry_run:
        resolved = command.resolved() if hasattr(command, "resolved") else vars(command)
        print(json.dumps(resolved, indent=2, default=str))
        return 0
    code: int = command.run()
    return code


def main() -> None:
    """The `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal's encoding doesn't
    try:
        code = run(sys.argv[1:])
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("limner: stopped.", file=sys.stderr)
        code = Interrupted.exit_code
    except BrokenPipeError:
        code = 0
    sys.exit(code)
