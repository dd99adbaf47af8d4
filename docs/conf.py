"""Sphinx configuration: `python -m sphinx -W -b html docs docs/_build/html` builds the site."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import docstrings
import pages

import jaxmlr

project = "jaxmlr"
author = copyright = "jaxmlr contributors"
release = version = jaxmlr.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",  # MathJax in the site itself: mathematics without a network
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_fragments", "jupyter_execute"]

html_theme = "sphinx_book_theme"
html_title = "jaxmlr"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_persistent": [],  # the search field is in the sidebar
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "notebooks")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

# Single backticks are code, and a link where they name something that the API pages have.
default_role = "py:obj"
highlight_language = "none"  # of blocks that do not say theirs: formulas
autodoc_typehints = "none"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style"), ("Fields", "params_style")]


def setup(app: object) -> None:
    """Write the pages that come from the code, and correct docstrings on their way to Sphinx."""
    pages.write(Path(__file__).parent)
    docstrings.setup(app)
