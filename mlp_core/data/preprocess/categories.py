"""One column of words made into places: kept words, a place for all other words, a place for missing ones."""

from __future__ import annotations

import math
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.scaling import METHODS, Scaler, bent
from mlp_core.data.readers.csv_options import NUMBER
from mlp_core.data.readers.table import number_name
from mlp_core.errors import DataError, Problem, counted

Codes = npt.NDArray[np.int64]
NOWHERE = -1


@dataclass(frozen=True)
class CategoryPlan:
    """What is asked for: the values of `preprocess.categorical` for one column; scale: how `compact` inputs are scaled,
    as columns of numbers are."""

    encode: str = "onehot"
    max_categories: int = 100
    min_count: int = 2
    unknown: str = "other"
    missing: str = "category"
    embedding_dim: int | str = "auto"
    embed_above: int | None = None
    scale: str = "none"


@dataclass(frozen=True)
class Categories:
    """Places of the words of one column, fitted on training rows.

    words: the words kept, sorted; word i has place i (for hash: none, the place is the word's checksum).
    other, gap: whether words not kept, and missing ones, have a place of their own, after the words in this order.
    mode: the place of the most frequent word. acting: the places that have an input which is not always 0; None: all.
    levels: for compact, the inputs of every place and, last, of a word that has none, [places + 1][width].

    A place that no training row has, or all of them have, teaches nothing, and would act as its weights were drawn: it
    does not act. A word without a place is no word, or the most frequent one where a vector is learned for each.
    """

    plan: CategoryPlan
    words: tuple[str, ...]
    other: bool
    gap: bool
    mode: int = 0
    acting: tuple[int, ...] | None = None
    levels: tuple[tuple[float, ...], ...] | None = None

    @classmethod
    def fit(cls, plan: CategoryPlan, codes: npt.NDArray[Any], vocabulary: Sequence[str]) -> Self:
        """From the training rows' codes [rows] into `vocabulary`, missing ones NaN.

        Kept are the words with at least `min_count` rows, at most `max_categories` of them, the most frequent first.
        """
        missing = np.isnan(codes)
        counts = np.bincount(codes[~missing].astype(np.int64), minlength=len(vocabulary))
        return cls.counted(plan, counts, int(missing.sum()), vocabulary)

    @classmethod
    def counted(cls, plan: CategoryPlan, counts: Codes, missing: int, vocabulary: Sequence[str]) -> Self:
        """The same from how many rows have each word of the vocabulary, and how many have none."""
        order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], vocabulary[code]))
        gap = missing > 0 and plan.missing == "category"
        if plan.encode == "hash":
            mode = _hashed(vocabulary[order[0]], plan.max_categories) if order else 0
            seen = {_hashed(vocabulary[code], plan.max_categories) for code in order}
            seen |= {plan.max_categories} if gap else set()
            return cls(plan, (), False, gap, mode, tuple(sorted(seen)) if len(seen) > 1 else ())
        kept = [code for code in order if counts[code] >= plan.min_count][: plan.max_categories]
        words = sorted(vocabulary[code] for code in kept)
        mode = words.index(vocabulary[kept[0]]) if kept else 0
        if plan.embed_above is not None and len(words) > plan.embed_above and plan.encode in ("onehot", "compact"):
            plan = replace(plan, encode="embedding")
        if plan.encode == "compact":
            rows = {vocabulary[code]: int(counts[code]) for code in kept}
            known = np.array([rows[word] for word in words], np.int64)
            if plan.missing == "mode" and kept:
                known[mode] += missing
            nowhere = int(counts.sum()) + missing - int(known.sum())
            levels = _levels(plan.scale, np.array([*known, nowhere], np.int64))
            return cls(plan, tuple(words), False, False, mode, levels=levels)
        other = len(kept) < len(order) or not kept
        alone = len(words) + other + gap == 1 and plan.encode == "onehot"
        return cls(plan, tuple(words), other, gap, mode, () if alone else None)

    @property
    def places(self) -> int:
        """How many places there are."""
        named = self.plan.max_categories if self.plan.encode == "hash" else len(self.words)
        return named + self.other + self.gap

    @property
    def width(self) -> int:
        """How many inputs of the network its places give: a code counts as one."""
        if self.levels is not None:
            return len(self.levels[0])
        return 1 if self.plan.encode in ("ordinal", "embedding") else self.places

    @property
    def dim(self) -> int:
        """Numbers in a learned vector: given, or min(50, 1.6 n^0.56) for n places (fastai's rule)."""
        if isinstance(self.plan.embedding_dim, int):
            return self.plan.embedding_dim
        return max(1, min(50, round(1.6 * math.pow(self.places, 0.56))))

    def names(self) -> list[str]:
        """What each place stands for."""
        if self.plan.encode == "hash":
            named = [f"#{place}" for place in range(self.plan.max_categories)]
        else:
            named = list(self.words)
        if self.levels is not None:
            return named[-self.width :] if self.width else []
        return named + ["(other)"] * self.other + ["(missing)"] * self.gap

    def place(self, codes: npt.NDArray[Any], vocabulary: Sequence[str]) -> Codes:
        """The place of every row [rows] from its code into `vocabulary`; -1 where a word has none.

        Raises DataError for an unknown word when the plan says so.
        """
        if self.plan.encode == "hash":
            places = [_hashed(word, self.plan.max_categories) for word in vocabulary]
        else:
            index, unknown = self._index(), self.unknown_place
            places = [unknown if (place := index(word)) is None else place for word in vocabulary]
        lookup = np.array([*places, self.missing_place], np.int64)
        if self.acting is not None:
            lookup[~np.isin(lookup, self.acting)] = NOWHERE
        present = np.isfinite(codes)
        found: Codes = lookup[np.where(present, codes, len(vocabulary)).astype(np.int64)]
        return found

    def unseen(self, codes: npt.NDArray[Any], vocabulary: Sequence[str]) -> tuple[int, str]:
        """Rows whose word is not among those kept, and the first such word."""
        strange = np.array([*self._strange(vocabulary), False])
        rows = strange[np.where(np.isfinite(codes), codes, len(vocabulary)).astype(np.int64)]
        if not rows.any():
            return 0, ""
        return int(rows.sum()), vocabulary[int(codes[np.argmax(rows)])]

    def unseen_counted(self, counts: Codes, vocabulary: Sequence[str]) -> tuple[int, str]:
        """The same from how many rows have each word of the vocabulary."""
        marked = zip(counts, vocabulary, self._strange(vocabulary), strict=False)
        strange = [(int(n), word) for n, word, odd in marked if n and odd]
        return (sum(n for n, _ in strange), strange[0][1]) if strange else (0, "")

    def _strange(self, vocabulary: Sequence[str]) -> list[bool]:
        """Which words are not among those kept: none where each is hashed."""
        known, hashed = self._index(), self.plan.encode == "hash"
        return [not hashed and known(word) is None for word in vocabulary]

    def _index(self) -> Callable[[str], int | None]:
        """The place of a word kept. Numbers are found by their value: 1 is written 1.0 as soon as a cell misses."""
        index = {word: place for place, word in enumerate(self.words)}
        by_value = {canonical(word): place for word, place in reversed(index.items())}
        return lambda word: index[word] if word in index else by_value.get(canonical(word))

    @property
    def unknown_place(self) -> int:
        """The place of a word that is not kept; -1 where it has none."""
        return NOWHERE if self.plan.unknown == "zero" and self.plan.encode == "onehot" else self._unplaced

    @property
    def missing_place(self) -> int:
        """The place of a missing word; -1 where it has none."""
        if self.gap:
            return self.places - 1
        if self.plan.missing == "mode":
            return self.mode
        return NOWHERE if self.plan.encode == "hash" else self._unplaced

    @property
    def _unplaced(self) -> int:
        """The place of a word, or of none, that has none of its own."""
        if self.other:
            return len(self.words)
        return self.mode if self.plan.encode == "embedding" else NOWHERE

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        state = {
            **asdict(self.plan),
            "words": list(self.words),
            "other": self.other,
            "gap": self.gap,
            "mode": self.mode,
        }
        del state["embed_above"]  # has been decided
        if self.levels is None:
            del state["scale"]
        else:
            state["levels"] = [list(level) for level in self.levels]
        return state if self.acting is None else {**state, "acting": list(self.acting)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The categories of a checkpoint. Raises KeyError, TypeError, ValueError when the state is not one."""
        plan = CategoryPlan(
            str(state["encode"]),
            int(state["max_categories"]),
            int(state["min_count"]),
            str(state["unknown"]),
            str(state["missing"]),
            state["embedding_dim"] if state["embedding_dim"] == "auto" else int(state["embedding_dim"]),
            scale=str(state.get("scale", "none")),
        )
        words = tuple(state["words"])
        if not all(isinstance(word, str) for word in words):
            raise ValueError("expected words")
        acting = None if state.get("acting") is None else tuple(int(place) for place in state["acting"])
        levels = None
        if plan.encode == "compact":
            levels = tuple(tuple(float(value) for value in level) for level in state["levels"])
            width = 1 if len(words) == 2 else len(words)
            if [len(level) for level in levels] != [width] * (len(words) + 1) or not np.isfinite(levels).all():
                raise ValueError("expected the inputs of every place")
        made = cls(plan, words, bool(state["other"]), bool(state["gap"]), int(state["mode"]), acting, levels)
        known = plan.encode in ("onehot", "compact", "ordinal", "hash", "embedding")
        if not known or not 0 <= made.mode <= made.places:
            raise ValueError("places do not fit together")
        return made


def _levels(scale: str, counts: Codes) -> tuple[tuple[float, ...], ...]:
    """The inputs of words with so many rows each, and last of rows without any of them.

    Two words give one input, -1 and 1, more give one each, which is 1 for its word; a row without gives 0; and then
    they are scaled like numbers (by ranks there is nothing to scale). What is constant in training is 0.
    """
    places = len(counts) - 1
    raw = np.array([[-1.0], [1.0], [0.0]]) if places == 2 else np.vstack([np.eye(places), np.zeros((1, places))])
    if not places:
        return ((),)
    scaler = Scaler(scale if scale in METHODS else "none").fit_counted(raw, counts)
    made = bent((raw - scaler.shift) * np.where(scaler.constant, 0.0, scaler.scale), scaler.smooth)
    return tuple(tuple(level) for level in made.tolist())


def refuse_unknown(name: str, count: int, word: str) -> DataError:
    """The error for words that were never seen in training, where `unknown: error` asks for it."""
    message = f'column "{name}": never seen in training: "{word}" ({counted(count, "row")})'
    hint = "mend the cells, or set preprocess.categorical.unknown: other"
    return DataError(Problem("unknown_category", message, hint=hint))


def canonical(word: str) -> str:
    """The word, a number among words as it is usually written: `1.0` as `1`; letters with their accents in one sign.
    What has leading zeros, or more digits than a number in memory holds, is a name and stays as it is."""
    if not word.isascii():
        return unicodedata.normalize("NFC", word)
    if not NUMBER.fullmatch(word) or (word[0] == "0" and word[1:2].isdigit()) or word[0] == "+":
        return word
    digits = sum(sign.isdigit() for sign in word)
    value = float(word)
    return number_name(value) if digits <= 15 and math.isfinite(value) else word


def _hashed(word: str, places: int) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % places
