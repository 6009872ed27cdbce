"""Runs the demo for real and draws its last view: `python docs/images/draw_demo.py`."""

import io
import re
from pathlib import Path

from rich.console import Console

from streamingvlm_ros.cli.dds import use_packaged_profile
from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.cli.demo.view import demo_panel
from streamingvlm_ros.cli.demo.watch import watch
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED
from streamingvlm_ros.types import Image

ROUNDS = 60
PICTURE = Path(__file__).parent / "demo.svg"


def main() -> None:
    """Write demo.svg beside this file."""
    use_packaged_profile()
    scoreboard = Scoreboard()
    seen: list[Image] = []

    def keep(image: Image | None) -> None:
        seen[:] = [] if image is None else [image]

    watch(scoreboard, FIRST_UNSEEN_SEED, ROUNDS, keep, pictures=True)
    console = Console(record=True, file=io.StringIO(), width=132, height=30, force_terminal=True)
    console.print(demo_panel(scoreboard, FIRST_UNSEEN_SEED, seen[0], console))
    svg = console.export_svg(title="streamingvlm demo")
    # Whoever looks at it has a monospaced font: nothing is to be fetched from elsewhere.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
