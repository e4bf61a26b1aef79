"""Folders of images: shapes, splits, standardisation, caching, augmentation, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from downslope import Recipe, Run, Task, fit, load_task
from downslope.errors import InputError
from downslope.tasks import fingerprint, restored, size
from downslope.tasks.images import folder as images
from downslope.tasks.images.file import ImageShape, decode
from downslope.tasks.images.folder import Augmented
from downslope.tuning.folds import folded

from ..training.tiny import break_at, measured


def paint(path: Path, *, mode: str = "L", sides: tuple[int, int] = (12, 9), seed: int = 0) -> Path:
    """A picture of noise, ``sides`` being its width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shape = (*sides[::-1], 3) if mode == "RGB" else sides[::-1]
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode=None).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dark and bright images, 40 of each."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(40):
            pixels = rng.normal(level, 40, (9, 12)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{k:02}.png")
    return tmp_path / "pictures"


def both(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    return task.train[:][0], task.validation[:][0]


def test_images_keep_their_shape_where_all_have_one(folder: Path) -> None:
    """Grey images of 12 x 9 pixels become inputs (1, 9, 12), a fifth of each class held out."""
    task = load_task(str(folder))
    train, validation = both(task)
    assert train.shape == (64, 1, 9, 12)
    assert validation.shape == (16, 1, 9, 12)
    assert task.validation[:][1].bincount().tolist() == [8, 8]


def test_standardisation_is_the_training_parts(folder: Path) -> None:
    """Mean 0 and deviation 1 there, and the validation part by the same numbers."""
    task = load_task(str(folder))
    train, validation = both(task)
    assert train.double().mean().item() == pytest.approx(0, abs=1e-5)
    assert train.double().std(correction=0).item() == pytest.approx(1, rel=1e-5)
    files = [*sorted((folder / "bright").iterdir()), *sorted((folder / "dark").iterdir())]
    levels = np.stack([np.array(Image.open(path)) for path in files]) / 255
    seen = torch.from_numpy(levels[list(task.train_rows)])
    pixels = torch.from_numpy(levels[task.validation_rows[3]])
    expected = (pixels - seen.mean()) / seen.std(correction=0)
    torch.testing.assert_close(validation[3, 0].double(), expected, rtol=1e-5, atol=1e-5)


def test_the_split_depends_on_the_seed_alone(folder: Path) -> None:
    """The same seed the same rows, another one others."""
    first, again, other = (load_task(str(folder), seed=seed) for seed in (0, 0, 1))
    assert first.train_rows == again.train_rows != other.train_rows


def test_what_is_decoded_late_is_what_would_be_cached(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row for row, to the bit; and other images have another fingerprint."""
    cached = load_task(str(folder), image_size=8)
    monkeypatch.setattr(images, "MOST_CACHED", 0)
    late = load_task(str(folder), image_size=8)
    assert isinstance(late.train, images.ImageFiles)
    for row in range(size(late.train)):
        assert late.train[row][0].equal(cached.train[row][0])
        assert late.train[row][1] == cached.train[row][1]
    before = fingerprint(late.train, late.validation)
    paint(folder / "dark" / "00.png", sides=(40, 40))
    other = load_task(str(folder), image_size=8)
    assert fingerprint(other.train, other.validation) != before


@pytest.mark.parametrize(
    ("kinds", "shape"),
    [
        ({"L": (8, 8)}, ImageShape(1, 8, 8)),
        ({"RGB": (8, 10)}, ImageShape(3, 10, 8)),
        ({"L": (8, 8), "RGB": (20, 12)}, ImageShape(3, 10, 10)),
        ({"L": (256, 128)}, ImageShape(1, 32, 64)),
        ({"L": (1, 2)}, ImageShape(1, 4, 4)),
    ],
)
def test_the_shape_comes_from_the_images(
    tmp_path: Path, kinds: dict[str, tuple[int, int]], shape: ImageShape
) -> None:
    """Their own, a square of the median side, at most 64; colour where one has colour."""
    files = [paint(tmp_path / f"{mode}.png", mode=mode, sides=s) for mode, s in kinds.items()]
    assert images.shape_of(files) == shape


def test_images_of_every_mode_are_decoded(tmp_path: Path) -> None:
    """Palettes, transparency, 16 bits, black and white: a bright square stays bright."""
    shape = ImageShape(3, 4, 4)
    square = Image.new("L", (4, 4), 255)
    deep = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    kinds = {"p": square.convert("P"), "one": square.convert("1"), "deep": deep, "clear": clear}
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
        assert decode(tmp_path / f"{name}.png", shape).float().mean() == 255, name


def test_shifts_keep_the_pixels_and_the_class() -> None:
    """An image is moved as a whole, by at most an eighth; the corner says how far."""
    image = torch.arange(256.0).view(1, 16, 16)
    data = Augmented([(image, torch.tensor(3))] * 200, flip=False)  # type: ignore[arg-type]  # a list will do
    moves = set()
    for row in range(200):
        moved, target = data[row]
        assert target == 3
        down, right = divmod(int(moved[0, 8, 8] - image[0, 8, 8]), 16)
        right, down = (right - 16, down + 1) if right > 8 else (right, down)
        moves.add((down, right))
        inner = image[0, 4 + down : 12 + down, 4 + right : 12 + right]
        assert moved[0, 4:12, 4:12].equal(inner)
    assert moves == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}


def test_flips_mirror_half_of_them() -> None:
    """From left to right, never upside down."""
    image = torch.arange(4.0).expand(1, 4, 4)
    data = Augmented([(image, torch.tensor(0))] * 200, flip=True)  # type: ignore[arg-type]  # as above
    seen = [data[row][0] for row in range(200)]
    flipped = sum(moved.equal(image.flip(-1)) for moved in seen)
    assert 70 < flipped < 130
    assert flipped + sum(moved.equal(image) for moved in seen) == 200


def test_training_learns_and_predicts(folder: Path, tmp_path: Path) -> None:
    """Dark from bright after a few steps; the checkpoint alone says so of a folder of files."""
    task = load_task(str(folder))
    run = fit(task, Recipe(lr=0.01, epochs=2, batch_size=16), tmp_path / "run")
    assert run.best_metric == 1
    preparation = restored(run.preparation().to_dict())
    [batch] = preparation.read(folder / "dark", 50)
    answers = preparation.answers(run.model()(batch.inputs).detach(), batch.inputs)
    assert set(answers["predicted_class"]) == {"dark"}
    assert batch.keys["file"][0] == "00.png"
    total = np.asarray(answers["probability_dark"]) + np.asarray(answers["probability_bright"])
    assert total == pytest.approx(1)


def test_augmented_images_resume_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    """Broken in an epoch and resumed from the directory alone."""
    task = load_task(str(folder), image_size=8, augment="flip")
    recipe = Recipe(lr=0.01, epochs=2, batch_size=16)
    whole = fit(task, recipe, tmp_path / "whole")
    break_at(6, task, recipe, tmp_path / "cut")
    resumed = fit(Run.load(tmp_path / "cut").task(), run_dir=tmp_path / "cut", resume=True)
    assert measured(resumed) == measured(whole)


def test_folds_are_judged_by_images_as_they_are(folder: Path) -> None:
    """What a fold holds out is not augmented; what it trains on is."""
    task = load_task(str(folder), augment="shift")
    still = {tuple(image.flatten().tolist()) for image, _ in task.train.plain}  # type: ignore[attr-defined]  # Augmented
    for fold in folded(task, 2, seed=0):
        rows = [fold.validation[row][0] for row in range(size(fold.validation))]
        assert all(tuple(image.flatten().tolist()) in still for image in rows)
        trained = [fold.train[row][0] for row in range(size(fold.train))]
        assert not all(tuple(image.flatten().tolist()) in still for image in trained)


def empty_class(folder: Path) -> None:
    (folder / "none").mkdir()


def one_class(folder: Path) -> None:
    for path in (folder / "dark").iterdir():
        path.unlink()
    (folder / "dark").rmdir()


def lonely(folder: Path) -> None:
    paint(folder / "rare" / "1.png")


def loose(folder: Path) -> None:
    paint(folder / "1.png")


def text(folder: Path) -> None:
    (folder / "dark" / "00.png").write_text("no image")


def cut(folder: Path) -> None:
    path = folder / "dark" / "00.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_class, "none' holds no image: a class without one"),
        (one_class, "holds 1 class"),
        (lonely, "rare' holds one image"),
        (loose, "lie in no class's folder, such as '1.png'"),
        (text, "00.png' cannot be read as an image"),
        (cut, "00.png' cannot be read as an image"),
    ],
)
def test_bad_folders_are_refused(folder: Path, damage: object, message: str) -> None:
    """One line names the folder or the file."""
    damage(folder)  # type: ignore[operator]  # a function
    with pytest.raises(InputError, match=message) as caught:
        load_task(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "rotate"}, "augment must be one of shift, flip, got 'rotate'"),
        ({"image_size": 0}, "image_size must be"),
        ({"target": "x"}, "takes no target, got 'x': that is for table"),
    ],
)
def test_bad_options_are_refused(folder: Path, options: dict[str, object], message: str) -> None:
    """One line says what is allowed."""
    with pytest.raises(InputError, match=message):
        load_task(str(folder), **options)  # type: ignore[arg-type]  # wrong on purpose
