"""The shipped model's answers on unseen worlds, in every mode, compared with two controls.

python perf/asking.py                      # 4 worlds of 400 rounds, 4 of half an hour

Questions are asked at random times. The control `blank` has frames of an empty table, and
`shuffled` has frames of other seconds: right answers there don't come from seeing. Prints a JSON
line per mode and control: the share of right answers of each kind of question, and of all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from streamingvlm_ros.config import DEMO_CHECKPOINT, settings_for
from streamingvlm_ros.demo.acts import Second, Thing
from streamingvlm_ros.demo.drawing import draw
from streamingvlm_ros.demo.questions import MOMENTS, NOW, PAST, about_moments
from streamingvlm_ros.demo.story import BLOCK_S
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import StreamingVLMError
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.history.store import History
from streamingvlm_ros.history.types import Entry
from streamingvlm_ros.types import (
    NS_PER_S,
    Answer,
    Ask,
    Chunk,
    Frame,
    HistoryMoment,
    Image,
    Question,
)

SIDE_PX = 112
PAST_S = 11
"""Seconds that the small model's text window always holds: 8 rounds and the carried text."""
ASKED_OF_ROUNDS = 0.3
AWAY_S = 1800
VISITS = 7

Look = Callable[[int, float], Image]
"""Function from (second, part of it) to an image."""
HistoryServer = Callable[[str], list[HistoryMoment]]
Scores = dict[str, list[bool]]


def chunk(look: Look, second: int) -> Chunk:
    """Return a second of a camera at 2 frames per second."""
    start = second * NS_PER_S
    parts = (0.0, 0.5)
    frames = tuple(Frame(look(second, part), start + int(part * NS_PER_S)) for part in parts)
    return Chunk(frames, start, start + NS_PER_S)


def looks(world: World, rounds: int) -> dict[str, Look]:
    """Return the unchanged world and the two controls."""
    other = np.random.default_rng(world.seed).permutation(rounds)
    blank = draw([], SIDE_PX, width_px=SIDE_PX)
    return {
        "seen": lambda second, part: world.frame(second + part, SIDE_PX, SIDE_PX),
        "blank": lambda second, part: blank,
        "shuffled": lambda second, part: world.frame(other[second] + part, SIDE_PX, SIDE_PX),
    }


def ask_live(
    engine: StreamingEngine, world: World, *, rounds: int, look: Look
) -> dict[str, Scores]:
    """Score modes `stream` (about the present and the text window) and `recent`."""
    random = np.random.default_rng(world.seed)
    scores: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    stream, newest = engine.open_stream(), engine.settings.asking.recent_frames
    frames: list[Frame] = []
    for number in range(rounds):
        seen = chunk(look, number)
        frames = [*frames, *seen.frames][-newest:]
        stream.step(seen)
        if number < PAST_S or random.random() > ASKED_OF_ROUNDS:
            continue
        past = [world.second(n) for n in range(number - PAST_S + 1, number + 1)]
        asked = [("stream", kind, make(past[-1], random)) for kind, make in NOW.items()]
        asked += [("recent", kind, now) for _, kind, now in asked]
        past_questions = [("text window", kind, make(past, random)) for kind, make in PAST.items()]
        asked += [(mode, kind, question) for mode, kind, question in past_questions if question]
        questions = [
            Question(question.question, frames=tuple(frames) if mode == "recent" else ())
            for mode, _, question in asked
        ]
        answers = answers_to(stream, questions)
        for (mode, kind, question), answer in zip(asked, answers, strict=True):
            scores[mode][kind].append(answer == question.answer)
    stream.close()
    return scores


def answers_to(stream: Stream, questions: list[Question]) -> list[str]:
    """Return the answers to questions that are asked at the same moment; errors as text."""
    outcomes: dict[int, Answer | StreamingVLMError] = {}
    for number, question in enumerate(questions):
        stream.engine.ask(stream, Ask(question, partial(outcomes.__setitem__, number)))
    stream.engine.finish(stream)
    results = [outcomes[number] for number in range(len(questions))]
    return [result.text if isinstance(result, Answer) else str(result) for result in results]


def visit_world(seed: int) -> tuple[list[Second], list[Callable[[float], Image]], list[Thing]]:
    """Return VISITS blocks with a guest each, unique to its block, and AWAY_S without guests.

    No other thing has the first guest's shape.
    """
    random = np.random.default_rng(seed)
    blocks: list[tuple[World, int]] = []
    guests: list[Thing] = []
    while len(blocks) < VISITS + AWAY_S // BLOCK_S:
        block = World(FIRST_UNSEEN_SEED + int(random.integers(10**6))), int(random.integers(100))
        things = _things(block)
        names, shapes = [t.name for t in things], [t.shape for t in things]
        if any(g.name in names for g in guests) or (guests and guests[0].shape in shapes):
            continue
        if len(blocks) < VISITS:
            once = [t for t in things if names.count(t.name) == 1]
            if not guests:
                once = [t for t in once if shapes.count(t.shape) == 1]
            if not once:
                continue
            guests.append(once[0])
        blocks.append(block)
    seconds = [w.second(b * BLOCK_S + n) for w, b in blocks for n in range(BLOCK_S)]
    frames = [_looker(w, b * BLOCK_S + n) for w, b in blocks for n in range(BLOCK_S)]
    return seconds, frames, guests


def _things(block: tuple[World, int]) -> list[Thing]:
    world, number = block
    seconds = [world.second(number * BLOCK_S + n) for n in range(BLOCK_S)]
    return sorted({act.thing for second in seconds for act in second.acts}, key=str)


def _looker(world: World, second: int) -> Callable[[float], Image]:
    return lambda part: world.frame(second + part, SIDE_PX, SIDE_PX)


def ask_long_ago(engine: StreamingEngine, seed: int) -> dict[str, Scores]:
    """Score mode `history`, about things that left half an hour of stream ago."""
    seconds, frames, guests = visit_world(seed)
    scores: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    stream = engine.open_stream()
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), HistoryConfig())
        for number in range(len(seconds)):
            seen = chunk(lambda second, part: frames[second](part), number)
            narration = stream.step(seen)
            history.add(
                Entry(narration.text, narration.start_ns, narration.end_ns), seen.frames[-1]
            )
        history.flush()
        recall = partial(history.moments, count=engine.settings.asking.history_moments)
        for index, guest in enumerate(guests):
            for kind in [k for k in MOMENTS if index == 0 or k != "colour then"]:
                _ask_of_guest(
                    stream, recall, seconds=seconds, guest=guest, kind=kind, scores=scores
                )
        history.close()
    stream.close()
    return scores


def _ask_of_guest(
    stream: Stream,
    recall: HistoryServer,
    *,
    seconds: list[Second],
    guest: Thing,
    kind: str,
    scores: dict[str, Scores],
) -> None:
    """Score one question about a guest. The truth is that of the moments in the answer."""
    named = next(
        question for second in seconds if (question := about_moments([second], guest, kind=kind))
    )
    moments = recall(named.question)
    blank = draw([], SIDE_PX, width_px=SIDE_PX)
    controls = {
        "seen": moments,
        "blank": [replace(m, frame=replace(m.frame, image=blank)) for m in moments],
        "blank and untold": [
            replace(m, frame=replace(m.frame, image=blank), text="") for m in moments
        ],
    }
    shown = [seconds[m.start_ns // NS_PER_S] for m in moments]
    asked = about_moments(shown, guest, kind=kind)
    if not asked and any(act.thing == guest for second in shown for act in second.acts):
        return  # the guest moved between the moments: the question has no single true answer
    for name, given in controls.items():
        answer = stream.ask(Question(named.question, moments=tuple(given))) if given else None
        right = bool(asked and answer and answer.text == asked.answer)
        scores[f"history, {name}"][kind].append(right)
        live = stream.ask(named.question) if name == "seen" else None
        if live and asked:
            scores["history, asked of the stream"][kind].append(live.text == asked.answer)
        if name == "seen" and not right:
            print(
                f"wrong: {named.question} {answer and answer.text!r}, not {asked}; "
                f"moments {[(m.start_ns // NS_PER_S, m.text) for m in moments]}",
                file=sys.stderr,
            )


def report(scores: dict[str, Scores]) -> None:
    """Print a JSON line per mode."""
    for mode, kinds in scores.items():
        every = [right for rights in kinds.values() for right in rights]
        line = {kind: round(float(np.mean(rights)), 3) for kind, rights in kinds.items()}
        all_right = round(float(np.mean(every)), 3)
        print(json.dumps({"mode": mode, "questions": len(every), "right": all_right, **line}))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--model", type=Path, default=DEMO_CHECKPOINT)
    arguments = parser.parse_args()
    engine = StreamingEngine.from_pretrained(arguments.model, settings_for(arguments.model))
    scores: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for seed in range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + arguments.worlds):
        for name, look in looks(World(seed), arguments.rounds).items():
            print(f"world {seed}, {name}", file=sys.stderr)
            _merge(
                scores,
                f", {name}",
                scores=ask_live(engine, World(seed), rounds=arguments.rounds, look=look),
            )
        print(f"visits {seed}", file=sys.stderr)
        _merge(scores, "", scores=ask_long_ago(engine, seed))
    report(scores)


def _merge(into: dict[str, Scores], suffix: str, *, scores: dict[str, Scores]) -> None:
    for mode, kinds in scores.items():
        for kind, rights in kinds.items():
            into[mode + suffix][kind] += rights


if __name__ == "__main__":
    main()
