"""PyTorch reads our checkpoint as it is and computes the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import load
from mlp_core.runs.evaluate import open_model
from mlp_core.runs.run import Run

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_load_state_dict_gives_equal_logits(tmp_path: Path, norm: str) -> None:
    from safetensors.torch import load_file

    config = tmp_path / "c.yaml"
    config.write_text(
        "data: {name: digits, limit: 300}\n"
        f"model: {{hidden: [24, 16], activation: tanh, norm: {norm}, dropout: 0.1}}\n"
        "train: {epochs: 2, batch_size: 32, preflight: off}\nthreads: 1\n"
    )
    run = Run.start(load(config), b"", tmp_path / "run")
    list(run.execute())
    model, path = open_model(tmp_path / "run")

    def block(inputs: int, units: int) -> list[torch.nn.Module]:
        norms = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}
        middle = [norms[norm](units)] if norm != "none" else []
        return [torch.nn.Linear(inputs, units), *middle, torch.nn.Tanh(), torch.nn.Dropout(0.1)]

    twin = torch.nn.Sequential(*block(64, 24), *block(24, 16), torch.nn.Linear(16, 10))
    keys = twin.load_state_dict(load_file(path), strict=False)
    assert [key for key in keys.missing_keys if "num_batches_tracked" not in key] == []
    assert all(key.startswith("optimizer.") for key in keys.unexpected_keys)
    X = run.experiment.splits["val"].X[:50]
    ours = model.network.replica(len(X)).forward(X)
    with torch.no_grad():
        theirs = twin.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
