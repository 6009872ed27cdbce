"""report.html in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import PIL.Image
import pytest

from ..support.world_bags import film
from .sample_results import (
    HOSTILE,
    SECONDS,
    TRUTH,
    report_html,
    request,
    result,
    three_trials,
)

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed")

PROBE = """<!DOCTYPE html>
<iframe id="page" src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="output"></pre>
<script>
document.getElementById("page").onload = async (event) => {{
  const page = event.target.contentWindow, errors = [], copied = [];
  page.addEventListener("error", (error) => errors.push(error.message));
  Object.defineProperty(page.navigator, "clipboard",
    {{ value: {{ writeText: async (text) => copied.push(text) }} }});
  const button = page.document.querySelector("button.copy");
  const hidden = button.hidden;
  button.click();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const root = page.document.documentElement, box = page.document.getElementById("only");
  const visible = () => Array.from(page.document.querySelectorAll(".group"))
    .filter((group) => group.getBoundingClientRect().height > 0).length;
  const before = visible();
  box.click();
  document.getElementById("output").textContent = JSON.stringify({{
    width: root.clientWidth, needed: root.scrollWidth, errors, hidden, copied,
    label: button.textContent, groups: [before, visible()],
    command: button.previousElementSibling.textContent,
    scripts: page.document.scripts.length,
  }});
}};
</script>
"""


def browse(folder: Path, *arguments: str) -> str:
    """Run the browser with a fresh profile and return what it prints."""
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [str(BROWSER), *FLAGS, profile, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.fixture
def report(tmp_path: Path) -> Path:
    bag = film(tmp_path / "world", range(SECONDS))
    texts = [HOSTILE + "x" * 300] * SECONDS
    long = result(texts, of=request(model=f"long {'m' * 200}", path=bag))
    right = result(TRUTH, of=request("right", path=bag))
    report_html(tmp_path, [*three_trials(bag), long, right])
    return tmp_path / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_and_its_buttons_copy(report: Path, width: int) -> None:
    probe = report.with_name("probe.html")
    probe.write_text(PROBE.format(width=width))
    dom = browse(report.parent, "--dump-dom", "--virtual-time-budget=5000", probe.as_uri())
    match = re.search('<pre id="output">(.+?)</pre>', dom)
    assert match, "the page's script has not run to its end"
    output = json.loads(match[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    assert output["errors"] == []
    assert output["width"] == width
    assert output["needed"] <= width
    assert not output["hidden"]
    assert output["copied"] == [output["command"]]
    assert output["command"].startswith("streamingvlm replay /")
    assert output["label"] == "Copied"
    assert output["scripts"] == 1
    assert output["groups"] == [8, 4], "only groups with mistakes are left"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_rendered_in_colour(report: Path, width: int) -> None:
    shot = report.with_name("shot.png")
    frame = report.with_name("frame.html")
    # A browser window can't be as narrow as a phone, but a frame in it can.
    frame.write_text(
        f'<body style="margin:0"><iframe src="report.html" '
        f'style="width:{width}px;height:2000px;border:0;display:block"></iframe>'
    )
    browse(report.parent, f"--screenshot={shot}", f"--window-size={width},2000", frame.as_uri())
    with PIL.Image.open(shot) as picture:
        assert picture.size == (width, 2000)
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours
    assert len(colours) > 200
