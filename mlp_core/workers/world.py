"""The workers of a run: how many there are, which one this is, and what they say to each other.

`World` is a run of one worker, which has nobody to talk to; `mpi.Mpi` is one of several. Whatever is said is said by
all of them at the same place of the program, in the same order: a question that a clock, a signal or a disk answers is
put to all, and all go by the one answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlp_core.errors import Failed, Problem


class World:
    """One worker alone. `rank` counts from 0; worker 0 writes, the others are silent.

    local_rank, local_size: the same among the workers of its machine. sent: the bytes that this worker has sent to
    others; seconds: how long it waited for what they sent. way: how arrays on devices get to others, in words.
    """

    rank, size = 0, 1
    local_rank, local_size = 0, 1
    sent, seconds = 0, 0.0
    way = ""
    reading = "one on each machine reads the data, for all"

    @property
    def writes(self) -> bool:
        """Whether this is the worker that writes and speaks."""
        return self.rank == 0

    def exchange(self, partner: int, out: np.ndarray, into: np.ndarray) -> None:
        """Send an array to another worker, and receive one from it."""
        raise NotImplementedError

    def numbers(self, values: Sequence[float]) -> np.ndarray:
        """A few numbers of every worker, float64 [size, count]."""
        return np.array([values], np.float64)

    def everyone(self, message: bytes) -> list[bytes]:
        """A message of every worker."""
        return [message]

    def given(self, message: bytes) -> bytes:
        """The message of worker 0; what the others hand in is not looked at."""
        return message

    def copy(self, array: np.ndarray) -> None:
        """An array becomes that of worker 0."""

    def shared(self, make: Callable[[], Any]) -> Any:
        """What one worker of every machine makes: values as JSON has them, and arrays. These lie in memory that the
        workers of a machine share, where there is such memory, and are read only."""
        return make()

    def in_order(self, pieces: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        """What `work` makes of each of the pieces, which all workers have, in their order: worker 0 is given all of
        it, the others make what is theirs of it and are given nothing. As `shared` has it: values and arrays."""
        return map(work, pieces)

    def place(self, rank: int) -> str:
        """A worker in words: `worker 2`, and where it is."""
        return f"worker {rank}"

    def facts(self) -> Mapping[str, Any]:
        """How many workers there are, where, and what they talk through: for the record of a run."""
        return {"count": 1}

    def said(self) -> str | None:
        """How many workers there are and where, for the screen; None for one."""
        if self.size == 1:
            return None
        hosts = self.facts().get("hosts", {})
        where = ", ".join(f"{count} on {host}" for host, count in list(hosts.items())[:4])
        return f"workers: {self.size}{f' ({where})' if where else ''}; {self.reading}"

    def agreed(self, answer: int) -> int:
        """The largest answer that a worker gives."""
        return answer if self.size == 1 else int(self.numbers([answer]).max())

    def told(self, values: Any) -> Any:
        """Numbers and words, as JSON has them, of worker 0."""
        return values if self.size == 1 else json.loads(self.given(json.dumps(values).encode()))

    def same(self, facts: Mapping[str, str]) -> Problem | None:
        """What a worker has that is not as worker 0 has it, in one line; None where nothing differs."""
        if self.size == 1:
            return None
        told = [json.loads(one) for one in self.everyone(json.dumps(dict(facts)).encode())]
        for rank, theirs in enumerate(told):
            for name, right in told[0].items():
                if theirs.get(name) != right:
                    here, there = (str(one.get(name))[:40] for one in (told[0], theirs))
                    message = f"{self.place(rank)} has another {name} than worker 0: {there}, not {here}"
                    return Problem("workers_differ", message, "give all workers the same files and versions")
        return None

    def refuse_drift(self, digest: str) -> None:
        """Raise Failed where the weights of a worker are not those of worker 0."""
        if (problem := self.same({"weights": digest})) is not None:
            hint = "their processors do not round alike: use machines of one kind, or kernels: numpy"
            raise Failed(Problem(problem.code, problem.message, hint))


ALONE = World()
