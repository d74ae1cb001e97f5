"""The command line of mlpbp; and from Python: `from mlpbp import MLPClassifier, MLPRegressor, load, train`.

The names are loaded when they are asked for, so that `import mlpbp` takes no time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing would be the first module that a command loads, before its handlers of signals stand
if TYPE_CHECKING:
    from typing import Any

    from mlp_core.api.estimators import MLPClassifier, MLPRegressor
    from mlp_core.api.trained import TrainedModel, load
    from mlp_core.api.training import Training, train

_HOMES = {
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TrainedModel": "trained",
    "Training": "training",
    "load": "trained",
    "train": "training",
}

__all__ = ["MLPClassifier", "MLPRegressor", "TrainedModel", "Training", "load", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from mlp_core import __version__

        return __version__
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home: Any
    if _HOMES[name] == "estimators":
        from mlp_core.api import estimators as home
    elif _HOMES[name] == "trained":
        from mlp_core.api import trained as home
    else:
        from mlp_core.api import training as home
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
