"""Recipes: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.errors import ConfigError
from streamingvlm_training.recipe import DataConfig, Recipe, TrainConfig, read_recipe


def write_recipe(folder: Path, content: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(content, encoding=encoding)
    return path


def test_blank_values_are_the_defaults(tmp_path: Path) -> None:
    blank = """
        name:
        after:
        start:
        seed:
        training: {sharding: , steps: ~}
        clips:
        streaming: {fps: , instruction: ~}
    """
    assert read_recipe(write_recipe(tmp_path, blank)) == Recipe()
    recipe = read_recipe(write_recipe(tmp_path, "data: {train: [a.jsonl], validation: , videos: }"))
    assert recipe.data == DataConfig(train=("a.jsonl",))
    assert recipe.training == TrainConfig()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("data: {train: [~]}", r"data: train\[0\] must be text, .* not None"),
        ("data: {train: [a.jsonl, off]}", r"data: train\[1\] must be text, .* not False"),
        ("data: {train: [a.jsonl], videos: [b]}", r"data: videos must be text"),
        ("name: 12", "name must be text, in quotes if need be, not 12"),
        ("start: demo\nlora:", "lora must hold names and values, not None"),
        (
            "training: {steps: .inf}",
            "training: steps must be a whole number .*, not inf",
        ),
        (
            "training: {learning_rate: .nan}",
            "training: learning_rate must be a number .*, not nan",
        ),
        ("training: {1: 2}", r"training must hold names and values, not \{1: 2\}"),
        ("streaming: {1: 2}", r"streaming must hold names and values, not \{1: 2\}"),
        ("1: 2", r"recipe\.yaml: a recipe must hold names and values, not \{1: 2\}"),
        ("name: 2026-13-45", r"is not YAML: month must be in 1\.\.12"),
        ("seed: -5", "seed must be a whole number between 0 and 4294967295, not -5"),
        ("seed: 4294967296", "seed must be a whole number between"),
        ("start: demo\nlora: {}\ntraining: {optimizer: muon}", "lora needs optimizer: adamw"),
        ("name: [", "is not YAML: while parsing"),
        ("training: {bfloat16: 1}", "training: bfloat16 must be true or false, not 1"),
        ("training: {bfloat16: 'yes'}", "bfloat16 must be true or false, not 'yes'"),
        (
            "streaming: {temperature: hot}",
            "temperature must be a number .*, not 'hot'",
        ),
        (
            "streaming: {temperature: nan}",
            "temperature must be a number .*, not nan",
        ),
        (
            "streaming: {vision_rounds: 1e1}",
            "vision_rounds must be a whole number .*, not '1e1'",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        read_recipe(write_recipe(tmp_path, content))
    assert "\n" not in str(refused.value)


def test_a_recipe_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.yaml is not YAML: 'utf-8' codec can't decode"):
        read_recipe(write_recipe(tmp_path, "name: größer", encoding="latin-1"))


def test_fractions_may_have_an_exponent_in_every_section(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-1 as text."""
    recipe = read_recipe(
        write_recipe(
            tmp_path,
            "streaming: {temperature: 1e-1, instruction: 1e-1}\ntraining: {weight_decay: 1e-1}",
        )
    )
    assert recipe.settings.sampling.temperature == recipe.training.weight_decay == 0.1
    assert recipe.settings.prompt.instruction == "1e-1"
