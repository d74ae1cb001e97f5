"""What programs of a job's steps are carried out by: a crew, and the numbers that it is given from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import hindrances
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import SHARED_FLOPS, Crew
from mlp_core.backends.cpu.library import Library
from mlp_core.backends.cpu.row_pass import Labelled
from mlp_core.backends.job import Job

TOTAL, STEP, SHARE, DROPOUT, RATES = range(5)
"""Places in the cells of the crew: the weight of the batch, the number of the step, the share of the average, that of
dropout, and from there on the numbers of the update rule for each segment of the optimizer."""


class Programs:
    """A crew for the programs of a job, whose passes are of `rows` rows at most and add up so many terms."""

    def __init__(self, job: Job, threads: int, rows: int, terms: int, library: Library | None = None) -> None:
        self.job = job
        largest = 2.0 * rows * max(W.size for W in job.network.parameters.values.values())
        threads = max(1, min(threads, int(largest // SHARED_FLOPS)))  # the bits are the same
        moved = [] if hindrances.of_update(job) else numbers.of_update(job.optimizer, 1.0, 0, 1)  # none: all is frozen
        self._slots = len(moved[0]) if moved else 0
        self._crew = Crew(threads, RATES + self._slots * len(moved), terms, library)

    def _update_numbers(self, lr: Any, decay: Any, t: Any) -> list[Any]:
        """The numbers of update `t`, counted from 1, for each segment; of several updates where these are arrays."""
        return [number for found in numbers.of_update(self.job.optimizer, lr, decay, t) for number in found]

    def _assembled(self, labelled: Sequence[Labelled]) -> np.ndarray:
        """The program without the names, ready for the crew."""
        return do.assemble(self._crew.library, [record for _, record in labelled])
