from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = files("downslope.report").joinpath("style.css").read_text("utf-8")
SCHEMES = [
    dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, 1.4.3)."""
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "soft", "validation", "train", "accent"])
def test_text_and_curves_stand_out(scheme: dict[str, str], name: str) -> None:
    """Every colour that carries meaning has a contrast of 4.5 on the paper, light and dark."""
    assert contrast(scheme[name], scheme["paper"]) >= 4.5


def test_both_schemes_name_the_same_colours() -> None:
    """A colour without a dark twin would stay light on the dark page."""
    assert SCHEMES[0].keys() == SCHEMES[1].keys()
