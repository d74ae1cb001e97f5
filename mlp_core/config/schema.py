"""The whole config: every key with its type, its default and what it means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from glob import has_magic, iglob
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import PrivateAttr, Tag, ValidationError

from mlp_core.config.data import ArrayFiles, Data, Preprocess
from mlp_core.config.model import Loss, Model, Regularization
from mlp_core.config.nodes import Node, Scalar, from_native
from mlp_core.config.outputs import Checkpoint, Eval, Gradcheck, Logging, Output
from mlp_core.config.problems import find, located, problems_of
from mlp_core.config.section import LIST, OR_LIST, SCALAR, Complaint, Section, key
from mlp_core.config.text_kinds import Text, Word
from mlp_core.config.training import METRICS, NUMBERED, SYNONYMS, Optimizer, Schedule, Train
from mlp_core.config.value_kinds import INT_MAX, Int
from mlp_core.errors import ConfigError, Problem

VERSION = 2
IN_MEMORY = "-"
"""The name of data that is in no file: what a program has in memory, or what came through a pipe."""
NAME = r"\w[\w .+-]{0,59}"
_BASE = Text(what="a config file", example="base.yaml")
Extends = Annotated[
    Annotated[str | None, Text(null=True, what="a config file", example="base.yaml"), Tag(SCALAR)]
    | Annotated[tuple[Annotated[str, _BASE], ...], Tag(LIST)],
    OR_LIST,
]
Metric = Annotated[str, Word(words=METRICS, pattern=NUMBERED, synonyms=SYNONYMS)]
Metrics = Annotated[
    Annotated[Literal["auto"], Word(words=("auto",), example="a list such as [loss, accuracy]"), Tag(SCALAR)]
    | Annotated[tuple[Metric, ...], Tag(LIST)],
    OR_LIST,
]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a config was written: its tree with places, and the folders of its files.

    folders: where its data files are looked for, before the current one. sent: it came inside a model or a run
    directory, which may be a stranger's, and was not named by the user: it names files to read, no place to write.
    held: the parts of the data (train, val, test) that are in memory, objects with a method `read` that gives their
    cells; the config calls each of them `IN_MEMORY`. content: the bytes of the file that it was read from, empty where
    there was none. proposed: it was made by looking at the data, and nobody wrote it.
    asked: dotted keys that a command set, which count as written.
    """

    root: Node
    folders: tuple[Path, ...] = ()
    sent: bool = False
    held: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = b""
    proposed: bool = False
    asked: frozenset[str] = frozenset()


class Config(Section):
    """Everything that decides a run."""

    version: Annotated[int, Int(ge=1, le=VERSION, example="1")] = key(VERSION, "version of this schema")
    name: Annotated[str, Text(pattern=NAME, what="a name of at most 60 letters, digits and . + - _", example="run")] = (
        key("run", "name of the run; without it the name of the config file")
    )
    recipe: Annotated[str, Word(words=("auto", "strong", "plain"))] = key(
        "auto",
        "the defaults of other keys in one word: strong, what serves tables best; plain, what this page names; auto: "
        "strong for tables with a target column, unless the config says version: 1, or model.hidden, model.init, "
        "optimizer.name or optimizer.lr; else plain",
    )
    seed: Annotated[int, Int(ge=0, le=INT_MAX, example="0")] = key(0, "the one seed all randomness comes from")
    device: Annotated[
        str, Word(words=("auto", "cpu", "cuda"), pattern=r"cuda:(0|[1-9][0-9]?)", synonyms=(("gpu", "cuda"),))
    ] = key("auto", "where to compute: cpu, cuda, cuda:1; auto: a GPU if it is usable and the job is large enough")
    dtype: Annotated[str, Word(words=("float32", "float64"))] = key("float32", "precision of the numbers")
    threads: Annotated[int | Literal["auto"], Int(ge=1, words=("auto",), example="4")] = key(
        "auto", "threads of the linear algebra; auto: by the size of the products, never by the machine's load"
    )
    kernels: Annotated[str, Word(words=("auto", "numpy", "native"), former=(("numba", "native"),))] = key(
        "auto",
        "who makes the steps: native, the kernels in C that were compiled when mlpbp was installed; numpy; auto: "
        "native where they can be used. On a GPU numpy means cupy's own operations, anything else fused kernels",
    )
    matmul_precision: Annotated[str, Word(words=("highest", "high", "medium"))] = key(
        "highest",
        "precision of float32 matrix products on a GPU: highest is float32, high rounds the factors to TF32, medium to "
        "bfloat16, sums stay float32; on the CPU products are float32 whatever stands here",
    )
    extends: Extends = key(None, "config file or files that are read first, relative to this file")
    ensemble: Annotated[int, Int(ge=1, le=1000, example="8")] = key(
        1, "train so many networks, with seeds that follow each other, each in a process; they are one model, averaged"
    )
    notes: Annotated[str | None, Text(null=True, blank=True)] = key(None, "anything worth remembering about the run")
    data: Data = key(..., "where the data is and what is to be predicted")
    preprocess: Preprocess = key(Preprocess(), "what is done to the inputs")
    model: Model = key(Model(), "the network")
    loss: Loss = key(Loss(), "what is minimised")
    regularization: Regularization = key(Regularization(), "what keeps the weights small")
    optimizer: Optimizer = key(Optimizer(), "how a gradient becomes a step")
    schedule: Schedule = key(Schedule(), "how the learning rate changes")
    train: Train = key(Train(), "how long and in which portions")
    metrics: Metrics = key("auto", "what is measured, as a list; auto: by task")
    checkpoint: Checkpoint = key(Checkpoint(), "which states are saved")
    logging: Logging = key(Logging(), "what is recorded and shown")
    output: Output = key(Output(), "where a run is written")
    eval: Eval = key(Eval(), "how predictions are judged")
    gradcheck: Gradcheck = key(Gradcheck(), "how gradients are proved")

    _source: Source = PrivateAttr(default_factory=lambda: Source(Node({})))

    def rules(self) -> Iterator[Complaint]:
        if self.extends is not None:
            yield Complaint("extends", "only a config file can extend another", "remove it")
        if not self.metrics:
            yield Complaint("metrics", "expected at least one", "for example metrics: [loss, accuracy]", show=False)

    def __eq__(self, other: object) -> bool:
        """Equal in every value, wherever it was written."""
        return isinstance(other, Config) and self.__dict__ == other.__dict__

    @classmethod
    def build(cls, tree: Node, source: Source) -> Self:
        """The config of a tree that was written as `source` says; raises ConfigError with every problem in it."""
        try:
            config = cls.model_validate(tree.plain())
        except ValidationError as error:
            raise ConfigError(problems_of(error, source.root, cls)) from None
        config._source = source
        return config

    def problem(self, key: str, message: str, *, code: str, hint: str | None = None, got: str | None = None) -> Problem:
        """A problem with the value of a dotted key, placed where it was written, or else its nearest parent."""
        return located(self._source.root, tuple(key.split(".")) if key else (), code, message, hint, got)

    def refusal(
        self, key: str, message: str, *, code: str, hint: str | None = None, got: str | None = None
    ) -> ConfigError:
        """The error for such a problem."""
        return ConfigError(self.problem(key, message, code=code, hint=hint, got=got))

    def written(self, key: str) -> str | None:
        """The text that a dotted key was given, as it was written; None where it was not, or holds more than that."""
        node, present = find(self._source.root, key.split("."))
        return node.value.text if present and isinstance(node.value, Scalar) else None

    def given(self, key: str) -> bool:
        """Whether a dotted key was written, in a file or on the command line, or set by a command (`asking`)."""
        return key in self._source.asked or find(self._source.root, key.split("."))[1]

    def replace(self, **values: Any) -> Self:
        """The same config with other values for dotted keys, `replace(**{"optimizer.lr": 1e-3})`.

        Places stay as they are; raises ConfigError when a value does not fit.
        """
        changed = from_native(self.model_dump(mode="json"))
        for dotted, value in values.items():
            *parents, last = dotted.split(".")
            parent, present = find(changed, parents)
            if not present or not isinstance(parent.value, dict):
                raise self.refusal(dotted, "there is no such key now", code="unknown_key")
            parent.value[last] = from_native(value)
        return self.build(changed, self._source)

    def asking(self, **values: Any) -> Self:
        """The same as `replace`, and the keys count as written: no recipe has other values for them."""
        return self.replace(**values)._from(asked=self._source.asked | values.keys())

    @property
    def source(self) -> Source:
        """Where it was written."""
        return self._source

    def as_sent(self) -> Self:
        """The same config, held to be one that somebody may have sent."""
        return self._from(sent=True)

    def written_as(self, content: bytes, proposed: bool = False) -> Self:
        """The same config, read from a file of these bytes, or `proposed` in them."""
        return self._from(content=content, proposed=proposed)

    def holding(self, held: Mapping[str, Any]) -> Self:
        """The same config with parts of its data in memory, beside those that it holds."""
        return self._from(held={**self._source.held, **held})

    def _from(self, **changes: Any) -> Self:
        """The same config from a source with these changes."""
        config = self.model_copy()
        config._source = replace(self._source, **changes)
        return config

    def resolve_path(self, text: str) -> Path:
        """The file meant by a path: next to a file of this config if it is there, else in the current folder.

        If it is in neither place, the first of them, so that the message about it names that.
        """
        path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises without a home
        if path.is_absolute():
            return path
        places = [folder / path for folder in (*self._source.folders, Path())]
        return _tidy(next((place for place in places if _is_there(str(place))), places[0]))

    def with_absolute_paths(self) -> Self:
        """The same config with data files and weights that mean the same from any folder."""
        return self._with_files(lambda file: str(self.resolve_path(file).absolute()))

    def with_paths_from(self, home: Path) -> Self:
        """The same config with data files as they are found from the folder `home`, so that both can move together.

        A file that cannot be reached from there, as on another drive, keeps its whole path.
        """
        base = os.path.realpath(home)

        def relative(file: str) -> str:
            try:
                return os.path.relpath(os.path.realpath(self.resolve_path(file)), base)
            except ValueError:
                return str(self.resolve_path(file).absolute())

        return self._with_files(relative)._from(folders=(home,))

    def _with_files(self, change: Callable[[str], str]) -> Self:
        """The same config with other names for its data files and weights."""
        files = {name: getattr(self.data, name) for name in ("train", "val", "test")}
        if self.data.cache:
            files["cache"] = self.data.cache
        values = {f"data.{name}": _changed(value, change) for name, value in files.items()}
        return self.replace(**values, **{"model.weights": _changed(self.model.weights, change)})


def _changed(files: str | tuple[str, ...] | ArrayFiles | None, change: Callable[[str], str]) -> Any:
    if files == IN_MEMORY:
        return files
    if isinstance(files, tuple):
        return [change(file) for file in files]
    if isinstance(files, ArrayFiles):
        return {name: change(value) for name, value in files.model_dump().items()}
    return None if files is None else change(files)


def _tidy(path: Path) -> Path:
    """The path without steps up again, where that is the same file: after a link it need not be."""
    short = Path(os.path.normpath(path))
    same = not path.exists() or (short.exists() and short.samefile(path))
    return short if ".." in path.parts and same else path


def _is_there(path: str) -> bool:
    """Whether there is such a file, or any that such a pattern matches."""
    return os.path.exists(path) or (has_magic(path) and next(iglob(path), None) is not None)  # noqa: PTH110, PTH207


def changed_keys(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configs differ, each with both values as plain JSON; None where there is none."""
    return differences(old.model_dump(mode="json"), new.model_dump(mode="json"))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> dict[str, tuple[Any, Any]]:
    """The same for plain values, key inside key; `above` stands before each key."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in {**old, **new}:
        key, one, other = f"{above}{name}", old.get(name), new.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= differences(one, other, f"{key}.")
        elif one != other or type(one) is not type(other):
            found[key] = (one, other)
    return found


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a config file, for editors."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mlpbp config"}
