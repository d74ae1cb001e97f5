"""One place of data (a file, or a pair of array files), read by whatever reader fits what is in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlp_core.data.readers.arrays import Arrays, pair
from mlp_core.data.readers.converted_table import checked_blocks, is_folder, read_folder, table_size
from mlp_core.data.readers.csv import CSV, TSV, WANTED
from mlp_core.data.readers.format import WHITE, Format, ReadOptions
from mlp_core.data.readers.idx import IDX
from mlp_core.data.readers.jsonl import JSON_LINES
from mlp_core.data.readers.libsvm import LIBSVM
from mlp_core.data.readers.live import is_live, stream_live
from mlp_core.data.readers.npy import NPZ
from mlp_core.data.readers.npy_on_disk import NPY, File, OnDisk, disk_pair, fits
from mlp_core.data.readers.open_file import ENDS, STDIN, ZIP_MAGIC, head, members, open_binary, refusal
from mlp_core.data.readers.parquet import PARQUET
from mlp_core.data.readers.source import Source
from mlp_core.data.readers.table import Table, concatenate
from mlp_core.data.readers.text_stream import peek_stdin
from mlp_core.errors import DataError

SMALL = 64 << 20  # bytes that always fit
FOREIGN = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"SQLi": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
PACKED = {
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "an lz4 file",
    b"\x1f\x9d": "a file of compress (.Z)",
}


FORMATS = {each.name: each for each in (PARQUET, NPY, NPZ, IDX, JSON_LINES, LIBSVM, TSV, CSV)}
"""Every format, in the order in which a file is tried; the last one is what all others are not."""


def read(where: Path | tuple[Path, Path], options: ReadOptions, names: Sequence[str] = ()) -> Source:
    """Read a table, a .npz file, or a pair (inputs, targets) of array files.

    names: columns that a header line, if there is one, should contain. Raises DataError with the place of what is
    wrong; no file is trusted, no code in it is run.
    """
    if isinstance(where, tuple):
        return _read_pair(*where, options)
    if is_folder(where):
        return read_folder(where, _stays(where, options))
    return format_of(where, options).read(where, options, names)


def stream(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Source]:
    """The source at `path`, or on standard input for `-`, in parts of bounded size; only packed arrays in one part.

    names: columns that a header line should contain. numbers: the columns of numbers; all others are words. Arrays
    may come without targets. Raises DataError.
    """
    if is_folder(path):
        table = read_folder(path, on_disk=True)
        for start, stored in checked_blocks(table):
            yield table.part(start, table.cells.made(stored))
        return
    kind = format_of(path, options)
    if path == STDIN and not kind.piped:
        message, hint = f"standard input holds {kind.name}, not {WANTED}", "write it to a file first"
        raise refusal(path, "not_a_table", message, hint=hint)
    if path == STDIN and is_live(options.csv):
        yield from stream_live(kind.name, options, names, numbers)
    else:
        yield from kind.parts(path, options, names, numbers)


def format_of(path: Path, options: ReadOptions) -> Format:
    """The format that is asked for, or the file's own. Raises DataError for what is of none."""
    return FORMATS[detect(path) if options.format == "auto" else options.format]


def _read_pair(x: Path, y: Path, options: ReadOptions) -> Arrays:
    asked = FORMATS.get(options.format)
    inputs, targets = (FORMATS[detect(path)] if asked is None or asked.array is None else asked for path in (x, y))
    for path, kind in ((x, inputs), (y, targets)):
        if kind.array is None:
            hint = "for a table write its path and data.target instead of {x:, y:}"
            raise refusal(path, "not_arrays", "expected a .npy or IDX file of arrays", hint=hint)
    assert inputs.array is not None
    assert targets.array is not None
    disk = _on_disk(x, inputs.name, options) if options.memory != "ram" else None
    X: Any = inputs.array(x) if disk is None else disk
    Y = targets.array(y)
    labels = targets.labels and Y.dtype.kind in "iu"
    return pair(X, Y, x, y, labels=labels) if disk is None else disk_pair(disk, Y, y, labels=labels)


def read_all(paths: Sequence[Path], options: ReadOptions, names: Sequence[str] = ()) -> Source:
    """Read one file, or several tables with the same columns as one.

    A column that is text in one of the files is read as text in all of them.
    """
    if len(paths) == 1:
        return read(paths[0], options, names)
    tables: list[Table] = []
    for path in paths:
        source = read(path, options, names)
        if not isinstance(source, Table):
            hint = "give tables, or one file of arrays"
            raise refusal(path, "not_a_table", "arrays cannot be put together with other files", hint=hint)
        tables.append(source)
    text = {table.names[column] for table in tables for column in table.words} | set(options.text)
    for place, table in enumerate(tables):
        if text - {table.names[column] for column in table.words} & set(table.names):
            again = read(paths[place], replace(options, text=tuple(text)), names)
            assert isinstance(again, Table)
            tables[place] = again
    return concatenate(tables)


def _on_disk(x: Path, kind: str, options: ReadOptions) -> OnDisk | None:
    """The inputs left on the disk, if they are to be and can."""
    if options.memory == "memmap":
        if kind != "npy":
            raise refusal(x, "not_mappable", f"{kind} cannot stay on the disk", hint="write it with numpy.save")
        return OnDisk(File(x))
    if kind != "npy" or x.stat().st_size < SMALL:
        return None
    try:
        disk = OnDisk(File(x))
    except DataError:
        return None
    made = disk.size * disk.dtype.itemsize
    return None if fits(made, disk.size * options.itemsize) else disk


def _stays(where: Path, options: ReadOptions) -> bool:
    """Whether a converted table stays on the disk: in memory are its cells, the inputs, and those of the network."""
    if options.memory != "auto":
        return options.memory == "memmap"
    cells = table_size(where)
    return 8 * cells >= SMALL and not fits(16 * cells, options.itemsize * cells)


def detect(path: Path) -> str:
    """The format of a file, or of standard input: by its first bytes, for text by its name."""
    name = path.name.lower()
    if path != STDIN and head(path, 4).startswith((ZIP_MAGIC, b"PK\x05\x06")):
        if path.suffix.lower() in (".xlsx", ".ods", ".docx"):
            raise refusal(path, "foreign_format", "this is a spreadsheet", hint="export it as CSV")
        try:
            inside = members(path)
        except DataError:
            inside = []  # whoever reads it tells what is wrong
        if not inside or path.suffix.lower() == ".npz" or any(one.endswith(".npy") for one in inside):
            return "npz"
        name = inside[0].lower()
    name = next((name.removesuffix(end) for end in ENDS if name.endswith(end)), name)
    start = _start(path)
    for kinds, hint in ((FOREIGN, "export it as CSV"), (PACKED, "unpack it first")):
        for magic, what in kinds.items():
            if start.startswith(magic):
                raise refusal(path, "foreign_format", f"this is {what}", hint=hint)
    if start[257:262] == b"ustar":
        raise refusal(path, "foreign_format", "this is a tar archive", hint="unpack it first")
    if start.lstrip(WHITE).lower().startswith(b"@relation") or path.suffix.lower() == ".arff":
        hint = "save it as CSV: the names of its @attribute lines, and below them what follows @data"
        raise refusal(path, "foreign_format", "this is an ARFF file, of Weka", hint=hint)
    return next(each.name for each in FORMATS.values() if each.told(start, name))


def _start(path: Path) -> bytes:
    """The first bytes, unpacked."""
    if path == STDIN:
        return peek_stdin(262)
    with open_binary(path, WANTED) as (stream, _):
        return stream.read(262)
