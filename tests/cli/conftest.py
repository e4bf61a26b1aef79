from __future__ import annotations

from pathlib import Path

import pytest

HEADER = "height,width,kind\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """A table of 60 rows whose two classes are easy to tell apart."""
    rows = (f"{i % 7},{i % 5 + 10 * (i % 2)},{'ab'[i % 2]}\n" for i in range(60))
    path = tmp_path / "shapes.csv"
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
