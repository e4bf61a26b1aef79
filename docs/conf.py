"""Sphinx settings. ``make docs`` builds the site into docs/_build, warnings being errors."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import mathml  # noqa: E402  # it lies beside this file
import rule_pages  # noqa: E402
import rule_pictures  # noqa: E402

from downslope import __version__  # noqa: E402

project = "Downslope"
author = "the Downslope developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
math_number_all = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "Downslope"
html_math_renderer = mathml.NAME
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_copyright = False
html_theme_options = {"light_css_variables": {"color-brand-primary": "#2a6db0"}}


def setup(app: object) -> None:
    """Write the optimizers' pages from their rules before Sphinx looks for pages."""
    rule_pages.write(HERE / "rules")
    rule_pictures.write(HERE / "rules")
