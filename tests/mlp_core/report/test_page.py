"""The report as a page: whole, escaped, small, drawn in a browser at two widths, light and dark, without a request."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import load
from mlp_core.errors import RunDirectoryError
from mlp_core.report import charts
from mlp_core.report.blocks import Chapter, Paragraph, Picture, Section, Table, Text
from mlp_core.report.build import report
from mlp_core.report.page import page
from mlp_core.runs.run import Run

EVIL = "<script>alert(1)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def train(folder: Path, name: str, *overrides: str) -> Path:
    file = folder / f"{name}.yaml"
    run = Run.start(load(file, overrides), file.read_bytes(), folder / "runs" / "-".join((name, *overrides)))
    for _ in run.execute():
        pass
    return run.directory.path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary task and a regression whose names and values are as nasty as can be, both trained."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    X, words = rng.normal(size=(160, 3)), rng.choice(["a&b", '"><img src=x onerror=alert(1)>'], 160)
    label = np.where(X[:, 0] + (words == "a&b") > 0, "yes", "n<o>")
    names = [EVIL, "$\\frac{", "_hidden"]

    def write(name: str, target: str, values: object) -> None:
        lines = [",".join(f'"{cell}"' for cell in (*names, "word", target)).replace('""', '"')]
        for x, word, value in zip(X, words, values, strict=True):
            quoted = word.replace('"', '""')
            lines.append(",".join([*(f"{v:.3f}" for v in x), f'"{quoted}"', f"{value}"]))
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        rest = "split: {val: 0.25, test: 0.25}}\nmodel: {hidden: [8]}\ntrain: {epochs: 4}\nthreads: 1\nkernels: numpy\n"
        (folder / f"{name}.yaml").write_text(f"data: {{train: {name}.csv, target: '{target}', {rest}")

    write("binary", "</td>", label)
    write("regression", "price", np.round(X[:, 0] * 3 + X[:, 1] ** 2, 3))
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, str]:
    one, other, third = train(folder, "binary"), train(folder, "binary", "seed=1"), train(folder, "regression")
    return {"one": report([one]), "several": report([one, other]), "regression": report([third])}


class Reader(HTMLParser):
    """What a page is made of: its tags, its attributes, its text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("name", ["one", "several", "regression"])
def test_the_page_needs_nothing_and_runs_nothing(pages: dict[str, str], name: str) -> None:
    found = Reader(pages[name])
    assert not found.open
    assert not {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    places = []
    for tag, attributes in found.tags:
        assert not [key for key in attributes if key.startswith("on")]
        places += [attributes["id"]] if "id" in attributes else []
        for key in ("href", "src", "xlink:href"):
            link = attributes.get(key)
            assert link is None or link.startswith("#") or (tag == "image" and link.startswith("data:image/png"))
    assert len(places) == len(set(places)), "two things have one name"
    links = {str(a["href"])[1:] for tag, a in found.tags if tag in ("a", "use") and "href" in a}
    assert links <= set(places)
    outside = re.sub(r"xmlns(:xlink)?=\"[^\"]*\"", "", pages[name])
    assert not re.findall(r"url\((?!#)|@import|https?://", outside)


@pytest.mark.parametrize("name", ["one", "several"])
def test_names_and_values_are_shown_as_they_are(pages: dict[str, str], name: str) -> None:
    text = "".join(Reader(pages[name]).text)
    for value in (EVIL, "$\\frac{", "_hidden", "n<o>", "</td>", "a&b", '"><img src=x'):
        assert value in text
    svg = "".join(re.findall(r"<svg.*?</svg>", pages[name], re.S))
    assert html.escape("$\\frac{") in svg
    assert "_hidden" in svg


def test_all_that_is_promised_is_there(pages: dict[str, str], folder: Path) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", pages["one"])
    parts = "Summary,Training,Predictions,Classes,Worst rows,Importance,Data,Config,How it was made"
    assert titles == parts.split(",")
    record = json.loads((folder / "runs" / "binary" / "run.json").read_text())
    text = "".join(Reader(pages["one"]).text)
    for split in ("train", "val", "test"):
        assert f"{record['metrics'][split]['loss']:.4f}" in text
        assert f"{100 * record['metrics'][split]['accuracy']:.2f} %" in text
    assert record["data_sha256"] in text
    assert record["gradient"] in text
    assert (folder / "binary.yaml").read_text() in text
    assert (folder / "runs" / "binary" / "config.resolved.yaml").read_text() in text
    assert "Errors" in pages["regression"]
    assert "Comparison" in pages["several"]
    assert re.search(r"<th[^>]*>seed</th>", pages["several"])


def test_a_run_without_its_data_still_has_a_report(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "gone"
    shutil.copytree(folder / "runs" / "binary", copy)
    config = copy / "checkpoints" / "best.safetensors"
    config.unlink()
    (copy / "checkpoints" / "last.safetensors").unlink()
    text = report([copy])
    assert "Not measured: " in text
    assert "<h2>Training</h2>" in text
    (copy / "run.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"run\.json: is no JSON"):
        report([copy])


def test_five_thousand_epochs_and_two_hundred_classes_are_small() -> None:
    rng = np.random.default_rng(0)
    epochs, classes = list(range(1, 5001)), [f"class {k}" for k in range(200)]
    loss = (np.exp(-np.arange(5000) / 900) + 0.1 * rng.random(5000)).tolist()
    pictures = [
        charts.curves({"train_loss": (epochs, loss), "val_loss": (epochs, loss[::-1])}, "loss", {"val_loss": 77}),
        charts.confusion(rng.poisson(1.0, (200, 200)).astype(float), classes),
        charts.confusion(rng.poisson(1.0, (64, 64)).astype(float), classes[:64]),
    ]
    table = Table(["class", *"abcde"], [[name, *["0.1234"] * 5] for name in classes])
    blocks = [*(Picture(svg, "what it is") for svg in pictures), table, Text("log", "x" * 64_000)]
    text = page("large", [Chapter("large", "", [Section("All", blocks)])])
    assert len(text.encode()) < 5_000_000
    assert len(pictures[0]) < 40_000


def test_a_thinned_curve_keeps_its_peaks_and_its_ends() -> None:
    y: list[float | None] = [0.0] * 5000
    y[1234], y[2000], y[0], y[-1] = 7.0, None, 1.0, 2.0
    xs, ys = charts.thinned(range(5000), y)
    assert len(xs) <= charts.POINTS + 2
    assert (xs[0], ys[0], xs[-1], ys[-1]) == (0, 1.0, 4999, 2.0)
    assert ys[xs.index(1234)] == 7.0
    assert 2000 not in xs


def test_what_a_page_has_no_place_for_becomes_a_mark() -> None:
    text = page("t\x00", [Chapter("\x1b[31m", "", [Section("s", [Paragraph("a\ud800\x07b & <i>")])])])
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "a\ufffd\ufffdb &amp; &lt;i&gt;" in text


PROBE = """<script>
const shown = e => e.checkVisibility();
const channel = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
  return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b); };
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
const paper = light(getComputedStyle(document.body).backgroundColor);
const texts = [...document.querySelectorAll("p, td, th, h1, h2, figcaption, a")].filter(shown);
const inside = [...document.querySelectorAll("svg text")];
document.title = "";
document.body.innerHTML = "<pre id=found></pre>" + (document.body.dataset.found = JSON.stringify({
  dark: paper < .5,
  wide: document.documentElement.scrollWidth - innerWidth,
  pictures: [...document.querySelectorAll("svg")].map(e => e.getBoundingClientRect()).map(r => [r.width, r.height]),
  worst: Math.min(...texts.map(e => contrast(light(getComputedStyle(e).color), paper)),
    ...inside.map(e => contrast(light(getComputedStyle(e).fill), paper))),
  smallest: Math.min(...inside.map(e => parseFloat(getComputedStyle(e).fontSize)
    * e.ownerSVGElement.getBoundingClientRect().width / e.ownerSVGElement.viewBox.baseVal.width)),
}));
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_draws_every_picture_and_complains_of_nothing(
    pages: dict[str, str], tmp_path: Path, width: int, dark: bool
) -> None:
    page_of = pages["regression" if dark else "several"]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--disable-dev-shm-usage"]
    options += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--hide-scrollbars"]

    def browse(text: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        return subprocess.run(
            [str(CHROMIUM), *options, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=600
        )

    if width == 400:  # as it is, with the policy that forbids every request: what is against it would be told
        told = browse(page_of).stderr
        assert "CONSOLE" not in told, told
    allowed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page_of)
    dom = browse(allowed.replace("</body>", f"{PROBE}</body>")).stdout
    match = re.search(r'data-found="([^"]*)"', dom)
    assert match, dom[-2000:]
    found = json.loads(html.unescape(match[1]))
    assert found["dark"] is dark
    assert found["wide"] <= 0, "the page is wider than the window"
    assert len(found["pictures"]) == page_of.count("<svg")
    assert all(w > 150 and h > 80 for w, h in found["pictures"])
    assert found["worst"] >= 4.5  # WCAG 2, level AA
    assert found["smallest"] >= 7
