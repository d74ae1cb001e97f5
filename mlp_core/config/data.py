"""The sections about the data: where it is, what is to be predicted, how it is split and scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Tag

from mlp_core.config.scalars import INT_MAX, Bool, Int, ShareOrCount
from mlp_core.config.section import LIST, MAPPING, OR_LIST, OR_MAPPING, SCALAR, Complaint, Maybe, Section, key
from mlp_core.config.text import Column, Encoding, Text, Word

EMBEDDED = ("digits", "diabetes")
FORMATS = ("auto", "csv", "tsv", "npz", "npy", "idx")
TASKS = ("auto", "binary", "multiclass", "multilabel", "regression")
SPLITS = ("auto", "stratified", "random", "ordered")
SCALINGS = ("standard", "minmax", "none")
_FILE = Text(what="a file", example="data/train.csv")
_CHARACTER = "[^\r\n]"


class ArrayFiles(Section):
    """Inputs and targets in two files of arrays."""

    x: Annotated[str, _FILE] = key(..., "file with the inputs, one row per example")
    y: Annotated[str, _FILE] = key(..., "file with the targets, one per example")


OneFile = Annotated[
    str | None, Text(null=True, what="a file or {x: FILE, y: FILE}", example="data/train.csv"), Tag(SCALAR)
]
Files = Annotated[OneFile | Annotated[ArrayFiles, Tag(MAPPING)], OR_MAPPING]
ColumnName = Annotated[int | str, Column(example="0")]
OneColumn = Annotated[int | str | None, Column(null=True, example="label"), Tag(SCALAR)]
Columns = Annotated[OneColumn | Annotated[tuple[ColumnName, ...], Tag(LIST)], OR_LIST]


class Csv(Section):
    """How text tables are written."""

    delimiter: Annotated[str, Text(pattern=_CHARACTER, words=("auto",), what="one character", example='";"')] = key(
        "auto", "what stands between two cells; auto: found from the first lines"
    )
    header: Annotated[bool | Literal["auto"], Bool(words=("auto",))] = key(
        "auto", "whether the first line names the columns; auto: it does if it is not made of numbers"
    )
    encoding: Annotated[str, Encoding()] = key("utf-8", "encoding of the text")
    decimal: Annotated[str, Word(words=(".", ","))] = key(".", "decimal sign")
    quote: Annotated[str | None, Text(null=True, pattern=_CHARACTER, what="one character", example="'\"'")] = key(
        '"', "what encloses a cell that contains the delimiter; null: nothing does"
    )
    comment: Annotated[str | None, Text(null=True, example='"#"')] = key(None, "lines that start with this are skipped")
    na: tuple[Annotated[str, Text(blank=True, example='"?"')], ...] = key(
        ("", "NA", "NaN", "null", "?"), "cells that mean a missing value"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.delimiter == self.decimal:
            yield Complaint("decimal", "the same as data.csv.delimiter", "change one of them")
        if self.delimiter == self.quote:
            yield Complaint("quote", "the same as data.csv.delimiter", "change one of them")


class Split(Section):
    """How validation and test rows are taken from the training file, where no files are given for them."""

    method: Annotated[str, Word(words=SPLITS)] = key(
        "auto", "which rows: shuffled with equal class shares, shuffled, or the last ones; auto: stratified for classes"
    )
    val: Annotated[float | int, ShareOrCount(example="0.2")] = key(0.2, "validation rows, as a share or a number")
    test: Annotated[float | int, ShareOrCount(example="0.2")] = key(0.0, "test rows, as a share or a number")
    seed: Annotated[int | None, Int(ge=0, le=INT_MAX, null=True, example="0")] = key(
        None, "seed of the split; null: the seed of the run"
    )

    def rules(self) -> Iterator[Complaint]:
        if isinstance(self.val, float) and isinstance(self.test, float) and self.val + self.test >= 1:
            yield Complaint("val", "with data.split.test leaves no training rows", "choose shares with a sum below 1")


class Data(Section):
    """Where the data is and what is to be predicted."""

    train: Files = key(None, "training file, or {x: FILE, y: FILE} for two files of arrays")
    name: Annotated[str | None, Word(words=EMBEDDED, null=True)] = key(None, "an embedded data set, instead of train")
    val: Files = key(None, "validation file, written like train; null: rows are split off")
    test: Files = key(None, "test file, written like train; null: rows are split off if asked for")
    format: Annotated[str, Word(words=FORMATS)] = key("auto", "format of the files; auto: by their names")
    x: Annotated[str, Text(example="x")] = key("x", "name of the inputs inside an npz file")
    y: Annotated[str, Text(example="y")] = key("y", "name of the targets inside an npz file")
    target: Columns = key(None, "column to predict, by name or position, or a list of them")
    task: Annotated[str, Word(words=TASKS)] = key("auto", "what is predicted; auto: found from the target and printed")
    classes: Maybe[tuple[Annotated[str, Text(example="setosa")], ...]] = key(
        None, "class labels in the order of the outputs; null: the sorted values"
    )
    positive: Annotated[str | None, Text(null=True, example="yes")] = key(
        None, "label that counts as positive of two; null: the second"
    )
    drop: tuple[ColumnName, ...] = key((), "columns to leave out, by name or position")
    csv: Csv = key(Csv(), "how text tables are written")
    split: Split = key(Split(), "how validation and test rows are split off")
    limit: Annotated[int | None, Int(ge=1, null=True, example="1000")] = key(
        None, "use only this many rows, drawn at random; null: all"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.train is None and self.name is None:
            hint = "write name: digits for an embedded data set, or train: FILE"
            yield Complaint("", "needs a data set", hint, "missing", show=False)
        if self.train is not None and self.name is not None:
            yield Complaint("name", "given together with data.train", "keep one of them")
        if self.target == ():
            yield Complaint("target", "expected at least one column", "for example target: label", show=False)
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            yield Complaint("classes", "a label stands twice", "keep each label once", show=False)
        if self.classes is not None and len(self.classes) < 2:
            yield Complaint("classes", "fewer than two labels", "list every label, or remove the key", show=False)
        if self.classes and self.positive is not None and self.positive not in self.classes:
            yield Complaint("positive", "not one of data.classes", "choose one of " + ", ".join(self.classes))


class Numeric(Section):
    """What is done to columns of numbers."""

    scale: Annotated[str, Word(words=SCALINGS)] = key(
        "standard", "inputs are scaled to mean 0 and deviation 1, to the range 0 to 1, or not; fitted on training rows"
    )


class Preprocess(Section):
    """What is done to the inputs before the network sees them, fitted on training rows only."""

    numeric: Numeric = key(Numeric(), "columns of numbers")
