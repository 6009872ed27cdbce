"""The demo's table, drawn for terminals of several sizes."""

import io

import numpy as np
import pytest
from rich.console import Console

from streamingvlm_ros.cli.demo.picture import Picture
from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.cli.demo.view import demo_panel, headless_view
from streamingvlm_ros.types import NS_PER_S

CAPTION = "green triangle moves down, black circle enters from the bottom"


def board(rounds: int) -> Scoreboard:
    """Round 2 is wrong, round 3 was skipped, round 4 is silent; all others are right."""
    scoreboard = Scoreboard()
    for second in range(rounds):
        truth = "" if second == 4 else f"{second}: {CAPTION}"
        scoreboard.add_truth(second * NS_PER_S, truth)
        if second != 3:
            said = "red star rests" if second == 2 else truth
            scoreboard.add_narration(second * NS_PER_S, said, lag_s=0.25, dropped=0)
    return scoreboard


def drawn(scoreboard: Scoreboard, width: int, height: int, image: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )
    picture = np.zeros((56, 56, 3), np.uint8) if image else None
    with console.capture() as capture:
        console.print(demo_panel(scoreboard, 10_000, picture, console))
    return capture.get().splitlines()


def test_every_kind_of_second_is_told_apart() -> None:
    text = "\n".join(drawn(board(6), width=200, height=40))
    assert text.count("✓") == 4
    assert text.count("✗") == 2
    assert "(skipped)" in text
    assert text.count("(silence)") == 2
    assert "66.7% right of 5 rounds" in text
    assert "world 10000" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (90, 30), (130, 34), (200, 60)])
def test_the_newest_second_and_the_totals_fit_into_the_terminal(width: int, height: int) -> None:
    lines = drawn(board(100), width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "99:" in text
    assert "rounds" in text


def test_a_terminal_is_filled_with_as_many_seconds_as_it_holds() -> None:
    shown = "\n".join(drawn(board(100), width=200, height=40))
    assert shown.count("✓") >= 30


def test_a_picture_keeps_its_shape_in_half_blocks() -> None:
    image = np.zeros((60, 120, 3), np.uint8)
    image[:30] = 255
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(Picture(image, columns=40))
    lines = capture.get().splitlines()
    assert len(lines) == 10
    assert all(line.count("▀") == 40 for line in lines)
    assert "38;2;255;255;255;48;2;255;255;255" in lines[0]
    assert "38;2;0;0;0;48;2;0;0;0" in lines[-1]


def test_headless_progress_goes_to_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    scoreboard = board(0)
    with headless_view(scoreboard, 10_000) as refresh:
        for second in range(25):
            scoreboard.add_truth(second, "a")
            scoreboard.add_narration(second, "a", 0.1, 0)
            refresh(None)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("100.0% right") == 2
