"""The tables of `strong.py`: each as rows to train on and rows to judge by, a function of its name and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

MOST = 10_000
"""Training rows at most: more are left out at random."""

TARGET = "target"
ADULT = "age workclass fnlwgt education education_num marital_status occupation relationship race sex"
ADULT += " capital_gain capital_loss hours_per_week native_country target"


@dataclass(frozen=True)
class Table:
    """Training and test rows with the column `target`."""

    train: pd.DataFrame
    test: pd.DataFrame
    classes: bool

    @property
    def spread(self) -> float:
        """The deviation of the test rows' target: what predicting their mean would come to."""
        return float(np.std(self.test[TARGET].to_numpy(float)))


def _dealt(frame: pd.DataFrame, seed: int, classes: bool, share: float = 0.2) -> Table:
    """A share at random for the test, with equal shares of the classes."""
    rng, test = np.random.default_rng(seed), np.zeros(len(frame), bool)
    groups = frame[TARGET].to_numpy() if classes else np.zeros(len(frame))
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        test[rows[: round(share * len(rows))]] = True
    return _cut(frame[~test], frame[test], seed, classes)


def _cut(train: pd.DataFrame, test: pd.DataFrame, seed: int, classes: bool) -> Table:
    order = np.random.default_rng([seed, 1]).permutation(len(train))[:MOST]
    return Table(train.iloc[order].reset_index(drop=True), test.reset_index(drop=True), classes)


def _numbered(path: Path, target: int) -> pd.DataFrame:
    frame = pd.read_csv(path, header=None)
    frame.columns = [f"x{place}" for place in range(frame.shape[1])]
    return frame.rename(columns={frame.columns[target]: TARGET})


def adult(data: Path, seed: int) -> Table:
    names = ADULT.split()
    how = {"names": names, "skipinitialspace": True, "na_values": "?"}
    train = pd.read_csv(data / "adult/adult.data", **how)
    test = pd.read_csv(data / "adult/adult.test", comment="|", **how)
    test[TARGET] = test[TARGET].str.rstrip(".")
    return _cut(train, test, seed, True)


def california(data: Path, seed: int) -> Table:
    frame = pd.read_csv(data / "california-housing/cal_housing_sklearn_layout.csv")
    return _dealt(frame.rename(columns={frame.columns[-1]: TARGET}), seed, False)


def letter(data: Path, seed: int) -> Table:
    frame = _numbered(data / "letter/letter-recognition.data", 0)
    return _cut(frame[:16_000], frame[16_000:], seed, True)


def optdigits(data: Path, seed: int) -> Table:
    train, test = (_numbered(data / f"optdigits/optdigits.{part}", -1) for part in ("tra", "tes"))
    return _cut(_words(train), _words(test), seed, True)


def _words(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a target of words, which are classes to every reader."""
    return frame.assign(**{TARGET: "c" + frame[TARGET].astype(str)})


def wine_quality(data: Path, seed: int) -> Table:
    frame = pd.read_csv(data / "wine-quality/winequality-white.csv", sep=";").rename(columns={"quality": TARGET})
    return _dealt(frame.astype({TARGET: float}), seed, False)


def red_wine(data: Path, seed: int) -> Table:
    frame = pd.read_csv(data / "wine-quality/winequality-red.csv", sep=";").rename(columns={"quality": TARGET})
    return _dealt(_words(frame), seed, True)


def titanic(data: Path, seed: int) -> Table:
    frame = pd.read_csv(data / "seaborn/titanic.csv").drop(columns="alive").rename(columns={"survived": TARGET})
    for name in frame.select_dtypes(bool).columns:
        frame[name] = np.where(frame[name], "yes", "no")
    return _dealt(_words(frame), seed, True)


def penguins(data: Path, seed: int) -> Table:
    frame = pd.read_csv(data / "seaborn/penguins.csv").rename(columns={"species": TARGET})
    return _dealt(frame, seed, True)


def _published(name: str) -> Callable[[Path, int], Table]:
    def deal(data: Path, seed: int) -> Table:
        folder = data / "uci-regression" / name
        values = np.loadtxt(folder / "data.txt")
        frame = pd.DataFrame(values, columns=[*(f"x{place}" for place in range(values.shape[1] - 1)), TARGET])
        train, test = (np.loadtxt(folder / f"index_{part}_{seed % 20}.txt").astype(int) for part in ("train", "test"))
        return _cut(frame.iloc[train], frame.iloc[test], seed, False)

    return deal


def _from_sklearn(name: str, classes: bool) -> Callable[[Path, int], Table]:
    def deal(_: Path, seed: int) -> Table:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        frame = pd.DataFrame(bunch.data, columns=[f"x{place}" for place in range(bunch.data.shape[1])])
        frame[TARGET] = bunch.target
        return _dealt(_words(frame) if classes else frame, seed, classes)

    return deal


def friedman(_: Path, seed: int) -> Table:
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(500, noise=0.0, random_state=seed)
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(X.shape[1])])
    return _dealt(frame.assign(**{TARGET: y}), seed, False)


TUNED = {
    "california": california,
    "concrete": _published("concrete"),
    "letter": letter,
    "titanic": titanic,
    "breast_cancer": _from_sklearn("breast_cancer", True),
    "red_wine": red_wine,
    "friedman": friedman,
}
"""The sets that choices were made on."""

JUDGED = {
    "adult": adult,
    "power_plant": _published("power-plant"),
    "optdigits": optdigits,
    "wine_quality": wine_quality,
    "penguins": penguins,
    "wine": _from_sklearn("wine", True),
    "diabetes": _from_sklearn("diabetes", False),
}
"""The sets that nothing was chosen on."""

SETS = {**TUNED, **JUDGED}
