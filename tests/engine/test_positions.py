"""M-RoPE positions: transformers' own at 2 fps, fractional steps above."""

from __future__ import annotations

import pytest
import torch

from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.ledger import Kind, Ledger, Segment
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.qwen2_5.positions import positions


def test_positions_equal_transformers_rope_index_for_whole_steps(loaded: LoadedModel) -> None:
    chat_format = ChatFormat(loaded.tokenizer)
    ledger = Ledger().append(chat_format.opening(chat_format.encode("the ball")))
    grids = [(1, 2, 3), (2, 4, 3), (1, 1, 1)]
    for round, grid in enumerate(grids):
        ledger = ledger.append(
            chat_format.user_turn(round, (round, round + 1), grid=grid, grid_seconds=1.0)
        )
        ledger = ledger.append(chat_format.assistant_turn(round, "it stops"))
    ids = torch.tensor([ledger.ids])
    expected, _ = loaded.model.model.get_rope_index(
        input_ids=ids,
        mm_token_type_ids=(ids == chat_format.pad_id).int() * 2,
        video_grid_thw=torch.tensor([(t, h * 2, w * 2) for t, h, w in grids]),
        second_per_grid_ts=torch.ones(len(grids)),
    )
    assert torch.equal(positions(ledger, 2.0), expected[:, 0].float())


@pytest.mark.parametrize(("fps", "step"), [(1.0, 4.0), (2.0, 2.0), (8.0, 0.5), (30.0, 2 * 2 / 30)])
def test_time_advances_by_the_seconds_between_grids(fps: float, step: float) -> None:
    vision = Segment(Kind.VISION, (1,) * (3 * 2 * 2 + 2), 0, (3, 2, 2), 2 / fps)
    after = Segment(Kind.USER_END, (1, 1), 0)
    places = positions([vision, after], tokens_per_second=2.0)
    assert places[0, 1:-3].tolist() == pytest.approx(
        [1 + step * k for k in range(3) for _ in range(4)]
    )
    assert places[1, 1:-3].tolist() == [1, 1, 2, 2] * 3
    assert places[2, 1:-3].tolist() == [1, 2, 1, 2] * 3
    end = max(1 + 2 * step, 2) + 1
    for axis in places[:, -3:].tolist():
        assert axis == pytest.approx([end, end + 1, end + 2])


def test_an_empty_sequence_has_no_positions() -> None:
    assert positions([], 2.0).shape == (3, 0)
