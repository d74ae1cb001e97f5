"""The proof of how rows are dealt: every row of the data in one split alone, as many as the config asks for, and in it
what the file has in that row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.load import Data, Dataset, load
from mlp_core.proof.compare import Tally
from mlp_core.training.experiment import Experiment

BY_COUNT = ("auto", "stratified", "random", "ordered")
"""Ways of dealing that ask for so many rows; others let words decide."""


def prove_dealt(tally: Tally, experiment: Experiment, given: Config, data: Data) -> None:
    """`data` was read as the config asks; here all of it is read at once and dealt by nobody."""
    split, limit = given.data.split, given.data.limit
    if not data.indices or split.folds is not None or split.method not in BY_COUNT:
        return
    values: dict[str, Any] = {"data.split.val": 0.0, "data.split.test": 0.0, "data.limit": None}
    if given.data.val is not None or given.data.test is not None:
        values |= {"data.val": None, "data.test": None}
    whole = load(given.replace(**values), task=experiment.model.task)
    numbers = whole.indices.get("train", np.arange(whole.splits["train"].rows))
    places = {int(number): place for place, number in enumerate(numbers)}
    dealt = [int(number) for rows in data.indices.values() for number in rows]
    many = len(places) if limit is None else min(limit, len(places))
    tally.same("how many rows are dealt", len(dealt), many)
    tally.same("rows that are in two splits, or in none", len(set(dealt) & set(places)), many)
    if tally.wrong is not None:
        return
    for name, rows in data.indices.items():
        taken = np.array([places[int(number)] for number in rows])
        _content(tally, name, data.splits[name], whole.splits["train"], taken)
        share = getattr(split, name, 0.0)
        if name != "train" and share:
            asked = int(share) if share >= 1 else math.floor(many * share + 0.5)
            tally.same(f"the rows of {name}", len(rows), asked)
    method = split.method
    if method == "auto":
        method = "stratified" if experiment.model.task.classifies else "random"
    if method == "ordered":
        order = [int(number) for name in ("train", "val", "test") for number in data.indices.get(name, ())]
        tally.same("whether rows are dealt in their order", order == sorted(order), True)
    if method == "stratified":
        y = whole.splits["train"].y
        _shares(tally, {name: y[[places[int(n)] for n in rows]] for name, rows in data.indices.items()})


def _content(tally: Tally, name: str, part: Dataset, whole: Dataset, rows: Any) -> None:
    """Inputs, truth and weights of a split beside those of the same rows of the file."""
    pairs = {
        "the inputs": (part.X, whole.X),
        "the truth": (part.y, whole.y),
        "the weights": (part.weight, whole.weight),
    }
    for what, (here, there) in pairs.items():
        if here is None or there is None:
            right = here is there
        else:
            here, there = np.asarray(here[:]), np.asarray(there[rows])
            right = here.shape == there.shape and np.array_equal(here, there, equal_nan=here.dtype.kind == "f")
        tally.right(f"{what} of {name}", right, numbers=1 if here is None else len(rows))
    right = {k: list(v) for k, v in part.words.items()} == {k: list(v) for k, v in whole.words.items()}
    tally.same(f"the words of {name}", right, True)


def _shares(tally: Tally, classes: Mapping[str, Any]) -> None:
    """Of every class a split has its share, up to a row; where that would leave none for training, less."""
    total = np.concatenate(list(classes.values()))
    for label in np.unique(total):
        mine = int((total == label).sum())
        for name, y in classes.items():
            here, there = int((y == label).sum()), mine * len(y) / len(total)
            right = abs(here - there) <= len(classes) or mine <= len(classes)
            tally.right(f"the rows of a class in {name}", right, here, there)
