"""Steps per second on a GPU, ours, PyTorch's and JAX's, at equal precision; one command of under ten minutes.

    python benchmarks/gpu.py             on a machine with an NVIDIA GPU, `mlpbp[cuda12]`, PyTorch and JAX for CUDA
    python benchmarks/gpu.py --dry       everything but the GPU: small networks on the CPU, the same programs and checks

Work: shuffled batches gathered on the device, ReLU, softmax cross-entropy, Adam, on the network 784-512-512-10; one
table in float32 (highest), one with factors rounded to TF32 (high). Everybody starts from the same weights and sees
the same batches; the first losses must be those of the engine on the CPU, and our graphs must give bit for bit what
their launches give one by one. Every program runs in a process of its own, its rate is the median of five rounds, and
a round ends when the device has finished. The roofline of a step is the time of its products at the rate of one large
product, plus that of the bytes it must move at the rate of one large copy, both measured on the same card.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from gpu_programs import PROGRAMS, Program, Work, limits, make_reference, works

LIMIT, ROUNDS, CHECKED, COMPARED = 570.0, 5, 16, 160
CLOSE = {"highest": 2e-4, "high": 2e-2}  # relative, of a loss
SAME = ("ours, graphs", "ours, launches")  # bit for bit
WORKERS = ("reference", "limits", *PROGRAMS)


def timed(program: Program, work: Work) -> list[float]:
    """Steps per second, round by round, after a warm-up that finds how many steps fill a round."""
    count, rates = 1, []
    while True:
        begun = time.perf_counter()
        done = program.steps(count)
        passed = time.perf_counter() - begun
        if passed > work.seconds / 2:
            break
        count = max(count + 1, min(10 * done, int(done * work.seconds / max(passed, 1e-9))))
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        rates.append(program.steps(count) / (time.perf_counter() - begun))
    return rates


def worker(name: str, work: Work, precision: str) -> dict[str, Any]:
    """In a process of its own: the first losses, then steps per second."""
    if name == "limits":
        flops, moved = limits(work, precision)
        return {"flops": flops, "bytes": moved}
    program = make_reference(work, precision) if name == "reference" else PROGRAMS[name](work, precision)
    losses = program.losses(COMPARED if name in SAME else CHECKED)
    if name == "reference":
        return {"losses": losses}
    rates = timed(program, work)
    spread = max(rates) / min(rates)
    return {"losses": losses, "rate": statistics.median(rates), "spread": spread, "about": program.about}


def measure(name: str, precision: str, dry: bool, left: float) -> dict[int, dict[str, Any]]:
    """The answers of a worker by batch; `error` under those that it did not come to."""
    command = [sys.executable, __file__, "--worker", name, "--precision", precision, *(["--dry"] if dry else [])]
    if left <= 0:
        return {work.batch: {"error": "no time was left"} for work in works(dry)}
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=left)
        output, errors = result.stdout, result.stderr
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        errors = "no time was left"
    found = {int(batch): answer for batch, answer in map(json.loads, output.strip().splitlines())}
    said = (errors.strip().splitlines() or ["no answer"])[-1][:100]
    return {work.batch: found.get(work.batch, {"error": said}) for work in works(dry)}


def row(work: Work, name: str, answers: dict[str, dict[str, Any]], precision: str) -> str:
    """A line of the table: rate, what part of the roofline's, times PyTorch's, whether the losses agree."""
    answer, limit = answers[name], answers["limits"]
    if "rate" not in answer:
        return f"| {work.batch} | {name} | {answer['error']} | | | | |"
    rate, expected = answer["rate"], answers["reference"].get("losses")
    near = expected and np.allclose(answer["losses"][:CHECKED], expected, rtol=CLOSE[precision], atol=0)
    share = ""
    if "flops" in limit:
        share = f"{rate * (work.flops / limit['flops'] + work.bytes / limit['bytes']):.2f}"
    times = f"{rate / answers['torch']['rate']:.2f}" if "rate" in answers.get("torch", {}) else ""
    teraflops = f"{rate * work.flops / 1e12:.3g}"
    return f"| {work.batch} | {name} | {rate:,.0f} | {teraflops} | {share} | {times} | {'yes' if near else 'NO'} |"


def table(precision: str, dry: bool, until: float, about: dict[str, None]) -> list[str]:
    """Print the table of a precision; what failed of ours."""
    by_worker = {}
    for name in WORKERS:
        by_worker[name] = measure(name, precision, dry, until - time.monotonic())
        print(f"{precision}: {name}", file=sys.stderr, flush=True)
    failed, lines = [], []
    for work in works(dry):
        answers = {name: found[work.batch] for name, found in by_worker.items()}
        for name in PROGRAMS:
            lines.append(row(work, name, answers, precision))
            about |= {answers[name]["about"]: None} if "about" in answers[name] else {}
            if name.startswith("ours") and not lines[-1].endswith("| yes |"):
                failed.append(f"{name} at batch {work.batch}, {precision}")
        one, other = (answers[name].get("losses") for name in SAME)
        if one is None or one != other:
            failed.append(f"graphs differ from launches at batch {work.batch}, {precision}")
    roof = by_worker["limits"][works(dry)[0].batch]
    if "flops" in roof:
        rates = f"one large product {roof['flops'] / 1e12:.3g} TFLOP/s, a copy {roof['bytes'] / 1e9:,.0f} GB/s"
        print(f"\n{precision}: {rates}")
    print(f"\n| batch | {precision} | steps/s | TFLOP/s | of the roofline | times torch | losses as on the CPU |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines), flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="small networks on the CPU: a check of this program")
    parser.add_argument("--precision", choices=CLOSE, help="one table only")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for work in works(options.dry):
            print(json.dumps([work.batch, worker(options.worker, work, options.precision)]), flush=True)
        return 0
    until, failed, about = time.monotonic() + LIMIT, [], {}
    for precision in [options.precision] if options.precision else CLOSE:
        failed += table(precision, options.dry, until, about)
    widths = "-".join(map(str, works(options.dry)[0].widths))
    print(f"\n{datetime.date.today()}, {'; '.join(about)}; {widths}{', DRY, on the CPU' if options.dry else ''}")
    if failed:
        print(f"\nfailed: {'; '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
