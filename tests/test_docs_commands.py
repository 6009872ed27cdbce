"""Commands, options, fields and files that the documents name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from streamingvlm_ros.cli.app import app
from streamingvlm_ros.cli.settings_table import settings_table
from streamingvlm_ros.config import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
COMMANDS = typer.main.get_command(app)
GENERAL = {"git", "cd", "mkdir", "source", "export", "rosdep", "pip", "colcon", "hf", "docker"}
"""Other projects' programs, which these tests don't check."""
NOT_OURS = {"topic": {"list", "info"}, "bag": {"record", "convert"}}
"""Commands of `ros2` that name nothing of ours."""


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command in a page's bash blocks, without comments and line ends."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"<[^>]*>", "PLACE", line)
            words = shlex.split(line.replace("…", "X"), comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                yield [w for w in command if not re.match(r"[A-Z_]+=", w)]


FOUND = [(page, words) for page in PAGES for words in commands(page) if words]


@pytest.mark.parametrize(
    "words", [pytest.param(w, id=f"{p.stem}: {' '.join(w)[:60]}") for p, w in FOUND]
)
def test_a_documented_command_exists_with_its_options(words: list[str]) -> None:
    check(words)


def check(words: list[str]) -> None:
    program, rest = Path(words[0]).name, words[1:]
    if program == "streamingvlm":
        check_streamingvlm(rest)
    elif program == "ros2":
        check_ros2(rest)
    elif program.startswith("python") and rest[:2] == ["-m", "venv"]:
        pass
    elif program in ("python", "torchrun", "accelerate", "deepspeed"):
        check_python(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rest[0] in targets
    else:
        assert program in GENERAL, f"say in this test how to check `{program}`"


def check_streamingvlm(words: list[str]) -> None:
    assert isinstance(COMMANDS, TyperGroup)
    if words[0].startswith("-"):
        assert any(words[0] in option.opts for option in COMMANDS.params)
        return
    command = COMMANDS.commands[words[0]]
    options, _, _ = command.make_parser(typer.Context(command)).parse_args(words[1:])
    if words[0] == "ask":  # a narrator refuses a longer answer than its parameter allows
        assert int(options.get("max_tokens") or 0) <= Settings().asking.max_answer_tokens


def check_ros2(words: list[str]) -> None:
    verb, rest = words[0], words[1:]
    match verb:
        case "run" if rest[:2] == ["streamingvlm_ros", "streamingvlm"]:
            check_streamingvlm(rest[2:])
        case "run":
            assert f"add_program({rest[1]} " in (ROOT / "CMakeLists.txt").read_text()
        case "launch":
            check_launch(rest[1], rest[2:])
        case "service" | "action":
            check_request([word for word in rest if not word.startswith("--")])
        case "lifecycle":
            assert rest[0] in ("get", "set")
        case "param":
            assert rest[2] in Settings().flat()
        case "topic" if rest[0] == "echo":
            assert any(f'"~/{Path(rest[1]).name}"' in s.read_text() for s in sources("ros"))
        case _:
            assert verb in NOT_OURS or rest[0] in NOT_OURS.get(verb, ())


def check_launch(name: str, arguments: list[str]) -> None:
    text = (ROOT / "launch" / name).read_text()
    for argument in arguments:
        assert f'"{argument.partition(":=")[0]}"' in text


def check_request(words: list[str]) -> None:
    """`call SERVICE TYPE VALUES` and `send_goal ACTION TYPE VALUES`."""
    package, kind, name = words[2].split("/")
    if package == "streamingvlm_ros":
        request = (ROOT / kind / f"{name}.{kind}").read_text().split("---")[0]
        fields = re.findall(r"^[\w/\[\]]+ +(\w+)", request, re.MULTILINE)
        assert set(yaml.safe_load(words[3])) <= set(fields)


def check_python(words: list[str]) -> None:
    """`python -m MODULE`, `python FILE`, or a launcher's options before either."""
    if "--no-python" in words:
        return check(words[words.index("--no-python") + 1 :])
    if "-m" in words or "--module" in words:
        start = words.index("-m" if "-m" in words else "--module") + 1
        path = ROOT / f"{words[start].replace('.', '/')}.py"
    else:
        start = next(n for n, word in enumerate(words) if word.endswith(".py"))
        path = ROOT / words[start]
    path = path if path.exists() else path.with_suffix("") / "__main__.py"
    text = path.read_text()
    for word in words[start + 1 :]:
        if word.startswith("--") and word != "--ros-args":
            assert f'"{word}"' in text
        elif word.startswith("training/"):
            assert (ROOT / word).exists()


CHECKOUT_ONLY = re.compile(
    r"\b(make [a-z]|python perf/|training/recipes/|pip install '?\.|\.venv/bin/|tests/\w+/|docker/)"
)
"""Parts of commands that name something which only a checkout has."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_command_that_needs_the_checkout_says_so(page: Path) -> None:
    introduction, *sections = re.split(r"^#{2,} ", page.read_text(), flags=re.MULTILINE)
    for section in (introduction, *sections):
        commands = re.findall(r"```bash\n.*?```|`[^`\n]+ [^`\n]+`", section, re.DOTALL)
        if any(CHECKOUT_ONLY.search(command) for command in commands):
            assert re.search(r"checkout|git clone", introduction + section), section[:300]


def sources(room: str) -> list[Path]:
    return sorted((ROOT / "streamingvlm_ros" / room).rglob("*.py"))


SETTINGS_HEAD = """# Settings

Every setting is declared once, in Python. `python -m streamingvlm_ros.cli.settings_table` prints
these tables.

## By group

"""


def test_the_page_of_settings_is_generated_from_their_declarations() -> None:
    assert (ROOT / "docs/settings.md").read_text() == SETTINGS_HEAD + settings_table()


PATH = re.compile(r"`((?:[\w*-]+/)+[\w*-]*\.(?:py|md|yaml|xml|msg|srv|action))`")
PLACES = [ROOT, ROOT / "streamingvlm_ros", ROOT / "docs"]
DECISIONS = sorted(ROOT.glob("docs/decisions/*.md"))


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    if page.stem == "log":
        pytest.skip("the log speaks of files that are gone")
    for name in PATH.findall(page.read_text()):
        assert any(list(place.glob(name)) for place in PLACES), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_one_title(page: Path) -> None:
    # Each one more would be another entry in the site's list of pages.
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
