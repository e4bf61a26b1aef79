"""The default recipe against scikit-learn, on the same rows, and on the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from downslope import Recipe, Run, Task, fit, load_task


def as_csv(name: str, folder: Path) -> Path:
    """One of scikit-learn's bundled tables as a file."""
    import polars as pl
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    columns = dict(zip(bunch.feature_names, bunch.data.T, strict=True))
    file = folder / f"{name}.csv"
    pl.DataFrame({**columns, "target": bunch.target}).write_csv(file)
    return file


def trained(file: Path, seed: int, folder: Path) -> tuple[Task, Run, float]:
    """The task, its run by the default recipe, and the last epoch's metric."""
    task = load_task(str(file), target="target", seed=seed)
    run = fit(task, Recipe(seed=seed), folder)
    return task, run, [r for r in run.records() if r["event"] == "validation"][-1]["metric"]


def parts(task: Task) -> list[np.ndarray]:
    return [t.numpy() for part in (task.train, task.validation) for t in part[:]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_of_classes_is_as_good_as_logistic_regression(tmp_path: Path, seed: int) -> None:
    """No more than one point of accuracy below it; two rows at the last checkpoint."""
    from sklearn.linear_model import LogisticRegression

    task, run, last = trained(as_csv("breast_cancer", tmp_path), seed, tmp_path / "run")
    x, y, x_validation, y_validation = parts(task)
    reference = LogisticRegression(max_iter=10_000).fit(x, y).score(x_validation, y_validation)
    assert run.best_metric is not None
    assert run.best_metric >= reference - 0.01
    assert last >= reference - 2 / len(y_validation) - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_of_values_is_as_good_as_ridge(tmp_path: Path, seed: int) -> None:
    """RMSE within 3% of it, at the best checkpoint and at the last one."""
    from sklearn.linear_model import Ridge

    task, run, last = trained(as_csv("diabetes", tmp_path), seed, tmp_path / "run")
    x, y, x_validation, y_validation = parts(task)
    errors = Ridge().fit(x, y).predict(x_validation) - y_validation
    unit = task.metric.function.keywords["unit"]  # type: ignore[attr-defined]  # a partial
    reference = unit * np.sqrt(np.square(errors).mean())
    assert run.best_metric is not None
    assert max(run.best_metric, last) <= 1.03 * reference


@pytest.mark.slow
def test_the_digits_are_learnt(tmp_path: Path) -> None:
    """The default recipe reaches the accuracy that the front page promises."""
    run = fit(load_task("digits"), None, tmp_path / "run")
    assert run.best_metric is not None
    assert run.best_metric >= 0.985
