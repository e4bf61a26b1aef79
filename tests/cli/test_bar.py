from __future__ import annotations

import io

import pytest
from rich.console import Console

from downslope.cli.bar import bar


def test_a_terminal_gets_a_bar_for_each_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name, and a clock for the time left."""
    out = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=out, force_terminal=True, width=80)
    )
    with bar() as tell:
        assert tell is not None
        for work, share in (("reading", 0.5), ("reading", 1.0), ("converting", 0.25)):
            tell(work, share)
    assert "reading" in out.getvalue()
    assert "converting" in out.getvalue()
    assert ":--" in out.getvalue()


def test_elsewhere_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe, or whoever wants it quiet, gets nothing."""
    with bar() as tell:
        assert tell is None
    with bar(shown=False) as tell:
        assert tell is None
    assert capsys.readouterr() == ("", "")
