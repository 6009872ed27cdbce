"""Run the demo and save its last view as demo.svg: `python docs/images/draw_demo.py`."""

import io
import re
from pathlib import Path

from rich.console import Console

from streamingvlm_ros.cli.demo.run import run_demo
from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.cli.demo.view import demo_panel
from streamingvlm_ros.cli.ros_environment import use_packaged_profile
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED
from streamingvlm_ros.types import Image

ROUNDS = 60
DRAWING = Path(__file__).parent / "demo.svg"


def main() -> None:
    """Write demo.svg beside this file."""
    use_packaged_profile()
    scoreboard = Scoreboard()
    newest: Image | None = None

    def refresh(image: Image | None) -> None:
        nonlocal newest
        newest = image

    run_demo(scoreboard, refresh, seed=FIRST_UNSEEN_SEED, rounds=ROUNDS, images=True)
    console = Console(record=True, file=io.StringIO(), width=132, height=30, force_terminal=True)
    console.print(demo_panel(scoreboard, console, seed=FIRST_UNSEEN_SEED, image=newest))
    svg = console.export_svg(title="streamingvlm demo")
    # Every viewer has a monospaced font; the drawing must not download one.
    DRAWING.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
