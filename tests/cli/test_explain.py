from __future__ import annotations

import pytest
from typer.testing import CliRunner

from downslope import optim
from downslope.cli import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def adamw() -> str:
    return RUNNER.invoke(app, ["explain", "AdamW"]).stdout


@pytest.mark.parametrize("name", optim.names())
def test_every_optimizer_is_explained(name: str) -> None:
    """Name, formula, arguments, memory, use and paper of each optimizer are printed."""
    text = RUNNER.invoke(app, ["explain", name]).stdout
    assert text.startswith(f"{optim.get(name).__name__}: ")
    assert "θₜ = " in text
    assert "bytes a parameter in float32" in text
    assert all(hyper.meaning in text for hyper in optim.get(name).rule.hypers)
    assert all(title in text for title in ("\nFormula\n", "\nWhen to use it\n", "\nPaper\n"))


def test_the_formula_is_the_rules(adamw: str) -> None:
    """The first moment of AdamW is printed as the rule computes it."""
    assert "mₜ = β₁⋅mₜ₋₁ + gₜ⋅(1 - β₁)" in adamw


def test_hyperparameters_have_default_and_range(adamw: str) -> None:
    """An argument is listed by the name, default and range that a call has."""
    row = next(line for line in adamw.splitlines() if "betas[1]" in line)
    assert row.split()[:3] == ["betas[1]", "β₂", "0.999"]
    assert row.endswith("a finite number >= 0 and < 1")


def test_memory_counts_the_slots_that_exist(adamw: str) -> None:
    """AdamW keeps two float32 arrays, and a third one only with amsgrad."""
    assert "8 bytes a parameter in float32" in adamw
    assert "largest exp_avg_sq so far (only with amsgrad)" in adamw


def test_optional_parts_have_their_own_formula() -> None:
    """SGD is shown plain, with momentum, and with what Nesterov needs."""
    text = RUNNER.invoke(app, ["explain", "sgd"]).stdout
    titles = [line for line in text.splitlines() if line.startswith("Formula")]
    added = ("", ", with momentum", ", with momentum and nesterov", ", with momentum and cautious")
    assert titles == [f"Formula{condition}" for condition in added]


def test_guides_are_corrected(adamw: str) -> None:
    """What a guide says differently is listed."""
    assert "Where a guide differs" in adamw


def test_latex_is_the_formula_alone() -> None:
    """`--latex` prints equations and comments that LaTeX can read."""
    text = RUNNER.invoke(app, ["explain", "adam", "--latex"]).stdout
    assert text.startswith("\\begin{aligned}\n")
    assert text.count("\\begin{aligned}") == text.count("\\end{aligned}") == 4
    assert "% with amsgrad\n" in text
    assert "Hyperparameters" not in text


def test_an_unknown_name_offers_the_nearest() -> None:
    """A misspelt optimizer ends with code 2 and the nearest names."""
    result = RUNNER.invoke(app, ["explain", "rmsprob"])
    assert result.exit_code == 2
    assert "Did you mean 'rmsprop'" in result.stderr
