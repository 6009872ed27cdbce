"""Every setting, in every place where it can be set: wrong values get the same message."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streamingvlm_ros.cli.options import setting_option
from streamingvlm_ros.cli.settings_table import setting_groups, settings_table
from streamingvlm_ros.config import FrameConfig, SamplingConfig, Settings, settings_for
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.evaluation.candidate import parse_candidate
from streamingvlm_ros.setting import Setting, settings_of
from streamingvlm_training.recipe import Recipe, TrainConfig, read_recipe

from .support.settings import out_of_range, wrong_values

OF_STREAM = settings_of(Settings)
SECTIONS = {
    f"{group.__name__}.{setting.name}": (group, setting)
    for group in setting_groups().values()
    if group is not Settings
    for setting in settings_of(group).values()
}
few_examples = hypothesis_settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def assert_refused(setting: Setting, value: Any, *, error: pytest.ExceptionInfo[Exception]) -> None:
    """Check that the error is one line with the setting's name, allowed values and the value."""
    message = str(error.value)
    assert message.endswith(setting.problem(value))
    assert "\n" not in message


@pytest.mark.parametrize("name", [*OF_STREAM, *SECTIONS])
def test_every_setting_is_described_by_sentences(name: str) -> None:
    setting = OF_STREAM[name] if name in OF_STREAM else SECTIONS[name][1]
    assert setting.description[0].isupper()
    assert setting.description.endswith(".")
    assert (setting.low is None) == (setting.kind not in (int, float))
    assert setting.check(setting.default) == setting.default


def test_the_table_has_a_row_for_every_setting() -> None:
    rows = settings_table().splitlines()
    for _, setting in [*SECTIONS.values(), *((Settings, s) for s in OF_STREAM.values())]:
        assert any(r.startswith(f"| `{setting.name}` ") and setting.description in r for r in rows)
    assert all(row.count(" | ") == 3 for row in rows if row.startswith("| `"))


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", SECTIONS)
def test_a_group_refuses_a_wrong_value(name: str, data: st.DataObject) -> None:
    group, setting = SECTIONS[name]
    value = data.draw(wrong_values(setting))
    with pytest.raises(ConfigError) as error:
        group(**{setting.name: value})
    assert_refused(setting, value, error=error)


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", OF_STREAM)
def test_a_checkpoints_settings_file_refuses_a_wrong_value(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    value = data.draw(wrong_values(OF_STREAM[name]))
    (tmp_path / "streaming.json").write_text(json.dumps({name: value}))
    with pytest.raises(ConfigError) as error:
        settings_for(tmp_path)
    assert_refused(OF_STREAM[name], value, error=error)


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", OF_STREAM)
def test_a_recipes_streaming_section_refuses_a_wrong_value(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    assert_recipe_refuses(tmp_path, "streaming", setting=OF_STREAM[name], data=data)


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", settings_of(TrainConfig))
def test_a_recipes_section_refuses_a_wrong_value(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    assert_recipe_refuses(tmp_path, "training", setting=settings_of(TrainConfig)[name], data=data)


def assert_recipe_refuses(
    folder: Path, section: str, *, setting: Setting, data: st.DataObject
) -> None:
    value = data.draw(wrong_values(setting))
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({section: {setting.name: value}}))
    with pytest.raises(ConfigError, match=f"recipe.yaml: {section}: ") as error:
        read_recipe(path)
    assert_refused(setting, value, error=error)


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", [name for name, s in OF_STREAM.items() if s.low is not None])
def test_an_evaluations_label_refuses_a_wrong_value(name: str, data: st.DataObject) -> None:
    value = data.draw(wrong_values(OF_STREAM[name]))
    text = yaml.safe_dump(value, default_flow_style=True).splitlines()[0]
    with pytest.raises(ConfigError) as error:
        parse_candidate(f"demo {name}={text}")
    assert_refused(OF_STREAM[name], value, error=error)


@few_examples
@given(data=st.data())
@pytest.mark.parametrize("name", ["fps", "temperature", "seed", "quota_gb", "split_mb"])
def test_an_option_refuses_a_value_out_of_range(name: str, data: st.DataObject) -> None:
    setting = {**OF_STREAM, **{s.name: s for _, s in SECTIONS.values() if s.name != "seed"}}[name]
    option = setting_option(name)
    for value in (data.draw(out_of_range(setting)), "many"):
        with pytest.raises(typer.BadParameter) as error:
            option.parser(str(value))
        assert_refused(setting, value, error=error)


@pytest.mark.parametrize(("name", "text"), [("fps", "2"), ("fps", "2.5"), ("seed", "7")])
def test_an_option_accepts_a_value_within_the_range(name: str, text: str) -> None:
    value = setting_option(name).parser(text)
    assert value == float(text)
    assert type(value) is OF_STREAM[name].kind


def test_a_whole_number_is_accepted_for_a_fraction_in_every_place() -> None:
    assert type(FrameConfig(fps=2).fps) is float
    assert type(Settings().updated({"temperature": 0}).sampling.temperature) is float


def test_all_problems_are_listed_in_one_line() -> None:
    with pytest.raises(ConfigError) as error:
        Settings().updated({"fsp": 3, "fps": 0, "seed": True, "zzz": 1})
    assert str(error.value) == (
        "fps must be a number between 1.0 and 30.0, not 0; "
        "seed must be a whole number between 0 and 2147483647, not True; "
        "unknown setting 'fsp'; did you mean fps?; unknown setting 'zzz'"
    )


def test_problems_of_several_recipe_sections_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {step: 3, epochs: -1}\nclips: {told: 2}\nsed: 1")
    with pytest.raises(ConfigError) as error:
        read_recipe(path)
    assert str(error.value) == (
        f"{path}: clips: told must be a number between 0.0 and 1.0, not 2; "
        "training: epochs must be a number between 0.0 and 1000.0, not -1; "
        "training: unknown setting 'step'; did you mean steps?; "
        "unknown setting 'sed'; did you mean seed?"
    )


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ConfigError) as error:
        FrameConfig(fps="x" * 10_000)
    assert len(str(error.value)) < 200


def test_settings_are_frozen_comparable_and_picklable() -> None:
    sampling = SamplingConfig(temperature=0.5)
    assert pickle.loads(pickle.dumps(sampling)) == sampling
    assert {sampling: 1}[replace(SamplingConfig(), temperature=0.5)] == 1
    with pytest.raises(FrozenInstanceError):
        sampling.temperature = 1.0
    recipe = Recipe(training=TrainConfig(steps=3))
    assert pickle.loads(pickle.dumps(recipe)) == recipe
