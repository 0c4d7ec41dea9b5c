"""Which files of a data set belong together: the layouts that people have, found by the names of folders and files.

A folder's name says the part (train, val, test) and what is in it (A, B, labels, instances, images, masks), in one word
or two: `trainA`, `train_label`, `train/A`, `A/train` and `images/training` are all understood.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations

from limner.data.decode import SUFFIXES
from limner.data.files import Files
from limner.data.kinds import Batch, Captioned, Edits, Labelled, Masked, Paired, Pictures, Posed, Unpaired
from limner.errors import BadInput

PARTS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test", "testing": "test"}
ROLES = {
    "a": "A", "source": "A", "b": "B", "target": "B",
    "img": "pictures", "image": "pictures", "images": "pictures", "leftimg8bit": "pictures",
    "label": "labels", "labels": "labels", "classes": "labels", "annotations": "labels", "gtfine": "labels",
    "inst": "instances", "instances": "instances", "mask": "masks", "masks": "masks",
}  # fmt: skip
_FOLDER = re.compile(rf"({'|'.join(PARTS)})?[_-]?({'|'.join(ROLES)})?", re.IGNORECASE)
_CITYSCAPES = re.compile(r"_leftImg8bit$|_gt(?:Fine|Coarse)_(\w+)$")
_ANNOTATION = {"labelIds": "labels", "instanceIds": "instances"}  # what else Cityscapes has is drawn from these


@dataclass(frozen=True)
class Entry:
    """A file, and what its path says.

    key: the path without part, role and suffix; what belongs together has the same
    """

    name: str
    part: str
    role: str
    key: str
    suffix: str


def entry(name: str) -> Entry | None:
    """What a file's name says, or None for a file that no layout uses."""
    *folders, file = name.split("/")
    stem, dot, suffix = file.rpartition(".")
    part, role, rest = "", "", []
    for folder in folders:
        found = _FOLDER.fullmatch(folder)
        says_part, says_role = (found[1] or "", found[2] or "") if found else ("", "")
        if (says_part and part) or (says_role and role) or not (says_part or says_role):
            rest.append(folder)
            continue
        part = PARTS[says_part.lower()] if says_part else part
        role = ROLES[says_role.lower()] if says_role else role
    if marked := _CITYSCAPES.search(stem):
        if marked[1] and marked[1] not in _ANNOTATION:
            return None
        role, stem = _ANNOTATION.get(marked[1] or "", "pictures"), stem[: marked.start()]
    return Entry(name, part, role or "pictures", "/".join([*rest, stem]), (dot + suffix).lower())


class Listing:
    """A data set's files, sorted by part and role.

    where: the place that messages name
    files: what is there
    pictures: the picture files of a part and role
    metadata: the files metadata.jsonl
    unused: how many files of each suffix no layout uses
    """

    def __init__(self, where: str, files: Files) -> None:
        self.where, self.files = where, files
        self.pictures: dict[tuple[str, str], list[Entry]] = {}
        self.unused: Counter[str] = Counter()
        self._texts: dict[tuple[str, str], str] = {}  # part and key -> a file that may hold a picture's captions
        self.metadata: list[str] = []
        for name in files.names:
            found = entry(name)
            if name.rpartition("/")[2] == "metadata.jsonl":
                self.metadata.append(name)
            elif found is not None and found.suffix in SUFFIXES:
                self.pictures.setdefault((found.part, found.role), []).append(found)
            elif found is not None and found.suffix in (".txt", ".json") and found.role == "pictures":
                self._texts[found.part, found.key] = name
            else:
                self.unused[name.rpartition("/")[2].rpartition(".")[2].lower()] += 1

    def text_file(self, one: Entry) -> str | None:
        """The file of the same name that holds a picture's captions."""
        return self._texts.get((one.part, one.key))

    def joints_file(self, one: Entry) -> str | None:
        """What OpenPose wrote about a picture: NAME_keypoints.json, or NAME.json."""
        found = (self._texts.get((one.part, f"{one.key}{end}")) for end in ("_keypoints", ""))
        return next((name for name in found if name and name.endswith(".json")), None)

    @cached_property
    def captions(self) -> dict[str, tuple[str, ...]]:
        """A picture's name -> its captions, from `metadata.jsonl`."""
        return dict(found for found in self._rows if isinstance(found, tuple))

    @cached_property
    def metadata_complaints(self) -> tuple[str, ...]:
        """Which lines of `metadata.jsonl` say nothing of use."""
        return tuple(found for found in self._rows if isinstance(found, str))

    @cached_property
    def _rows(self) -> list[tuple[str, tuple[str, ...]] | str]:
        known, rows = set(self.files.names), list[tuple[str, tuple[str, ...]] | str]()
        for name in self.metadata:
            folder = name.rpartition("/")[0]
            for number, line in enumerate(self.files.read(name).splitlines(), 1):
                try:
                    row = json.loads(line)
                    file = "/".join(part for part in (folder, row["file_name"]) if part)
                    told = texts(row)
                except (ValueError, KeyError, TypeError, RecursionError):
                    if line.strip():
                        rows.append(f'{name}, line {number}: should be {{"file_name": ..., "text": ...}}.')
                    continue
                rows.append((file, told) if file in known else f"{name}, line {number}: there is no {file}.")
        return rows

    @cached_property
    def training(self) -> str:
        """The part that is trained on."""
        return "train" if any(part == "train" for part, _ in self.pictures) else ""

    @cached_property
    def held_out(self) -> str | None:
        """The part that is measured on, if there is one."""
        return next((part for part in ("val", "test") if any(p == part for p, _ in self.pictures)), None)

    def of(self, role: str, part: str) -> list[Entry]:
        return self.pictures.get((part, role), [])


def texts(row: Mapping[str, object]) -> tuple[str, ...]:
    """The captions in a row of metadata. `KeyError` if there are none."""
    told = row["text"] if "text" in row else row["caption"]
    found = tuple(text.strip() for text in (told if isinstance(told, list) else [told]) if isinstance(text, str))
    if not found or not all(found):
        raise KeyError("text")
    return found


Sample = tuple[str, ...]
"""The names of the files that make a sample."""


@dataclass(frozen=True)
class Stream:
    """Samples that are drawn together.

    roles: what each file of a sample is: A, B, both (side by side), pictures, labels, instances, masks, words,
        joints or triplet (what an edit says)
    choices: of a sample that stands for several, all of them: a draw takes one
    """

    roles: tuple[str, ...]
    samples: tuple[Sample, ...]
    choices: Mapping[Sample, tuple[Sample, ...]] = field(default_factory=dict, compare=False)

    def of(self, sample: Sample) -> tuple[Sample, ...]:
        """What a draw of a sample can take."""
        return self.choices.get(sample, (sample,))

    @property
    def every(self) -> tuple[Sample, ...]:
        return tuple(one for sample in self.samples for one in self.of(sample))


@dataclass(frozen=True)
class Layout:
    """Samples of one kind.

    how: in words
    streams: two, where what they hold doesn't belong together
    complaints: files that are left out, and why
    words: what is said of a sample whose words are in no file of its own
    held_out: the part to measure on, where the layout itself divides the samples
    """

    how: str
    streams: tuple[Stream, ...]
    complaints: tuple[str, ...] = ()
    words: Mapping[Sample, tuple[str, ...]] = field(default_factory=dict)
    held_out: str | None = None

    def __str__(self) -> str:
        counts = " and ".join(f"{len(stream.samples):,}" for stream in self.streams)
        return f"{counts} {self.how}"


def _joined(**roles: list[Entry]) -> tuple[Stream, tuple[str, ...]]:
    """Samples of the files whose keys are there in every role, and complaints about the rest."""
    complaints: list[str] = []
    tables: list[dict[str, Entry]] = []
    for entries in roles.values():
        tables.append({})
        for one in entries:
            if one.key in tables[-1]:
                complaints.append(f"{one.name} is left out: {tables[-1][one.key].name} has the same name.")
            else:
                tables[-1][one.key] = one
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    for table in tables:
        lost = [table[key].name for key in table.keys() - set(shared)]
        complaints += [f"{name} is left out: nothing of the same name belongs to it." for name in sorted(lost)]
    return Stream(tuple(roles), tuple(tuple(table[key].name for table in tables) for key in shared)), tuple(complaints)


def _single(role: str, entries: list[Entry]) -> Stream:
    return Stream((role,), tuple((one.name,) for one in entries))


def _paired(listing: Listing, part: str) -> Layout:
    a, b, flat = listing.of("A", part), listing.of("B", part), listing.of("pictures", part)
    if a and b:
        stream, complaints = _joined(A=a, B=b)
        if not stream.samples:
            raise BadInput("A and B have no names in common: the two pictures of a pair have the same name.")
        return Layout("pairs of A and B by name", (stream,), complaints)
    if any(one.name in listing.captions or listing.text_file(one) for one in flat):
        raise BadInput("these are pictures with captions, not pairs.")
    if a or b or not flat or listing.of("labels", part):
        raise BadInput("pairs are files of the same names in A and B, or pictures side by side in one file.")
    return Layout("pairs side by side in one file", (_single("both", flat),))


def _unpaired(listing: Listing, part: str) -> Layout:
    a, b = listing.of("A", part), listing.of("B", part)
    if not (a and b):
        raise BadInput("two domains are pictures in trainA and trainB (or in A and B).")
    return Layout("pictures of A and of B", (_single("A", a), _single("B", b)))


def _labelled(listing: Listing, part: str) -> Layout:
    pictures, labels, instances = (listing.of(role, part) for role in ("pictures", "labels", "instances"))
    if not (pictures and labels):
        raise BadInput("label maps are files of the same names in train_img, train_label and, if any, train_inst.")
    stream, complaints = _joined(pictures=pictures, labels=labels, **({"instances": instances} if instances else {}))
    if not stream.samples:
        raise BadInput("pictures and label maps have no names in common.")
    return Layout(f"pictures with label maps {'and' if instances else 'but no'} instance maps", (stream,), complaints)


def _masked(listing: Listing, part: str) -> Layout:
    pictures, masks = listing.of("pictures", part), listing.of("masks", part)
    if not pictures:
        raise BadInput("there are no pictures; masks, in masks beside images, are white where something is filled in.")
    if not masks:
        return Layout("pictures, with strokes drawn over them as masks", (_single("pictures", pictures),))
    if {one.key for one in pictures} <= {one.key for one in masks}:
        stream, complaints = _joined(pictures=pictures, masks=masks)
        return Layout("pictures with masks of their own", (stream,), complaints)
    return Layout("pictures and masks", (_single("pictures", pictures), _single("masks", masks)))


MOST_PAIRS = 2_000_000


def _posed(listing: Listing, part: str) -> Layout:
    people: dict[str, list[tuple[str, str]]] = {}
    lost: list[str] = []
    for one in listing.of("pictures", part):
        if file := listing.joints_file(one):
            folder, _, stem = one.key.rpartition("/")
            name, several, _ = stem.partition("_")
            people.setdefault(f"{folder}/{name}" if several else folder, []).append((one.name, file))
        else:
            lost.append(f"{one.name} is left out: it has no joints.")
    if sum(len(shots) * (len(shots) - 1) for shots in people.values()) > MOST_PAIRS:
        raise BadInput(f"its pictures of the same people make more than {MOST_PAIRS:,} pairs. Leave some out.")
    pairs = [(*a, *b) for shots in people.values() for a, b in permutations(shots, 2)]
    if not pairs:
        raise BadInput(
            "poses are pictures with OpenPose's NAME_keypoints.json beside each, two or more of a person: of the same "
            "name up to the first underscore, or in a folder of their own."
        )
    how = f"pairs of pictures of {len(people):,} people with joints"
    return Layout(how, (Stream(("pictures", "joints") * 2, tuple(pairs)),), tuple(lost))


def _captioned(listing: Listing, part: str) -> Layout:
    samples: list[Sample] = []
    lost: list[str] = []
    for one in listing.of("pictures", part):
        if one.name in listing.captions:
            samples.append((one.name,))
        elif file := listing.text_file(one):
            samples.append((one.name, file))
        else:
            lost.append(f"{one.name} is left out: it has no caption.")
    if not samples:
        raise BadInput(
            'captions are lines {"file_name": ..., "text": ...} of metadata.jsonl, or .txt files named as the pictures.'
        )
    return Layout(
        "pictures with captions",
        (Stream(("pictures", "words"), tuple(samples)),),
        (*listing.metadata_complaints, *lost),
    )


def _pictures(listing: Listing, part: str) -> Layout:
    found = [one for role in ("pictures", "A", "B") for one in listing.of(role, part)]
    if not found:
        raise BadInput("there are no pictures.")
    return Layout("pictures", (_single("pictures", found),))


_EDIT_FOLDER = re.compile(r"(?:(.*)/)?([^/]+)/(\d+)_([01])\.\w+")
_EDIT_SHARD = re.compile(r"(before|after)/((?:[^/]+/)*)(\w+)-(\d+)\.\w+")
SPLITS = {"": (0.0, 0.9), "train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}
"""Which of the prompts, in order, belong to a part of edits: their numbers are cut at the whole number below."""


def _edits(listing: Listing, part: str) -> Layout:
    """Edits as the published program writes them, as `limner edits shard` packs them, or with a metadata.jsonl."""
    found: dict[str, dict[str, dict[str, str]]] = {}  # prompt -> seed -> which of the two pictures -> file
    said: dict[str, str] = {}  # prompt, or prompt and seed -> the file with the triplet
    names = set(listing.files.names)
    for name in listing.files.names:
        if folder := _EDIT_FOLDER.fullmatch(name):
            prompt = "/".join(filter(None, folder.group(1, 2)))
            if f"{prompt}/prompt.json" in names and name.lower().endswith(SUFFIXES):
                found.setdefault(prompt, {}).setdefault(folder[3], {})[folder[4]] = name
                said[prompt] = f"{prompt}/prompt.json"
        elif shard := _EDIT_SHARD.fullmatch(name):
            triplet = f"{shard[2]}{shard[3]}-{shard[4]}.json"
            if triplet in names and name.lower().endswith(SUFFIXES):
                prompt = shard[3]  # whose pairs may be in two shards
                found.setdefault(prompt, {}).setdefault(shard[4], {})["01"[shard[1] == "after"]] = name
                said[prompt] = triplet
    if not found:
        return _edits_by_rows(listing, part)
    complaints: list[str] = []
    chosen = _chosen(listing)
    prompts: list[tuple[Sample, ...]] = []
    for prompt in sorted(found):
        samples = []
        for seed, pictures in sorted(found[prompt].items()):
            if len(pictures) < 2:
                complaints.append(
                    f"{next(iter(pictures.values()))} is left out: the other picture of the pair is missing."
                )
            elif chosen is None or seed in chosen.get(prompt, ()):
                samples.append((pictures["0"], pictures["1"], said[prompt]))
        if samples:
            prompts.append(tuple(samples))
    if not prompts:
        raise BadInput("seeds.json chooses none of its pairs: choose others with limner edits filter.")
    return _divided("prompts of edits with one or more pairs each", prompts, part, tuple(complaints), {})


def _chosen(listing: Listing) -> dict[str, list[str]] | None:
    """What `seeds.json` chooses: a prompt's folder -> seeds; None without such a file."""
    if "seeds.json" not in listing.files.names:
        return None
    try:
        return {
            str(folder): [str(seed) for seed in seeds] for folder, seeds in json.loads(listing.files.read("seeds.json"))
        }
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"seeds.json should be a list of [folder, [seeds]]: {error}. limner edits filter writes it."
        ) from error


def _edits_by_rows(listing: Listing, part: str) -> Layout:
    """Rows of metadata.jsonl with the hub's column names."""
    names, words, complaints = set(listing.files.names), dict[Sample, tuple[str, ...]](), list[str]()
    for name in listing.metadata:
        folder = name.rpartition("/")[0]
        for number, line in enumerate(listing.files.read(name).splitlines(), 1):
            try:
                row = json.loads(line)
                files = [row[key] for key in ("original_image", "edited_image")]
                before, after = ("/".join(filter(None, (folder, file))) for file in files)
                instruction = str(row["edit_prompt"]).strip()
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if before not in names or after not in names:
                complaints.append(f"{name}, line {number}: there is no {before if before not in names else after}.")
            elif instruction:
                captions = (str(row.get(key) or "") for key in ("original_prompt", "edited_prompt"))
                words[before, after] = (instruction, *captions)
    if not words:
        raise BadInput(
            "edits are folders of <seed>_0.jpg, <seed>_1.jpg and prompt.json, shards of them (limner edits shard), or "
            'lines {"original_image": ..., "edit_prompt": ..., "edited_image": ...} of metadata.jsonl.'
        )
    return _divided("edits", [(sample,) for sample in words], part, tuple(complaints), words)


def _divided(
    how: str,
    prompts: list[tuple[Sample, ...]],
    part: str,
    complaints: tuple[str, ...],
    words: dict[Sample, tuple[str, ...]],
) -> Layout:
    """A part of the prompts, each of which may have several samples."""
    first, last = (int(share * len(prompts)) for share in SPLITS[part])
    if part == "" and last == 0:
        last = 1
    mine = prompts[first:last]
    if not mine:
        raise BadInput(f"{len(prompts)} prompts are too few for a part {part}.")
    choices = {samples[0]: samples for samples in mine if len(samples) > 1}
    stream = Stream(("before", "after", "triplet"), tuple(samples[0] for samples in mine), choices)
    held_out = "val" if part in ("", "train") and int(0.95 * len(prompts)) > last else None
    return Layout(how, (stream,), complaints, words, held_out)


LAYOUTS: dict[type[Batch], Callable[[Listing, str], Layout]] = {
    Edits: _edits,
    Paired: _paired,
    Unpaired: _unpaired,
    Labelled: _labelled,
    Masked: _masked,
    Posed: _posed,
    Captioned: _captioned,
    Pictures: _pictures,
}
"""How the samples of each kind are found among a part's files; `BadInput` says what would do."""
