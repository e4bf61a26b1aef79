"""The reports: one self-contained HTML page each. Nothing is measured here.

Read ``_page.py`` first; comparisons and searches are in ``_comparison.py`` and ``_study.py``. Words
come from ``_words.py``, drawings from ``_figures.py`` and ``_plots.py`` by way of ``_svg.py``,
which hands their colours to the page's style sheet.
"""

from ._page import write_report
from ._race import draw_race, write_race
from ._words import headline

__all__ = ["draw_race", "headline", "write_race", "write_report"]
