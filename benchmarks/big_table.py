"""A CSV file that is larger than the memory it is trained in: time and memory of each part.

Run ``python -m benchmarks.big_table --gigabytes 5``. The file has 20 columns of numbers, one of
them sometimes empty, a column of words, and a target that depends on three of them. It is made,
trained on for one epoch by ``downslope train``, and predicted for by ``downslope predict``, each in
a process of its own, whose largest resident memory is the system's own count (``ru_maxrss``).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

COLUMNS = 20
PIECE = 100_000  # rows that are drawn and written at a time
LIMIT = 2 << 30  # bytes of resident memory that a process may take


def make(path: Path, size: int) -> int:
    """Write a table of about so many bytes; return its rows."""
    draws, rows = np.random.default_rng(0), 0
    with path.open("wb") as file:
        while file.tell() < size:
            x = draws.normal(size=(PIECE, COLUMNS)).astype(np.float32)
            word = draws.integers(3, size=PIECE)
            y = x[:, 0] - 2 * x[:, 1] + word + 0.1 * draws.normal(size=PIECE)
            frame = pl.DataFrame({f"x{k}": x[:, k] for k in range(COLUMNS)}).with_columns(
                pl.when(pl.Series(draws.random(PIECE) > 0.02)).then(pl.col("x3")).alias("x3"),
                pl.Series("word", np.array(["red", "green", "blue"])[word]),
                pl.Series("y", y.astype(np.float32)),
            )
            frame.write_csv(file, include_header=rows == 0)
            rows += PIECE
    return rows


def measured(*arguments: str) -> tuple[float, int, str]:
    """Seconds, the largest resident memory in bytes, and what the command printed."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.big_table", "--command", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    *printed, most = done.stdout.splitlines()
    return time.perf_counter() - before, int(most), "\n".join(printed)


def command(arguments: list[str]) -> None:
    """Run downslope in this process, and say in a last line how much memory it took at most."""
    from downslope.cli import app

    app(arguments, standalone_mode=False)
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--batch-size", default="4096")
    parser.add_argument("--folder", help="where the file lies for the time being")
    parser.add_argument("--command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.command:
        command(options.command)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["DOWNSLOPE_CACHE"] = f"{name}/cache"
        table, run = Path(name, "big.csv"), f"{name}/run"
        before = time.perf_counter()
        rows = make(table, int(options.gigabytes * 1e9))
        size = table.stat().st_size / 1e9
        print(f"{size:.2f} GB, {rows:,} rows, made in {time.perf_counter() - before:.0f} s")
        train = ["train", str(table), "--target", "y", "--missing", "impute", "--run-dir", run]
        train += ["--epochs", "1", "--lr", "0.001", "--batch-size", options.batch_size]
        answers = ["predict", run, str(table), "--out", f"{name}/answers.csv"]
        for part in (train, answers):
            seconds, most, printed = measured(*part)
            verdict = "under" if most < LIMIT else "ABOVE"
            print(f"{part[0]}: {seconds:.0f} s, {most / 1e9:.2f} GB resident, {verdict} 2 GiB")
            print(f"  {printed.splitlines()[-1]}")


if __name__ == "__main__":
    main()
