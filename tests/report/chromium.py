"""A page in headless Chromium: what its console says and what a script sees in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
)
_SCHEME = {"light": 1, "dark": 0}  # Blink's numbers
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def console(page: Path, folder: Path) -> list[str]:
    """The lines that a page writes to the console, warnings and errors included."""
    _, log = _open(page, folder)
    return [line for line in log.splitlines() if ":CONSOLE" in line]


def evaluate(
    page: Path, folder: Path, expression: str, *, width: int = 1440, scheme: str = "light"
) -> Any:
    """The value of a JavaScript expression in a copy of the page, in a frame of this width.

    A window of Chromium is never narrower than 500 pixels; a frame may be. The copy has no
    content policy, which would refuse the expression.
    """
    document = escape(_POLICY.sub("", page.read_text(encoding="utf-8")))
    outer = folder / "outer.html"
    outer.write_text(
        "<!doctype html><style>:root { color-scheme: light dark }</style>"
        f'<body><iframe width="{width}" height="900" srcdoc="{document}"></iframe><script>'
        "onload = () => { document.body.dataset.found = "
        f"JSON.stringify(frames[0].eval({json.dumps(expression)})) }}</script></body>",
        encoding="utf-8",
    )
    dom, log = _open(outer, folder, _preference(scheme))
    found = re.search(r'<body data-found="([^"]*)"', dom)
    assert found is not None, log
    return json.loads(unescape(found[1]))


def _preference(scheme: str) -> str:
    return f"--blink-settings=preferredColorScheme={_SCHEME[scheme]}"


def _open(page: Path, folder: Path, *flags: str) -> tuple[str, str]:
    assert CHROMIUM is not None
    profile = folder / "profile"
    result = subprocess.run(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout, result.stderr
