from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .world import FILES, HEADER, OWN


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


@pytest.fixture
def world(csv: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of files of which each is wrong in some way."""
    for name, content in FILES.items():
        data = content.encode() if isinstance(content, str) else content
        Path(name).write_bytes(data)
    Path("mine.py").write_text(OWN)
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    np.savez("good.npz", x=x, y=y)
    np.savez("nan.npz", x=np.full((20, 3), np.nan), y=y)
    np.savez("unnamed.npz", a=x, b=x)
    np.savez("objects.npz", x=np.array([{}] * 20), y=y)
    np.savez("uneven.npz", x=x[:19], y=y)
    np.save("single.npy", x)
    Path("nobody").mkdir()
    for folder, count in (("pictures/a", 5), ("pictures/b", 5), ("same/a", 9), ("torn/a", 9)):
        Path(folder).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(np.full((8, 8), 20 * k, dtype=np.uint8)).save(f"{folder}/{k}.png")
    shutil.copytree("torn/a", "torn/b")
    Path("torn/b/3.png").write_bytes(Path("torn/b/3.png").read_bytes()[:40])
    Path("link.csv").symlink_to("nowhere.csv")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("mine", "broken", "quits", "lacks"):
        sys.modules.pop(name, None)
