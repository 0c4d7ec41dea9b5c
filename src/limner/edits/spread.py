"""Units of work over processes of this machine, or over those of a Ray cluster: what they give is the same.

A job is anything that can be pickled, with `open()`, which each process calls once (it loads the models there) and
which returns the function that makes a unit. Units are handed out one by one as processes become free.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from limner.errors import BadInput, LimnerError, MissingExtra

AHEAD = 2  # units a process that wait for it
BROKEN = "A process of this job was killed or ran out of memory. What is done stays; the same command goes on"


class Job(Protocol):
    def open(self) -> Callable[[int], Any]: ...


@dataclass(frozen=True)
class _Failed:
    """What went wrong in another process: errors that take other arguments than their message don't travel."""

    message: str
    exit_code: int


def part_of(count: int, which: int, parts: int) -> list[int]:
    """The units of a partition, counted from 0: numpy's array_split of all, as published."""
    if not 0 <= which < parts:
        raise BadInput(f"There is no part {which} of {parts}: parts are counted from 0.")
    return [int(number) for number in np.array_split(np.arange(count), parts)[which]]


def spread(
    units: Sequence[int], job: Job, *, workers: int = 1, threads: int = 1, ray: str | None = None
) -> Iterator[Any]:
    """What each unit gives, as they are done.

    workers: processes; 1 is this one
    threads: of torch, in each; sums of floats may depend on their number, and on nothing else here
    ray: None for processes of this machine; "local" for a Ray of its own, or the address of a cluster
    """
    if min(workers, threads) < 1:
        raise BadInput("--workers and --threads are at least 1.")
    if not units:
        return
    if ray is not None:
        yield from _by_ray(units, job, workers, threads, ray)
    elif workers == 1:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            make = job.open()
            yield from map(make, units)
        finally:
            torch.set_num_threads(before)
    else:
        yield from _by_processes(units, job, workers, threads)


def _by_processes(units: Sequence[int], job: Job, workers: int, threads: int) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")  # a forked process can't use the accelerator, nor threads' locks
    places = context.Queue()
    for place in range(workers):
        places.put(place)
    pool = ProcessPoolExecutor(workers, context, _begin, (job, threads, places))
    going: set[Future[Any]] = set()
    coming = iter(units)
    try:
        while True:
            while len(going) < AHEAD * workers and (number := next(coming, None)) is not None:
                going.add(pool.submit(_make, number))
            if not going:
                return
            done, going = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                yield _checked(future.result())
    except BrokenProcessPool as error:
        raise LimnerError(f"{BROKEN}, with fewer --workers if memory was short.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_job: Job | None = None
_maker: Callable[[int], Any] | None = None


def _begin(job: Job, threads: int, places: Any) -> None:
    global _job
    _job = job
    torch.set_num_threads(threads)
    _sit_down(places.get())


def _sit_down(place: int) -> None:
    """Processes take the accelerators in turn."""
    if count := torch.cuda.device_count():
        os.environ["LOCAL_RANK"] = str(place % count)


def _make(number: int) -> Any:
    global _maker
    try:
        if _maker is None:
            assert _job is not None
            _maker = _job.open()
        return _maker(number)
    except LimnerError as error:
        return _Failed(str(error), error.exit_code)


def _checked(found: Any) -> Any:
    if isinstance(found, _Failed):
        error = LimnerError(found.message)
        error.exit_code = found.exit_code
        raise error
    return found


class _Actor:
    """A process of Ray's."""

    def __init__(self, job: Job, threads: int) -> None:
        global _job
        _job = job
        torch.set_num_threads(threads)

    def make(self, number: int) -> Any:
        return _make(number)


def _by_ray(units: Sequence[int], job: Job, workers: int, threads: int, address: str) -> Iterator[Any]:
    try:
        import ray
        from ray.exceptions import RayError
        from ray.util import ActorPool
    except ImportError:
        raise MissingExtra("Spreading work with Ray", "scale") from None
    local = address == "local"
    mine = not ray.is_initialized()
    try:
        if mine:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            where: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if local else {"address": address}
            ray.init(log_to_driver=False, logging_level="error", **where)
        accelerated = ray.cluster_resources().get("GPU", 0) > 0
        actor = ray.remote(num_cpus=1, num_gpus=1 if accelerated else 0)(_Actor)
        pool = ActorPool([actor.remote(job, threads) for _ in range(workers)])
        for found in pool.map_unordered(lambda one, number: one.make.remote(number), units):
            yield _checked(found)
    except (RayError, ConnectionError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LimnerError(f"{BROKEN}. Ray said: {reason[:300]}") from error
    finally:
        if mine:
            ray.shutdown()
