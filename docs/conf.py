"""Sphinx builds the documentation site from the Markdown pages: `make docs`."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "streamingvlm_ros/__init__.py").read_text())
assert VERSION

project = "streamingvlm_ros"
release = VERSION[1]
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "StreamingVLM for ROS 2"
