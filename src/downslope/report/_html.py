"""Small pieces of HTML. Every function escapes the text that it is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = [
    "facts",
    "figure",
    "grid",
    "key",
    "pairs",
    "scrolling_table",
    "section",
    "settings",
    "titled",
]


def section(title: str, *content: str) -> str:
    r"""A titled part of the page; ``content`` is HTML, and nothing is shown without any.

    >>> section("A & B", "<p>x</p>")
    '<section>\n<h2>A &amp; B</h2>\n<p>x</p>\n</section>'
    >>> section("Empty", "")
    ''
    """
    body = "\n".join(part for part in content if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def figure(title: str, svg: str, caption: str) -> str:
    """A drawing with its heading; ``svg`` and ``caption`` are HTML."""
    return (
        f"<figure>\n<h3>{escape(title)}</h3>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>"
    )


def key(look: str, text: str) -> str:
    """One entry of a figure's legend.

    >>> key("train", "a < b")
    '<span class="key train">a &lt; b</span>'
    """
    return f'<span class="key {look}">{escape(text)}</span>'


def titled(title: str, content: str) -> str:
    """A titled block inside a section; nothing where its content is empty."""
    return f"<div>\n<h3>{escape(title)}</h3>\n{content}\n</div>" if content else ""


def grid(*blocks: str) -> str:
    """Blocks side by side where the screen is wide, below each other where it is not."""
    return '<div class="grid">\n' + "\n".join(b for b in blocks if b) + "\n</div>"


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers with a label above and a note below each."""
    cells = (
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}"
        + (f" <small>{escape(note)}</small>" if note else "")
        + "</dd></div>"
        for label, value, note in items
    )
    return '<dl class="facts">\n' + "\n".join(cells) + "\n</dl>"


def pairs(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values; ``caption`` is read aloud, not shown.

    >>> print(pairs("Timing", [("seconds", "3.0")]))
    <table class="pairs" aria-label="Timing">
    <tbody>
    <tr><th scope="row">seconds</th><td>3.0</td></tr>
    </tbody>
    </table>
    """
    lines = [
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    ]
    return _table("pairs", caption, "", lines) if lines else ""


def settings(caption: str, rows: Iterable[tuple[str, str, str, str, bool]]) -> str:
    """A table of (name, meaning, value, default, whether it differs); what differs is marked."""
    lines = []
    for name, meaning, value, default, differs in rows:
        badge = f'<span class="badge">default {escape(default)}</span>' if differs else ""
        look = ' class="changed"' if differs else ""
        lines.append(
            f'<tr{look}><th scope="row"><div><span class="name">'
            f'{escape(name)}</span> <span class="note">{escape(meaning)}</span></div></th>'
            f"<td>{escape(value)}{badge}</td></tr>"
        )
    return _table("settings", caption, "", lines)


def scrolling_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of numbers that scrolls sideways by itself where the screen is narrow."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    table = _table("", caption, f"<thead><tr>{top}</tr></thead>\n", lines)
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">'
        f"\n{table}\n</div>"
    )


def _table(look: str, caption: str, head: str, lines: list[str]) -> str:
    looks = f' class="{look}"' if look else ""
    body = "\n".join(lines)
    return (
        f'<table{looks} aria-label="{escape(caption)}">\n{head}<tbody>\n{body}\n</tbody>\n</table>'
    )
