"""Typed configuration: frozen dataclasses, read from TOML, overridable by dotted names.

An unknown key is an error that names the nearest known one; a wrong type is an error that names
the key, what was expected and what was found. ``to_mapping`` gives back what was resolved, so
that every run can write down its own configuration.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hyperclova.errors import UserError

T = TypeVar("T")


def load(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read ``path`` (TOML) into the dataclass ``kind``; ``overrides`` are ``a.b=value`` strings.

    A value on the right of ``=`` is read as TOML; what is not TOML is taken as a string, so
    ``tokenizer=models/small`` needs no quotes.

    Raises:
        UserError: file missing, not TOML, unknown key, wrong type, or a value the dataclass's
            ``__post_init__`` refuses (it raises ``ValueError``).
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _apply(tree, override)
    return build(kind, tree, where=str(path))


def build(kind: type[T], tree: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``kind`` from nested mappings; ``where`` prefixes error messages."""
    return typing.cast(T, _build(kind, tree, where, prefix=""))


def at_least(section: object, least: float, *names: str) -> None:
    """For a ``__post_init__``: whether the fields called so are no smaller than ``least``.

    Raises:
        ValueError: naming the first that is.
    """
    for name in names:
        if getattr(section, name) < least:
            raise ValueError(f"{name} is {getattr(section, name)}; it must be at least {least}")


def to_mapping(value: Any) -> dict[str, Any]:
    """The configuration as plain nested data (paths as strings), ready for JSON."""
    return {key: _plain(item) for key, item in dataclasses.asdict(value).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _apply(tree: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise UserError(f"override {override!r} is not of the form section.key=value")
    *sections, key = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"override {override!r}: {section} is a value, not a section")
    try:
        tree[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tree[key] = text


def _build(kind: Any, tree: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise UserError(f"{where}: unknown key {prefix}{key}; did you mean {prefix}{near[0]}?")
    values = {
        key: _convert(hints[key], value, where, f"{prefix}{key}") for key, value in tree.items()
    }
    for name, field in known.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise UserError(f"{where}: {prefix}{name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(f"{where}: {prefix.rstrip('.') or 'configuration'}: {error}") from None


def _convert(hint: Any, value: Any, where: str, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _build(hint, value, where, prefix=f"{name}.")
    if origin in (types.UnionType, typing.Union):
        failures = []
        for option in arguments:
            if option is type(None):
                continue
            try:
                return _convert(option, value, where, name)
            except UserError as error:
                failures.append(error)
        raise failures[0]
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise UserError(
            f"{where}: {name} is {value!r}; choose one of {', '.join(map(str, arguments))}"
        )
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, where, f"{name}[]") for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {
            key: _convert(arguments[1], item, where, f"{name}.{key}") for key, item in value.items()
        }
    if hint is Any:
        return value
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and not (hint is int and isinstance(value, bool))
    ):
        return value
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise UserError(f"{where}: {name} is {value!r}; expected {expected}")
