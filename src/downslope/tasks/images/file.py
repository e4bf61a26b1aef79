"""Folders of images by class: found, looked at, decoded."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_SUFFIXES", "ImageShape", "by_class", "decode", "images_in", "shape_of"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MOST_PIXELS = 64  # of a side, where nobody asked for another size
FEWEST_PIXELS = 4
BRIGHTEST = 255
LOOKED_AT = 500  # images from whose headers size and channels are chosen
_GREY = frozenset({"1", "L", "LA", "I", "I;16", "F"})


@dataclass(frozen=True)
class ImageShape:
    """What every image is made to be.

    Args:
        channels: 1, grey, or 3, red, green and blue.
        height: in pixels.
        width: in pixels.
    """

    channels: int
    height: int
    width: int


def images_in(folder: Path) -> list[Path]:
    """The images below a folder, in order of their names; hidden ones are left out."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return sorted(p for p in found if not _hidden(p.relative_to(folder)))


def by_class(folder: Path) -> dict[str, list[Path]]:
    """The images of each class: the name of a folder inside ``folder``, in alphabetical order.

    Raises:
        InputError: images that lie in no class's folder, or a folder of a class without one.
    """
    loose = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    if loose:
        raise InputError(
            f"{str(folder)!r} holds images that lie in no class's folder, such as "
            f"{loose[0].name!r}. Put each image into a folder named by its class."
        )
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(Path(p.name)))
    classes = {p.name: images_in(p) for p in folders}
    for name, images in classes.items():
        if not images:
            raise InputError(
                f"{str(folder / name)!r} holds no image: a class without one. Remove the folder, "
                f"or add images ({', '.join(sorted(IMAGE_SUFFIXES))})."
            )
    return classes


def shape_of(images: Sequence[Path], size: int | None = None) -> ImageShape:
    """The shape that a data set's images are brought to.

    Their own size where all have one, else a square of the median side; at most 64 pixels a side,
    unless ``size`` says otherwise. Grey where all are grey.

    Args:
        images: of which some are looked at.
        size: height and width to use instead.
    """
    every = max(1, len(images) // LOOKED_AT)
    sizes, grey = [], True
    for path in images[::every]:
        with _opened(path) as image:
            sizes.append((image.height, image.width))
            grey = grey and image.mode in _GREY
    channels = 1 if grey else 3
    if size is not None:
        return ImageShape(channels, size, size)
    if len(set(sizes)) == 1:
        height, width = sizes[0]
    else:
        height = width = round(statistics.median(side for pair in sizes for side in pair))
    shrink = min(1.0, MOST_PIXELS / max(height, width))
    sides = (max(FEWEST_PIXELS, round(side * shrink)) for side in (height, width))
    return ImageShape(channels, *sides)


def decode(path: Path, shape: ImageShape) -> Tensor:
    """An image as ``(channels, height, width)``, uint8, resized with antialiasing.

    A picture's own note of how it was held is followed; what is transparent becomes white.

    Raises:
        InputError: the file is missing, no image, or damaged.
    """
    from PIL import Image, ImageOps

    with _opened(path) as image:
        try:
            turned = ImageOps.exif_transpose(image)
            if turned.mode in ("I", "I;16", "F"):  # 16 bits and more: their range, in 8 bits
                values = np.asarray(turned, dtype=np.float64)
                most = np.iinfo(np.uint16).max if turned.mode != "F" else max(values.max(), 1.0)
                turned = Image.fromarray((values.clip(0, most) / most * BRIGHTEST).astype(np.uint8))
            if turned.has_transparency_data:
                clear = turned.convert("RGBA")
                turned = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            plain = turned.convert("L" if shape.channels == 1 else "RGB")
            if plain.size != (shape.width, shape.height):
                plain = plain.resize((shape.width, shape.height), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError) as error:
            raise _unreadable(path, error) from None
    pixels = torch.from_numpy(np.array(plain))
    return pixels[None] if shape.channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _opened(path: Path) -> Image.Image:
    """The image, of which only the header is read."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("pillow", "data", "Reading images") from None
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} does not exist.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).replace(repr(str(path)), "it")
    return InputError(
        f"{str(path)!r} cannot be read as an image: {reason}. Remove or replace the file."
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
