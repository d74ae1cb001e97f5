"""The fused kernels' text: the `.cu` files beside this one, around the formulas that the CPU's kernels have, too.

`REAL` is float or double. A kernel is a loop over independent elements, so it gives the same numbers for any number of
threads; what is summed over rows is summed in an order that the sizes alone decide. A number that changes from step to
step comes as an argument or, for a step that is written down once and carried out often, from where it is `given` on
the device: a pointer that is null where the argument counts.

In the files a kernel is a block between blank lines. One whose name has a word in capitals in it stands for several.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from mlp_core.backends.numbers import FORMULAS, RULE_NUMBERS, RULES
from mlp_core.nn.optimizers import OPTIMIZERS

HERE = Path(__file__).parent
ACTIVATIONS = tuple(re.findall(r"REAL FN\((\w+)\)\(REAL z, REAL p\)", FORMULAS))
LOSSES = tuple(re.findall(r"REAL FN\((\w+)_loss\)\(REAL z, REAL y, REAL p\)", FORMULAS))
SUMMED = ("quadratic",)  # over the outputs of a row; other losses are means
PREAMBLE = (HERE / "words.cuh").read_text() + FORMULAS + (HERE / "sums.cuh").read_text()
"""What all kernels share."""


@cache
def kernels() -> dict[str, str]:
    """The source of every kernel by its name, without what they share."""
    found: dict[str, str] = {}
    for path in sorted(HERE.glob("*.cu")):
        for block in path.read_text().split("\n\n"):
            if name := re.search(r"__global__ void (\w+)\(", block):
                for words in _meanings(path.stem, name[1]):
                    text = f"\n{block.strip()}\n"
                    for word, meaning in words.items():
                        text = text.replace(word, meaning)
                    found[_name(text)] = text
    return found


def _meanings(file: str, name: str) -> list[dict[str, str]]:
    """What the words in capitals of a kernel mean, for each that it stands for."""
    if name.endswith("TYPE"):
        return [{"TYPE": kind} for kind in ("float", "double", "Byte" if name.startswith("scaled") else "Int")]
    if "NAME" not in name:
        return [{}]
    if file == "rules":
        return [_rule(rule) for rule in dict.fromkeys(RULES.values())]
    if file == "losses":
        return [{"NAME": loss, "SHARES": "1" if loss in SUMMED else "outputs"} for loss in LOSSES]
    return [{"NAME": activation} for activation in ACTIVATIONS]


def _rule(name: str) -> dict[str, str]:
    """A rule's vectors of the state and its numbers, as parameters and as they are handed on."""
    slots = next(kind.slots for kind in OPTIMIZERS.values() if kind.rule.__name__ == name)
    numbers = [f"n{k}" for k in range(RULE_NUMBERS)]
    return {
        "NAME": name,
        "POINTERS": "".join(f"REAL *{slot}, " for slot in slots),
        "PARAMETERS": ", ".join(f"REAL {number}" for number in numbers),
        "NUMBERS": ", ".join(numbers),
        "COUNT": str(RULE_NUMBERS),
        "PLACES": ", ".join([*(f"{slot} + i" for slot in slots), *["nullptr"] * (3 - len(slots))]),
    }


def _name(text: str) -> str:
    return text.partition("__global__ void ")[2].partition("(")[0]


def source(*names: str) -> str:
    """What is to be compiled, with REAL defined, to have these kernels; all of them if none is named."""
    found = kernels()
    return PREAMBLE + "".join(found[name] for name in names or found)


@cache
def parameters(name: str) -> list[tuple[str, bool, bool]]:
    """Type, whether a pointer, and whether what it points to is only read, of every parameter of a kernel."""
    listed = kernels()[name].partition(f"__global__ void {name}(")[2].partition(")")[0]
    result = []
    for parameter in listed.split(","):
        words = parameter.replace("*", " * ").split()
        result.append((next(word for word in words if word != "const"), "*" in words, "const" in words))
    return result
