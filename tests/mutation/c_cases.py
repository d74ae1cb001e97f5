"""Experiments that go through the kernels: those of the proof's own test, and some that reach the others."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path
from typing import Any

import numpy as np
from proved import folder

from mlp_core.backends.cpu import library
from mlp_core.nn.activations import ACTIVATIONS
from mlp_core.proof.planted import CASES, config
from mlp_core.proof.saved import prove_saved
from mlp_core.proof.self_test import SECONDS
from mlp_core.proof.training import paper_of, walk
from mlp_core.proof.twins import twin
from mlp_core.proof.using import prove_using
from mlp_core.runs.prove import answer
from mlp_core.training.experiment import Experiment

NATIVE = ("mae", "huber", "log_cosh", "quantile", "poisson", "gaussian_nll", "focal", "quadratic")
"""Losses that the proof's own test has without kernels."""
WIDE = ("data.limit=600", "train.batch_size=280", "model.hidden=[70, 33]", "train.epochs=2")
KERNEL_CASES: dict[str, tuple[str, ...]] = {
    **{name: changes for name, changes in CASES.items() if "kernels=numpy" not in changes},
    **{f"{name}, native": tuple(c for c in CASES[name] if c != "kernels=numpy") for name in NATIVE},
    **{f"with {name}": (f"model.activation={name}", "model.dropout=0.2") for name in ACTIVATIONS},
    "wide": WIDE,
    "wide, two threads": (*WIDE, "threads=2", "model.norm=batch", "regularization.l2=0.01", "optimizer.clip_norm=0.1"),
    "wide, shards": (*WIDE, "train.shards=8", "model.norm=layer", "regularization.max_norm=0.5"),
}


class Mixed(ctypes.CDLL):
    """Some kernels of one library, and what it lacks from another."""

    def __init__(self, path: str, sound: ctypes.CDLL) -> None:
        super().__init__(path)
        self.sound = sound

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.sound, name)


def use(path: Path) -> None:
    """From now on these are the kernels, as far as they go."""
    sound = library.load(library.BUILT)
    library.load = lambda *_: library.Library("mutant", Mixed(str(path), sound.code))
    library.library.cache_clear()


def finder(cases: list[str]) -> str:
    """The case that finds the kernels wrong, or the exception that does; empty where nobody does."""
    for case in cases:
        signal.setitimer(signal.ITIMER_PROF, 10)
        signal.setitimer(signal.ITIMER_REAL, 60)
        with np.errstate(all="ignore"):
            try:
                if not right(case):
                    return f"the proof of {case!r}"
            except Exception as error:
                return f"{type(error).__name__} of {case!r}"
    return ""


def right(case: str) -> bool:
    """Whether the proof has nothing against the steps of a case, nor against what is made of its model."""
    CASES[case] = KERNEL_CASES[case]
    given = config(case, folder())
    one = Experiment.build(given)
    if any(walk(each, "", SECONDS).wrong for each in (one, twin(one))):
        return False
    return not (prove_using(one, paper_of(one)).wrong or prove_saved(one, paper_of(one), given, answer, True).wrong)


def functions(case: str) -> str:
    """The instructions that a case asks the kernels for, by their names."""
    asked, known = set[str](), library.Library.address

    def address(self: library.Library, function: str) -> int:
        asked.add(function)
        return known(self, function)

    library.Library.address = address  # type: ignore[method-assign]
    if not right(case):
        raise AssertionError(case)
    return " ".join(sorted(asked))
