"""Edits: a scene, an instruction in words, and the scene that obeys it and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from limner.stickers import captions
from limner.stickers.backdrop import STAGES
from limner.stickers.captions import NUMBERS, describe, split, the
from limner.stickers.vocabulary import PLACES, Noun, noun, nouns
from limner.stickers.world import (
    ONLY_ONE,
    ROWS,
    SIDES,
    Builder,
    Draws,
    Relation,
    SceneTruth,
    Thing,
    collide,
    compose,
    depth_of,
    times_of,
    weathers_of,
    zones,
)

Change = tuple[SceneTruth, str, SceneTruth]  # before, instruction, after

_PUT = ("put",)  # where there is something to put it on, in or beside
_ADD = ("add", "draw")
_REMOVE = ("remove", "take away", "erase")
_REPLACE = ("replace {} with {}", "turn {} into {}", "swap {} for {}")
_PAINT = ("make", "paint", "colour")
_BIGGER, _SMALLER = ("bigger", "larger"), ("smaller",)
_MOVE = ("move", "put")
_WHERE = ("to the far left", "to the middle", "to the far right")
_SWAP = ("swap {} and {}", "let {} and {} change places")
_COUNT = ("make it {} {}",)
_PLACE_ORDERS = ("put everything {}", "change the place: {}")
_SEASON_ORDERS = ("make it {}", "change the season to {}")
_TIME_ORDERS = {
    "day": ("make it day", "change it to daytime"),
    "dusk": ("make it dusk", "change it to sunset"),
    "night": ("make it night", "turn it into a night scene"),
}
_WEATHER_ORDERS = {
    "clear": ("clear the weather", "make the weather fine"),
    "cloudy": ("make it cloudy", "cover the sky with clouds"),
    "rain": ("make it rain", "let it rain"),
    "snowfall": ("make it snow", "let snow fall"),
    "fog": ("add fog", "make it foggy"),
}
_STYLE_ORDERS = {
    "fluent": ("make it a flat picture", "turn it into a flat picture"),
    "noto": ("make it a shaded picture", "turn it into a shaded picture"),
    "line": ("make it a line drawing", "turn it into a line drawing"),
}


@dataclass(frozen=True)
class Edit:
    """What was asked (`kind` is one of `EDITS`), in words, and both truths."""

    kind: str
    before: SceneTruth
    instruction: str
    after: SceneTruth


def edit(
    seed: int, index: int, *, kind: str | None = None, nouns: Sequence[Noun] | None = None, columns: int = 32
) -> Edit:
    """The edit of `(seed, index)`; of one kind, or of any."""
    draws = Draws(seed, "edit", index)
    wanted = kind or draws.pick(tuple(EDITS))
    attempt = 0
    while True:
        truth = compose(seed, int(draws.uniform() * 2**53), nouns=nouns, columns=columns)
        change = EDITS[wanted](truth, draws, nouns)
        if change is not None:
            return Edit(wanted, *change)
        attempt += 1
        if attempt == 200:  # these nouns don't allow it (none can be painted, say)
            wanted, attempt = "time", 0


def _with(truth: SceneTruth, things: Iterable[Thing | None]) -> SceneTruth:
    """The scene with its things replaced one by one; `None` takes a thing away, and what it was related to with it."""
    kept = list(things)
    numbers: dict[int, int] = {}
    for k, thing in enumerate(kept):
        if thing is not None:
            numbers[k] = len(numbers)
    arranged = tuple(
        Relation(numbers[r.subject], r.kind, numbers[r.target])
        for r in truth.arranged
        if r.subject in numbers and r.target in numbers
    )
    return replace(truth, things=tuple(thing for thing in kept if thing is not None), arranged=arranged)


def _free(truth: SceneTruth) -> list[int]:
    """The things that are the only ones of their kind and in no arranged relation: they can be changed alone."""
    tied = {k for r in truth.arranged for k in (r.subject, r.target)}
    counts = truth.counts
    return [k for k, thing in enumerate(truth.things) if k not in tied and counts[thing.kind] == 1]


def _fits(thing: Thing, truth: SceneTruth, ignoring: Sequence[int]) -> bool:
    """Whether a thing is inside the picture and hides none of the others."""
    inside = thing.left >= 0 and thing.left + thing.side <= truth.columns and thing.top >= 0
    others = (other for k, other in enumerate(truth.things) if k not in ignoring)
    return inside and not any(collide(thing.left, thing.bottom, thing.side, other) for other in others)


def _removed(truth: SceneTruth, draws: Draws) -> tuple[SceneTruth, Thing, int, str] | None:
    """A scene without one of its kinds, that kind, how many there were, and where the last one was."""
    carriers = {truth.things[r.target].kind for r in truth.arranged}
    kinds = [kind for kind in truth.counts if kind not in carriers]
    if len(truth.counts) < 2 or not kinds:
        return None
    kind = draws.pick(kinds)
    gone = [k for k, thing in enumerate(truth.things) if thing.kind == kind]
    where = next((f" {r.kind} {the(truth.things[r.target])}" for r in truth.arranged if r.subject == gone[0]), "")
    rest = without(truth, gone)
    return rest, truth.things[gone[0]], len(gone), where.replace(" inside ", " in ")


def _add(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    removed = _removed(truth, draws)
    if removed is None:
        return None
    rest, thing, count, where = removed
    verb = draws.pick(_PUT if where else _ADD)
    return rest, f"{verb} {describe(thing, count)}{where}", truth


def _remove(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    removed = _removed(truth, draws)
    if removed is None:
        return None
    rest, thing, count, _ = removed
    return truth, f"{draws.pick(_REMOVE)} {the(thing, count)}", rest


def _replace(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    if not (free := _free(truth)):
        return None
    k = draws.pick(free)
    old = truth.things[k]
    present = {thing.noun for thing in truth.things}
    size = noun(old.noun).size
    others = [
        n
        for n in (nouns() if pool is None else pool)
        if n.size == size and n.name not in present and old.zone in zones(n.name, truth.place)
    ]
    others = [n for n in others if truth.time in times_of(truth.place, (present - {old.noun}) | {n.name})]
    if not others:
        return None
    new = replace(old, noun=draws.pick(others).name, colour=None)
    form = draws.pick(_REPLACE)
    after = _with(truth, (new if j == k else thing for j, thing in enumerate(truth.things)))
    return truth, form.format(the(old), describe(new)), after


def _recolour(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    counts = truth.counts
    paintable = [k for k, t in enumerate(truth.things) if noun(t.noun).colours and counts[t.kind] == 1]
    if not paintable:
        return None
    k = draws.pick(paintable)
    old = truth.things[k]
    colour = draws.pick([c for c in noun(old.noun).colours if c != old.colour])
    after = _with(truth, (replace(t, colour=colour) if j == k else t for j, t in enumerate(truth.things)))
    return truth, f"{draws.pick(_PAINT)} {the(old)} {colour}", after


def _resize(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    if not (free := _free(truth)):
        return None
    k = draws.pick(free)
    old = truth.things[k]
    ladder = ("small", "normal", "big")
    step = 1 if old.size == "small" or (old.size == "normal" and draws.chance(0.5)) else -1
    size = ladder[ladder.index(old.size) + step]
    side = SIDES[noun(old.noun).size][size]
    new = replace(old, size=size, side=side, left=old.left + (old.side - side) // 2)
    if not _fits(new, truth, [k]):
        return None
    after = _with(truth, (new if j == k else thing for j, thing in enumerate(truth.things)))
    bare = replace(old, size="normal")
    return truth, f"make {the(bare)} {draws.pick(_BIGGER if step > 0 else _SMALLER)}", after


def _move(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    if not (free := _free(truth)):
        return None
    k = draws.pick(free)
    old = truth.things[k]
    lefts = dict(zip(_WHERE, (0, (truth.columns - old.side) // 2, truth.columns - old.side), strict=True))
    new = {where: replace(old, left=left) for where, left in lefts.items() if abs(left - old.left) >= 4}
    possible = [where for where, thing in new.items() if _fits(thing, truth, [k])]
    if not possible:
        return None
    where = draws.pick(possible)
    after = _with(truth, (new[where] if j == k else thing for j, thing in enumerate(truth.things)))
    return truth, f"{draws.pick(_MOVE)} {the(old)} {where}", after


def _swap(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    free = _free(truth)
    pairs = [(a, b) for a in free for b in free if a < b and truth.things[a].zone == truth.things[b].zone]
    if not pairs:
        return None
    a, b = draws.pick(pairs)
    one, other = truth.things[a], truth.things[b]
    new_one = replace(one, left=other.left + (other.side - one.side) // 2)
    new_other = replace(other, left=one.left + (one.side - other.side) // 2)
    apart = not collide(new_one.left, new_one.bottom, new_one.side, new_other)
    if not (apart and _fits(new_one, truth, [a, b]) and _fits(new_other, truth, [a, b])):
        return None
    things = [new_one if k == a else new_other if k == b else thing for k, thing in enumerate(truth.things)]
    form = draws.pick(_SWAP)
    return truth, form.format(the(one), the(other)), _with(truth, things)


def _count(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    tied = {truth.things[k].kind for r in truth.arranged for k in (r.subject, r.target)}
    kinds = [kind for kind in truth.counts if kind not in tied and kind[0] not in ONLY_ONE]
    if not kinds:
        return None
    kind = draws.pick(kinds)
    have = [k for k, thing in enumerate(truth.things) if thing.kind == kind]
    thing = truth.things[have[0]]
    builder = Builder(draws, truth.place, truth.columns)
    builder.placed = [(0.0, other) for other in truth.things]
    while len(have) + len(builder.placed) - len(truth.things) < 4 and draws.chance(0.7):
        spot = builder.free(thing)
        if spot is None:
            break
        builder.placed.append((0.0, spot))
    extra = [spot for _, spot in builder.placed[len(truth.things) :]]
    if extra:
        after = _inserted(truth, extra)
        wanted = len(have) + len(extra)
    elif len(have) > 1:
        wanted = 1 + int(draws.uniform() * (len(have) - 1))
        after = _with(truth, (None if k in have[wanted:] else t for k, t in enumerate(truth.things)))
    else:
        return None
    if extra and draws.chance(0.5):  # and back again
        truth, after, wanted = after, truth, len(have)
    what = noun(thing.noun)
    order = draws.pick(_COUNT).format(NUMBERS[wanted], what.name if wanted == 1 else what.plural)
    return truth, order, after


def _inserted(truth: SceneTruth, extra: Sequence[Thing]) -> SceneTruth:
    """The scene with more things, each drawn before the first that is nearer."""
    things: list[tuple[int | None, Thing]] = list(enumerate(truth.things))
    for new in extra:
        nearer = (j for j, (_, thing) in enumerate(things) if depth_of(thing) > depth_of(new))
        things.insert(next(nearer, len(things)), (None, new))
    places = {k: j for j, (k, _) in enumerate(things) if k is not None}
    arranged = tuple(Relation(places[r.subject], r.kind, places[r.target]) for r in truth.arranged)
    return replace(truth, things=tuple(thing for _, thing in things), arranged=arranged)


def _time(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    times = sorted(set(times_of(truth.place, {thing.noun for thing in truth.things})) - {truth.time})
    if not times:
        return None
    time = draws.pick(times)
    return truth, draws.pick(_TIME_ORDERS[time]), replace(truth, time=time)


def _place(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    """Everything stands where it stood, somewhere else."""
    names = {thing.noun for thing in truth.things}

    def holds(place: str) -> bool:
        stage = STAGES[place]
        rows = {zone: getattr(stage, zone) for zone in ("ground", "water", "sky", "deep")}
        return (
            all(t.zone in zones(t.noun, place) and min(rows[t.zone]) <= t.bottom <= ROWS for t in truth.things)
            and truth.time in times_of(place, names)
            and (stage.seasonal or truth.season == "summer")
            and truth.weather in weathers_of(place, truth.season)
        )

    places = [term for term in PLACES if term.name != truth.place and holds(term.name)]
    if not places:
        return None
    place = draws.pick(places)
    order = draws.pick(_PLACE_ORDERS).format(draws.pick(place.phrases))
    return truth, order, replace(truth, place=place.name)


def _season(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    seasons = [s for s in ("spring", "summer", "autumn", "winter") if s != truth.season]
    seasons = [s for s in seasons if truth.weather in weathers_of(truth.place, s)]
    if not STAGES[truth.place].seasonal or not seasons:
        return None
    season = draws.pick(seasons)
    return truth, draws.pick(_SEASON_ORDERS).format(season), replace(truth, season=season)


def _weather(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    weathers = [w for w in weathers_of(truth.place, truth.season) if w != truth.weather]
    if not weathers:
        return None
    weather = draws.pick(weathers)
    return truth, draws.pick(_WEATHER_ORDERS[weather]), replace(truth, weather=weather)


def _style(truth: SceneTruth, draws: Draws, pool: Sequence[Noun] | None) -> Change | None:
    style = draws.pick([s for s in _STYLE_ORDERS if s != truth.style])
    return truth, draws.pick(_STYLE_ORDERS[style]), replace(truth, style=style)


EDITS: dict[str, Callable[[SceneTruth, Draws, Sequence[Noun] | None], Change | None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "recolour": _recolour,
    "resize": _resize,
    "move": _move,
    "swap": _swap,
    "count": _count,
    "time": _time,
    "season": _season,
    "weather": _weather,
    "place": _place,
    "style": _style,
}


@cache
def words() -> tuple[str, ...]:
    """Every word that an instruction can contain, sorted, with the comma and the colon."""
    forms = [_PUT, _ADD, _REMOVE, _REPLACE, _PAINT, _BIGGER, _SMALLER, _MOVE, _WHERE, _SWAP, _COUNT, _PLACE_ORDERS]
    forms += [_SEASON_ORDERS, *_TIME_ORDERS.values(), *_WEATHER_ORDERS.values(), *_STYLE_ORDERS.values()]
    own = {word for group in forms for form in group for word in split(form.replace("{}", " "))}
    return tuple(sorted(own | {"the"} | set(captions.words())))


def without(truth: SceneTruth, gone: Collection[int]) -> SceneTruth:
    """The scene without some of its things."""
    return _with(truth, (None if k in gone else thing for k, thing in enumerate(truth.things)))
