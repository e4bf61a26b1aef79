"""A table of your own: train on it, ask what is wrong, predict for other rows.

The same in a terminal, with the table that this script writes:

    downslope train runs/houses.csv --target price --run-dir runs/houses
    downslope diagnose runs/houses
    downslope predict runs/houses runs/new.csv
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

import downslope


def write_houses(path: Path, rows: int, seed: int) -> None:
    """Made-up houses, whose price depends on all columns; put your own file in their place."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["area", "rooms", "town", "price"])
        for _ in range(rows):
            area, rooms, town = draw.uniform(30, 200), draw.randint(1, 6), draw.choice("ABC")
            price = 1000 * area + 5000 * rooms + {"A": 0, "B": 20_000, "C": 50_000}[town]
            table.writerow([round(area, 1), rooms, town, round(price * draw.uniform(0.95, 1.05))])


def main() -> None:
    Path("runs").mkdir(exist_ok=True)
    write_houses(Path("runs/houses.csv"), rows=600, seed=0)
    write_houses(Path("runs/new.csv"), rows=5, seed=1)

    task = downslope.load_task("runs/houses.csv", target="price")
    run = downslope.fit(task, downslope.Recipe(epochs=20))  # the learning rate is found first
    print(f"root mean squared error {run.best_metric:.0f}, at lr {run.recipe.lr:.3g}")
    for finding in downslope.diagnose(run.path):
        print(finding)

    downslope.write_predictions(run, "runs/new.csv", "runs/new-predictions.csv")
    print(Path("runs/new-predictions.csv").read_text())
    print("report:", downslope.write_report(run))


if __name__ == "__main__":
    main()
