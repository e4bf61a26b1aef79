"""Photograph reports for the documentation: ``python dev/screenshots.py PAGE.html NAME``.

Writes ``docs/images/NAME.png``: the page's top at a desk's width in light colours beside a phone's
width in dark ones. Needs Chromium; pictures are cut together with Pillow.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from html import escape
from pathlib import Path

from PIL import Image

DESK, PHONE, HEIGHT = 1200, 375, 900
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def photograph(page: Path, width: int, scheme: int, folder: Path) -> Image.Image:
    """The top of a page in a frame of this width; scheme 1 is light, 0 dark."""
    document = escape(page.read_text(encoding="utf-8"))
    outer, picture = folder / f"{width}.html", folder / f"{width}.png"
    outer.write_text(
        "<!doctype html><style>:root { color-scheme: light dark } body { margin: 0 }</style>"
        f'<iframe width="{width}" height="{HEIGHT}" style="border: 0" srcdoc="{document}">',
        encoding="utf-8",
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}"]
    command += [f"--window-size={max(width, 500)},{HEIGHT}", outer.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return Image.open(picture).convert("RGB").crop((0, 0, width, HEIGHT))


def main() -> None:
    """Photograph the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("name")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        desk, phone = (
            photograph(given.page, width, scheme, Path(folder))
            for width, scheme in ((DESK, 1), (PHONE, 0))
        )
    both = Image.new("RGB", (DESK + PHONE + 24, HEIGHT), "white")
    both.paste(desk, (0, 0))
    both.paste(phone, (DESK + 24, 0))
    IMAGES.mkdir(exist_ok=True)
    palette = both.quantize(128)  # few colours: a third of the bytes
    palette.save(IMAGES / f"{given.name}.png", optimize=True)


if __name__ == "__main__":
    main()
