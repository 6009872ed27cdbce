"""Declarations of settings: type, range, default and description in one place.

A group of settings is a frozen dataclass that pydantic checks. ROS parameters, command-line
options, recipes, streaming.json and the table in the docs are all derived from `settings_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass
from pydantic.dataclasses import rebuild_dataclass
from pydantic.fields import FieldInfo
from typing_extensions import dataclass_transform

from .errors import ConfigError

G = TypeVar("G")

_MAX_VALUE_CHARS = 80
"""Longer values are cut in error messages, which are one line."""


def setting(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    read_only: bool = True,
    key: str | None = None,
) -> Any:
    """Declare a field of a settings group.

    `low` and `high` are the closed range of a number. Choices are a Literal as the field's type.
    `read_only` settings can't be changed once a node is configured. `key` is the name that users
    write, if it differs from the field's.
    """
    return Field(
        default,
        description=description,
        validation_alias=key,
        ge=low,
        le=high,
        # Text or a boolean is no number, but 2 is accepted for 2.0.
        strict=True if isinstance(default, bool | int | float) else None,
        allow_inf_nan=False if isinstance(default, float) else None,
        json_schema_extra={"read_only": read_only},
    )


@dataclass_transform(frozen_default=True)
def settings_group(cls: type[G]) -> type[G]:
    """Make a class of `setting` fields a frozen dataclass that raises ConfigError.

    The error is one line and lists every unknown name and every wrong value. `__post_init__` may
    check settings against each other; it runs only if every setting is valid.
    """
    # Validators are built when a group is first constructed: `--help` needs only declarations.
    config = ConfigDict(extra="forbid", populate_by_name=True, defer_build=True)
    group: Any = validated_dataclass(frozen=True, config=config)(cls)

    @wraps(group.__init__)
    def build_and_init(self: Any, *args: Any, **values: Any) -> None:
        rebuild_dataclass(group)  # replaces __init__
        group.__init__ = _raising_config_error(group)
        group.__init__(self, *args, **values)

    group.__init__ = build_and_init
    return cls


def _raising_config_error(group: Any) -> Callable[..., None]:
    """Return the group's `__init__` with pydantic's errors as one line."""
    validate: Callable[..., None] = group.__init__

    @wraps(validate)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
        except ValidationError as error:
            raise ConfigError(_summary(group, error)) from None

    return init


@dataclass(frozen=True)
class Setting:
    """A setting's declaration. `kind` is bool, int, float, str or tuple (a list of texts)."""

    name: str
    kind: type
    default: Any
    description: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    read_only: bool
    annotation: Any
    """Type with constraints, for pydantic."""

    @property
    def range(self) -> str:
        """Allowed values as short text; empty if the type says it all."""
        if self.choices:
            return ", ".join(choice or "''" for choice in self.choices)
        return "" if self.low is None else f"{self.low} to {self.high}"

    @property
    def requirement(self) -> str:
        """Allowed values as the end of a sentence: "must be …"."""
        if self.choices:
            return f"one of {self.range}"
        if self.low is not None:
            number = "a whole number" if self.kind is int else "a number"
            return f"{number} between {self.low} and {self.high}"
        return {
            bool: "true or false",
            str: "text, in quotes if need be",
            tuple: "a list of texts",
        }.get(self.kind, f"of type {self.kind.__name__}")

    def problem(self, value: Any) -> str:
        """Return the message for a wrong value: name, allowed values and the value itself."""
        return f"{self.name} must be {self.requirement}, not {brief(value)}"

    def check(self, value: Any) -> Any:
        """Return `value` as this setting's type. ConfigError if it is not allowed."""
        try:
            return TypeAdapter(self.annotation).validate_python(value)
        except ValidationError:
            raise ConfigError(self.problem(value)) from None

    def from_yaml(self, value: Any) -> Any:
        """Convert a value read from YAML to the number that it means; return others unchanged.

        YAML 1.1 reads 1e-3 as text, and 1.0e+8 as a fraction where a whole number is needed.
        """
        if self.kind is int and isinstance(value, float):
            return int(value) if value.is_integer() else value
        if self.kind in (int, float) and isinstance(value, str):
            with suppress(ValueError):
                return self.kind(value)
        return value


def settings_of(group: type) -> Mapping[str, Setting]:
    """Return the settings of a group by name, or of all groups of a dataclass of groups.

    Sections of a group (`sections_of`) are left out.
    """
    if not _is_group(group):
        groups = (item.default_factory for item in fields(group))
        return {name: s for g in groups for name, s in settings_of(g).items()}  # type: ignore[arg-type]
    settings = (_setting(name, info) for name, info in _pydantic_fields(group).items())
    return {s.name: s for s in settings if s}


def sections_of(group: type) -> dict[str, type]:
    """Return the groups that are fields of a group, optional ones included."""
    if not _is_group(group):
        return {}
    pairs = ((name, _section(info)) for name, info in _pydantic_fields(group).items())
    return {name: section for name, section in pairs if section}


def unknown_setting(name: str, names: Iterable[str]) -> str:
    """Return the message for a name that is not in `names`."""
    close = get_close_matches(name, names, n=1)
    return f"unknown setting {name!r}" + (f"; did you mean {close[0]}?" if close else "")


@contextmanager
def located(place: object) -> Iterator[None]:
    """Prefix the message of a ConfigError raised in the block with `place`: a file or section."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def brief(value: Any) -> str:
    """Format a value for an error message: one line of limited length."""
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1]}…"


def _pydantic_fields(group: type) -> dict[str, FieldInfo]:
    """Return the fields by the names that users write."""
    infos: dict[str, FieldInfo] = group.__pydantic_fields__  # type: ignore[attr-defined]
    return {str(info.validation_alias or name): info for name, info in infos.items()}


def _is_group(kind: Any) -> bool:
    return is_dataclass(kind) and hasattr(kind, "__pydantic_fields__")


def _setting(name: str, info: FieldInfo) -> Setting | None:
    """Return a field's declaration; None for a section."""
    if info.description is None:
        return None
    kind = info.annotation
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    low, high = (
        next((getattr(limit, key) for limit in info.metadata if hasattr(limit, key)), None)
        for key in ("ge", "le")
    )
    annotation: Any = kind
    for constraint in info.metadata:
        annotation = Annotated[annotation, constraint]
    extra = info.json_schema_extra
    assert isinstance(extra, dict)
    return Setting(
        name=name,
        kind=type(info.default),
        default=info.default,
        description=info.description,
        low=low,
        high=high,
        choices=choices,
        read_only=bool(extra["read_only"]),
        annotation=annotation,
    )


def _section(info: FieldInfo) -> type | None:
    kinds = (info.annotation, *get_args(info.annotation))
    return next((kind for kind in kinds if _is_group(kind)), None)


def _summary(group: type, error: ValidationError) -> str:
    """Return all problems of a validation as one line."""
    details = error.errors(include_url=False)
    return "; ".join(_sentence(group, tuple(d["loc"]), detail=d) for d in details)


def _sentence(group: type, location: tuple[int | str, ...], *, detail: Mapping[str, Any]) -> str:
    """Return a problem as a sentence, with the sections before it: "training: steps must …"."""
    if detail["type"] == "value_error":  # raised by a __post_init__
        return ": ".join([*map(str, location), str(detail["ctx"]["error"])])
    name, *rest = location
    settings, sections = settings_of(group), sections_of(group)
    if isinstance(name, int):  # an argument without a name
        name = list(_pydantic_fields(group))[name]
    if detail["type"] == "unexpected_keyword_argument" and not rest:
        return unknown_setting(str(name), [*settings, *sections])
    if name in sections and rest:
        return f"{name}: {_sentence(sections[name], tuple(rest), detail=detail)}"
    if name not in settings:
        return f"{name} must hold names and values, not {brief(detail['input'])}"
    if rest:  # an entry of a list
        return f"{name}[{rest[0]}] must be text, in quotes if need be, not {brief(detail['input'])}"
    return settings[name].problem(detail["input"])
