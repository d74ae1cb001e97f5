"""A warm start: a run begins with the very numbers of the model that its config names, and makes inputs as that did."""

from __future__ import annotations

from mlp_core.config import Config
from mlp_core.proof.compare import Tally
from mlp_core.training.checkpoint import checkpoint_path, load
from mlp_core.training.experiment import Experiment


def prove_warm(tally: Tally, experiment: Experiment, given: Config) -> None:
    """Every weight and running statistic before the first step beside that of the file, and how inputs and targets are
    made beside what the file says. given: the config as it was written, with the place it was read from."""
    path = checkpoint_path(given.resolve_path(str(given.model.weights)))
    if not path.is_file():  # a run that goes on has all of it, and the file may be gone
        return
    there, model = load(path), experiment.model
    network, to_host = model.network, model.network.backend.to_host
    for name, array in {**network.parameters.values, **network.statistics.values}.items():
        tally.entries(f"{name} at first, of {path.name}", to_host(array), there.tensors[name], 1e-7)
    tally.same("how inputs are made", model.inputs.to_state(), there.document["inputs"])
    target = None if model.target is None else model.target.to_state()
    tally.same("how targets are made", target, there.document["target"])
