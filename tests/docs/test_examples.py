"""The examples: each runs as it stands, in an empty folder, and ends with what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

#: What each prints in the end, and the packages beyond the core that it needs.
PROMISED: dict[str, tuple[str, tuple[str, ...]]] = {
    "own_csv": (
        r"predicted_price\n(\d+\.\d+\n){5}\nreport: runs/houses-\S+/report.html",
        ("polars",),
    ),
    "own_model": (r"is \(0\.1, 0\.2\) inside\? True", ()),
    "own_loop": (r"accuracy 0\.9\d+; peak lr .*\nwrong: nothing", ("sklearn",)),
    "custom_rule": (r"θₜ = θₜ₋₁ - (.*\n)+from 14 to [\d.]+e-\d+ in 100 steps", ()),
    "resume": (r"the first part ended: interrupted\nsame bits: True", ("sklearn",)),
    "mixed_precision": (r"epoch 5: loss 0\.\d+, last norm \d\.\d+", ("sklearn",)),
    "lightning_trainer": (r"wrong: nothing", ("sklearn", "lightning")),
}


def test_every_example_is_run() -> None:
    """No script of the folder is left out below."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning's use of torch
)
def test_an_example_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ends without an error or a warning, and its last lines are the promised ones."""
    pattern, packages = PROMISED[name]
    for package in packages:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.search(f"{pattern}\\s*$", capsys.readouterr().out)
