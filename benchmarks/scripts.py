"""The same trainings as `cpu.py accuracy` starts with `mlpbp train`, as users of other libraries would write them.

`python scripts.py NAME TASK [FOLDER]` trains and prints `epoch 1 val_accuracy 93.1` after every epoch; NAME is torch,
jax or sklearn, TASK digits, mnist (with the folder of its four files) or table (with the folder of its table.csv).
"""

from __future__ import annotations

import gzip
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

SHAPES = {"digits": ((256, 256), 64, 40), "mnist": ((512, 512), 128, 10), "table": ((256, 256, 256), 128, 256)}
DROPOUT = {"table": 0.15}
RATE = 1e-3


def load(task: str, folder: str | None):
    """Training and validation rows, pixels from 0 to 1."""
    if task == "mnist":
        images, labels = (Path(folder) / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        X = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(-1, 784)
        Y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
        X, Y = X.astype(np.float32) / 255, Y.astype(np.int64)
        return X[:50000], Y[:50000], X[50000:], Y[50000:]
    if task == "table":
        numbers = np.loadtxt(Path(folder) / "table.csv", np.float32, delimiter=",", skiprows=1)
        X, Y = numbers[:, :-1], numbers[:, -1].astype(np.int64)
        return X[:480], Y[:480], X[480:], Y[480:]
    from sklearn.datasets import load_digits

    X, Y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, Y = (X[order] / 16).astype(np.float32), Y[order].astype(np.int64)
    return X[:1258], Y[:1258], X[1258:1438], Y[1258:1438]


def say(epoch: int, accuracy: float) -> None:
    print(f"epoch {epoch} val_accuracy {100 * accuracy:.2f}", flush=True)


def torch_script(X, Y, Xv, Yv, hidden, batch, epochs, dropout=0.0) -> None:
    import torch
    from torch import nn

    X, Y, Xv, Yv = map(torch.from_numpy, (X, Y, Xv, Yv))
    layers: list[nn.Module] = []
    for n, m in pairwise((X.shape[1], *hidden, 10)):
        layers += [nn.Linear(n, m), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    model, loss = nn.Sequential(*layers[: -2 if dropout else -1]), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(X)).split(batch):
            optimizer.zero_grad()
            loss(model(X[rows]), Y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            say(epoch + 1, (model(Xv).argmax(1) == Yv).float().mean().item())


def jax_script(X, Y, Xv, Yv, hidden, batch, epochs) -> None:
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    X, Y, Xv, Yv = map(jnp.asarray, (X, Y, Xv, Yv))
    theta = [
        (jnp.asarray(rng.standard_normal((n, m), dtype=np.float32) * (2 / n) ** 0.5), jnp.zeros(m))
        for n, m in pairwise((X.shape[1], *hidden, 10))
    ]
    zeros = jax.tree.map(jnp.zeros_like, theta)
    state = (theta, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))

    def logits(theta, x):
        for i, (W, b) in enumerate(theta):
            x = x @ W + b
            x = jax.nn.relu(x) if i < len(theta) - 1 else x
        return x

    def objective(theta, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(theta, x)), y[:, None], 1).mean()

    def step(state, rows):
        theta, m, v, t = state
        t += 1
        g = jax.grad(objective)(theta, X[rows], Y[rows])
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = RATE / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        return (jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), theta, m, v), m, v, t), None

    run = jax.jit(lambda state, order: jax.lax.scan(step, state, order)[0], donate_argnums=0)
    measure = jax.jit(lambda theta: (logits(theta, Xv).argmax(1) == Yv).mean())
    for epoch in range(epochs):
        order = rng.permutation(len(X))
        whole = len(X) // batch * batch
        state = run(state, jnp.asarray(order[:whole].reshape(-1, batch)))
        if whole < len(X):
            state = run(state, jnp.asarray(order[None, whole:]))
        say(epoch + 1, float(measure(state[0])))


def sklearn_script(X, Y, Xv, Yv, hidden, batch, epochs) -> None:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(hidden, batch_size=batch, alpha=0.0, learning_rate_init=RATE, random_state=0)
    for epoch in range(epochs):
        model.partial_fit(X, Y, classes=np.arange(10) if epoch == 0 else None)
        say(epoch + 1, model.score(Xv, Yv))


if __name__ == "__main__":
    name, task, *folder = sys.argv[1:]
    scripts = {"torch": torch_script, "jax": jax_script, "sklearn": sklearn_script}
    more = {"dropout": DROPOUT[task]} if task in DROPOUT else {}  # known to the one for torch alone
    scripts[name](*load(task, folder[0] if folder else None), *SHAPES[task], **more)
