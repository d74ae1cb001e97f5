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
from mlp_core.proof.planted.cases import BINARY
from mlp_core.proof.self_test import SECONDS
from mlp_core.proof.training import prove_training, walk
from mlp_core.proof.twins import twin
from mlp_core.runs.prove import answer
from mlp_core.training.experiment import Experiment

NATIVE = ("mae", "huber", "log_cosh", "quantile", "poisson", "gaussian_nll", "focal", "quadratic")
"""Losses that the proof's own test has without kernels."""
WIDE = ("data.limit=600", "train.batch_size=280", "model.hidden=[70, 33]", "train.epochs=2")
LARGE = ("data.limit=700", "train.batch_size=270", "model.hidden=[600, 300]", "train.epochs=2")
KERNEL_CASES: dict[str, tuple[str, ...]] = {
    **{name: changes for name, changes in CASES.items() if "kernels=numpy" not in changes},
    **{f"{name}, native": tuple(c for c in CASES[name] if c != "kernels=numpy") for name in NATIVE},
    **{f"with {name}": (f"model.activation={name}", "model.dropout=0.2") for name in ACTIVATIONS},
    "mixup, smoothing": ("regularization.mixup=0.4", "loss.label_smoothing=0.1"),
    "binary, focal": (*BINARY, "loss.name=focal"),
    "mixup, quadratic": ("regularization.mixup=0.4", "loss.name=quadratic"),
    "batch norm, one row left": ("model.norm=batch", "train.batch_size=71"),
    "wide": WIDE,
    "wide, two threads": (*WIDE, "threads=2", "model.norm=batch", "regularization.l2=0.01", "optimizer.clip_norm=0.1"),
    "wide, shards": (*WIDE, "train.shards=8", "model.norm=layer", "regularization.max_norm=0.5"),
    "large": LARGE,
    "large, two threads": (*LARGE, "threads=2", "optimizer.name=adam", "optimizer.lr=0.001", "optimizer.ema=0.9"),
    "large, few rows": (*LARGE, "train.batch_size=6", "data.limit=40", "threads=2"),
    "large, shards": (*LARGE, "train.shards=64", "threads=2"),
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
    """Whether the proof has nothing against a case: the steps first, which find most, then all of it."""
    CASES[case] = KERNEL_CASES[case]
    given = config(case, folder())
    one = Experiment.build(given)
    if any(walk(each, "", SECONDS).wrong for each in (one, twin(one))):
        return False
    return not any(walked.wrong for walked in prove_training(one, SECONDS, given, answer))


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
