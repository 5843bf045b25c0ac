"""How Sphinx builds the documentation: `python -m sphinx -W -b html docs docs/_build/html`."""

import sys
from pathlib import Path

from coursewarehub import __version__

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

project = "CoursewareHub"
author = "the CoursewareHub developers"
project_copyright = "the CoursewareHub developers"
release = version = __version__
language = "en"

extensions = ["myst_parser", "cli_help"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = "CoursewareHub"
html_static_path = ["_static"]
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
html_copy_source = False
