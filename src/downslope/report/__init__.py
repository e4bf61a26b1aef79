"""The report of a run: one self-contained HTML page. Nothing is measured here.

Read ``_page.py`` first. Words come from ``_words.py``, drawings from ``_figures.py`` by way of
``_svg.py``, which hands their colours to the page's style sheet.
"""

from ._page import write_report
from ._race import draw_race, write_race
from ._words import headline

__all__ = ["draw_race", "headline", "write_race", "write_report"]
