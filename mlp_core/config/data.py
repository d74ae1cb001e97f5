"""The sections about the data: where it is, what is to be predicted, how it is split and scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Tag

from mlp_core.config.section import LIST, MAPPING, OR_ANY, OR_LIST, SCALAR, Complaint, Maybe, Section, key
from mlp_core.config.text_kinds import Column, Encoding, Folder, Text, Word
from mlp_core.config.value_kinds import INT_MAX, Bool, Float, Int, ShareOrCount

EMBEDDED = ("digits", "diabetes")
FORMATS = ("auto", "csv", "tsv", "jsonl", "parquet", "libsvm", "npz", "npy", "idx")
TASKS = ("auto", "binary", "multiclass", "multilabel", "regression")
MEMORIES = ("auto", "ram", "memmap")
SPLITS = ("auto", "stratified", "random", "ordered", "group", "column", "hash")
BY_COLUMN = ("group", "column", "hash")
KINDS = ("numeric", "categorical", "boolean", "date", "time", "ignore")
DATE_ORDERS = ("auto", "ymd", "dmy", "mdy")
SCALINGS = ("standard", "minmax", "robust", "robust_smooth", "maxabs", "quantile", "none")
IMPUTES = ("median", "mean", "mode", "zero", "error")
ENCODINGS = ("onehot", "compact", "ordinal", "hash", "embedding")
UNKNOWNS = ("other", "zero", "error")
MISSINGS = ("category", "mode", "error")
MARKERS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null", "?"),
)
"""What means a missing cell where nothing is said: the 19 of pandas.read_csv, and the ? of the UCI repository."""

_FILE = Text(what="a file", example="data/train.csv")
_CHARACTER = "[^\r\n]"


class ArrayFiles(Section):
    """Inputs and targets in two files of arrays."""

    x: Annotated[str, _FILE] = key(..., "file with the inputs, one row per example")
    y: Annotated[str, _FILE] = key(..., "file with the targets, one per example")


OneFile = Annotated[
    str | None,
    Text(null=True, what="a file, a list of files or {x: FILE, y: FILE}", example="data/train.csv"),
    Tag(SCALAR),
]
SeveralFiles = Annotated[tuple[Annotated[str, _FILE], ...], Tag(LIST)]
Files = Annotated[OneFile | SeveralFiles | Annotated[ArrayFiles, Tag(MAPPING)], OR_ANY]
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
    names: tuple[Annotated[str, Text(example="age")], ...] = key(
        (), "names of the columns, where the file does not give them"
    )
    encoding: Annotated[str, Encoding()] = key("utf-8", "encoding of the text")
    decimal: Annotated[str, Word(words=("auto", ".", ","))] = key(
        "auto", "decimal sign; auto: a comma where the first lines hold numbers such as 3,5 and none such as 3.5"
    )
    quote: Annotated[str | None, Text(null=True, pattern=_CHARACTER, what="one character", example="'\"'")] = key(
        '"', "what encloses a cell that contains the delimiter; null: nothing does"
    )
    comment: Annotated[str | None, Text(null=True, example='"#"')] = key(None, "lines that start with this are skipped")
    na: Annotated[
        tuple[Annotated[str, Text(blank=True, example='"?"')], ...],
        AfterValidator(lambda na: na if "" in na else tuple(dict.fromkeys((*MARKERS, *na)))),
    ] = key(
        MARKERS,
        'cells that mean a missing value, beside the usual ones; a list with "" in it stands alone; numbers by value',
    )

    def rules(self) -> Iterator[Complaint]:
        if self.delimiter == self.decimal != "auto":
            yield Complaint("decimal", "the same as data.csv.delimiter", "change one of them")
        if self.delimiter == self.quote:
            yield Complaint("quote", "the same as data.csv.delimiter", "change one of them")
        if len(set(self.names)) != len(self.names):
            yield Complaint("names", "a name stands twice", "name every column once", show=False)


class Split(Section):
    """How validation and test rows are taken from the training file, where no files are given for them."""

    method: Annotated[str, Word(words=SPLITS)] = key(
        "auto",
        "which rows: shuffled with equal class shares, shuffled, the last ones, whole groups, as a column of the words "
        "train, val and test says, or by the hash of a column; auto: stratified for classes",
    )
    column: Annotated[int | str | None, Column(null=True, example="patient")] = key(
        None, "column of the groups, of the words, or to be hashed; it is no input"
    )
    val: Annotated[float | int, ShareOrCount(example="0.2")] = key(0.2, "validation rows, as a share or a number")
    test: Annotated[float | int, ShareOrCount(example="0.2")] = key(0.0, "test rows, as a share or a number")
    seed: Annotated[int | None, Int(ge=0, le=INT_MAX, null=True, example="0")] = key(
        None, "seed of the split; null: the seed of the run"
    )
    folds: Annotated[int | None, Int(ge=2, le=1000, null=True, example="5")] = key(
        None,
        "deal the rows into so many folds, of which one is held out for testing; those of data.split.test or data.test "
        "are in none; mlpbp cv trains them all",
    )
    fold: Annotated[int | None, Int(ge=1, le=1000, null=True, example="1")] = key(
        None, "which fold is held out, from 1"
    )
    repeat: Annotated[int, Int(ge=1, le=1000, example="1")] = key(1, "each deals the folds in another way")

    def rules(self) -> Iterator[Complaint]:
        if isinstance(self.val, float) and isinstance(self.test, float) and self.val + self.test >= 1:
            yield Complaint("val", "with data.split.test leaves no training rows", "choose shares with a sum below 1")
        if self.method in BY_COLUMN and self.column is None:
            yield Complaint("method", f"{self.method} needs data.split.column", "name the column")
        if (self.folds is None) != (self.fold is None):
            lacks, given = ("fold", "folds") if self.fold is None else ("folds", "fold")
            yield Complaint(given, f"needs data.split.{lacks}", f"for example {lacks}: {5 if lacks == 'folds' else 1}")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            yield Complaint("fold", "there are fewer folds", f"the last one is {self.folds}")
        if self.folds is None and self.repeat > 1:
            yield Complaint("repeat", "needs data.split.folds", "for example folds: 5")
        if self.folds is not None and self.method == "column":
            yield Complaint("folds", "data.split.column says itself where rows go", "use method: group, or no folds")
        if self.repeat > 1 and self.method in ("ordered", "hash"):
            yield Complaint("repeat", f"{self.method} deals rows in one way only", "use repeat: 1")
        if self.method not in BY_COLUMN and self.column is not None:
            hint = "set data.split.method to " + ", ".join(BY_COLUMN)
            yield Complaint("column", f"{self.method} looks at no column", hint)


class Data(Section):
    """Where the data is and what is to be predicted."""

    train: Files = key(None, "training file, a list or pattern of files, or {x: FILE, y: FILE} for two files of arrays")
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
    labels: dict[str, Annotated[str, Text(example="yes")]] = key(
        {}, "labels that are written in another way, as {as written: as meant}"
    )
    features: Annotated[
        Annotated[str, Word(words=("auto",), example="a list such as [age, pixel_*]"), Tag(SCALAR)]
        | Annotated[tuple[ColumnName, ...], Tag(LIST)],
        OR_LIST,
    ] = key("auto", "columns that are inputs, by name, position or pattern; auto: all that have no other part")
    drop: tuple[ColumnName, ...] = key((), "columns to leave out, by name or position")
    id: tuple[ColumnName, ...] = key((), "columns that name a row: no inputs, but carried to the predictions")
    types: dict[str, Annotated[str, Word(words=KINDS)]] = key(
        {}, "what columns hold, as {name: kind}, where it is inferred wrongly"
    )
    date_order: Annotated[str, Word(words=DATE_ORDERS)] = key(
        "auto", "order of day, month and year in dates such as 3/4/2021; auto: as all dates of a column fit"
    )
    missing_target: Annotated[str, Word(words=("drop", "error"))] = key(
        "drop", "rows without a target are left out, and told, or refused"
    )
    weight: Annotated[int | str | None, Column(null=True, example="weight")] = key(
        None, "column with the weight of each row in the loss and the metrics"
    )
    csv: Csv = key(Csv(), "how text tables are written")
    memory: Annotated[str, Word(words=MEMORIES)] = key(
        "auto",
        "where the inputs are while training: ram, or memmap: .npy arrays and converted tables (mlpbp convert) stay on "
        "the disk, which changes the order of rows; auto: memmap if they would take more than half of the free memory",
    )
    cache: Annotated[str | Literal[False], Folder(example=".cache")] = key(
        False, "folder in which tables are kept converted, so that a second run does not parse them again; false: none"
    )
    split: Split = key(Split(), "how validation and test rows are split off")
    limit: Annotated[int | None, Int(ge=1, null=True, example="1000")] = key(
        None, "use only this many rows, drawn at random; null: all"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.train is None and self.name is None:
            hint = "write name: digits for an embedded data set, or train: FILE"
            yield Complaint("", "needs a data set", hint, "missing", show=False)
        for name in ("train", "val", "test"):
            if getattr(self, name) == ():
                yield Complaint(name, "expected at least one file", f"for example {name}: data/{name}.csv", show=False)
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
        "standard",
        "inputs are scaled to mean 0 and deviation 1, to the range 0 to 1, by median and quartiles, by these and with "
        "far values taken smoothly to at most 3, by the largest size, by ranks to a normal distribution, or not; "
        "fitted on training rows",
    )
    impute: Annotated[float | str, Float(words=IMPUTES, example="0.0")] = key(
        "median", "what stands in for a missing number (mode: the commonest, of several the smallest); error: refuse it"
    )
    indicator: Annotated[bool | Literal["auto"], Bool(words=("auto",))] = key(
        "auto", "add an input that says where a number is missing; auto: for columns that miss any in training"
    )
    clip: Annotated[float | None, Float(gt=0, null=True, example="5.0")] = key(
        None, "limit on scaled numbers, in standard deviations for standard; null: none"
    )
    log: tuple[Annotated[str, Text(example="price")], ...] = key((), "columns replaced by log(1 + x) before scaling")


class Categorical(Section):
    """What is done to columns of words."""

    encode: Annotated[str, Word(words=ENCODINGS, synonyms=(("one_hot", "onehot"), ("label", "ordinal")))] = key(
        "onehot",
        "one input per word; compact: the same, scaled like numbers, two words in one input, 0 for missing or unseen; "
        "its place in the order of words, a hashed place, or a learned vector",
    )
    max_categories: Annotated[int, Int(ge=1, le=100_000, example="100")] = key(
        100, "words kept, the most frequent first; the rest share one place called other; for hash: the places"
    )
    min_count: Annotated[int, Int(ge=1, example="2")] = key(2, "training rows a word needs to be kept")
    unknown: Annotated[str, Word(words=UNKNOWNS)] = key(
        "other", "a word never seen in training counts as other, as none, or is refused"
    )
    missing: Annotated[str, Word(words=MISSINGS)] = key(
        "category", "a missing word is a category of its own, the most frequent one, or is refused"
    )
    embedding_dim: Annotated[int | str, Int(ge=1, le=10_000, words=("auto",), example="8")] = key(
        "auto", "numbers in a learned vector; auto: min(50, 1.6 n^0.56) for n words"
    )
    embed_above: Annotated[int | None, Int(ge=1, le=100_000, null=True, example="8")] = key(
        None, "onehot and compact give way to a learned vector in columns of more words than this; null: never"
    )


class ColumnPreprocess(Section):
    """What is done to one column where that differs; null: as for all."""

    scale: Annotated[str | None, Word(words=SCALINGS, null=True)] = key(None, "as preprocess.numeric.scale")
    impute: Annotated[float | str | None, Float(words=IMPUTES, null=True, example="0.0")] = key(
        None, "as preprocess.numeric.impute"
    )
    indicator: Annotated[bool | Literal["auto"] | None, Bool(words=("auto",), null=True)] = key(
        None, "as preprocess.numeric.indicator"
    )
    clip: Annotated[float | None, Float(gt=0, null=True, example="5.0")] = key(None, "as preprocess.numeric.clip")
    log: Annotated[bool | None, Bool(null=True)] = key(None, "whether it is replaced by log(1 + x)")
    encode: Annotated[str | None, Word(words=ENCODINGS, null=True)] = key(None, "as preprocess.categorical.encode")
    max_categories: Annotated[int | None, Int(ge=1, le=100_000, null=True, example="100")] = key(
        None, "as preprocess.categorical.max_categories"
    )
    min_count: Annotated[int | None, Int(ge=1, null=True, example="2")] = key(
        None, "as preprocess.categorical.min_count"
    )
    unknown: Annotated[str | None, Word(words=UNKNOWNS, null=True)] = key(None, "as preprocess.categorical.unknown")
    missing: Annotated[str | None, Word(words=MISSINGS, null=True)] = key(None, "as preprocess.categorical.missing")
    embedding_dim: Annotated[int | str | None, Int(ge=1, le=10_000, words=("auto",), null=True, example="8")] = key(
        None, "as preprocess.categorical.embedding_dim"
    )
    embed_above: Annotated[int | None, Int(ge=1, le=100_000, null=True, example="8")] = key(
        None, "as preprocess.categorical.embed_above"
    )


class Target(Section):
    """What is done to the targets of a regression; undone in every prediction and metric."""

    scale: Annotated[str, Word(words=("auto", "standard", "minmax", "none"))] = key(
        "auto", "to mean 0 and deviation 1, to the range 0 to 1, or not; auto: standard, but not for the poisson loss"
    )
    transform: Annotated[str, Word(words=("none", "log1p"))] = key("none", "log(1 + y) before scaling, for prices")
    clamp: Annotated[bool, Bool()] = key(False, "predictions are cut to the range of the training targets")


class Preprocess(Section):
    """What is done to the inputs before the network sees them, fitted on training rows only."""

    numeric: Numeric = key(Numeric(), "columns of numbers")
    categorical: Categorical = key(Categorical(), "columns of words")
    target: Target = key(Target(), "targets of a regression")
    columns: dict[str, ColumnPreprocess] = key({}, "what differs for single columns, as {name: {key: value}}")
