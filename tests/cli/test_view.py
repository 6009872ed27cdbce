"""The demo's table, rendered for terminals of several sizes."""

import io

import numpy as np
import pytest
from rich.console import Console

from streamingvlm_ros.cli.demo.scoreboard import Scoreboard
from streamingvlm_ros.cli.demo.terminal_image import TerminalImage
from streamingvlm_ros.cli.demo.view import demo_panel, headless_view
from streamingvlm_ros.types import NS_PER_S

CAPTION = "green triangle moves down, black circle enters from the bottom"


def board(rounds: int) -> Scoreboard:
    """Round 2 is wrong, round 3 was skipped, round 4 is silent; all others are correct."""
    scoreboard = Scoreboard()
    for second in range(rounds):
        truth = "" if second == 4 else f"{second}: {CAPTION}"
        scoreboard.add_truth(second * NS_PER_S, truth)
        if second != 3:
            narration = "red star rests" if second == 2 else truth
            scoreboard.add_narration(second * NS_PER_S, narration, lag_s=0.25, dropped_frames=0)
    return scoreboard


def render(scoreboard: Scoreboard, width: int, *, height: int, image: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )
    picture = np.zeros((56, 56, 3), np.uint8) if image else None
    with console.capture() as capture:
        console.print(demo_panel(scoreboard, console, seed=10_000, image=picture))
    return capture.get().splitlines()


def test_correct_wrong_skipped_and_silent_seconds_look_different() -> None:
    text = "\n".join(render(board(6), width=200, height=40))
    assert text.count("✓") == 4
    assert text.count("✗") == 2
    assert "(skipped)" in text
    assert text.count("(silence)") == 2
    assert "66.7% correct of 5 rounds" in text
    assert "world 10000" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (90, 30), (130, 34), (200, 60)])
def test_the_newest_second_and_the_totals_fit_into_the_terminal(width: int, height: int) -> None:
    lines = render(board(100), width, height=height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "99:" in text
    assert "rounds" in text


def test_a_large_terminal_shows_many_seconds() -> None:
    text = "\n".join(render(board(100), width=200, height=40))
    assert text.count("✓") >= 30


def test_an_image_keeps_its_aspect_ratio_in_half_blocks() -> None:
    image = np.zeros((60, 120, 3), np.uint8)
    image[:30] = 255
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        console.print(TerminalImage(image, columns=40))
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
            scoreboard.add_narration(second, "a", lag_s=0.1, dropped_frames=0)
            refresh(None)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("100.0% correct") == 2
