"""Typed settings: frozen pydantic values, read from YAML, changed by dotted overrides.

One configuration class per stage lives beside the stage; `jobs.settings` composes them and nothing else
does. Defaults live in Python, YAML holds only what differs, and there are no includes, interpolation
or environment reads. The docstring under a field is its manual: `--help` prints it.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from echo_ray.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base of all settings: immutable, unknown keys refused, field docstrings kept."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    def updated(self: C, **changes: Any) -> C:
        """Copy with `changes` applied and validated again."""
        return type(self).model_validate(self.model_dump(by_alias=True) | changes)


def load(
    model: type[C],
    path: Path | None = None,
    overrides: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> C:
    """Settings from an optional YAML file, then `extra`, then `section.key=value` overrides.

    Raises ConfigError with one sentence for a missing file, bad YAML, an unknown key (naming the
    nearest known one) or a bad value.
    """
    tree: dict[str, Any] = read_yaml(path) if path else {}
    for key, value in (extra or {}).items():
        _assign(tree, key, value)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {item!r} is not of the form section.key=value")
        _assign(tree, key, _value(model, key, text))
    return build(model, tree, source=str(path) if path else "the command line")


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping stored in a YAML file; an empty file is an empty mapping."""
    if not path.is_file():
        raise ConfigError(f"configuration file {path} does not exist")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"configuration file {path} is not valid YAML: {reason}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"configuration file {path} must hold a mapping, not {type(tree).__name__}")
    return tree


def build(model: type[C], tree: Mapping[str, Any], source: str = "the settings") -> C:
    """`model` from nested plain values; the first fault becomes one ConfigError sentence."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(model, error, source)) from None


def fields(model: type[Config], prefix: str = "") -> Iterator[tuple[str, str, Any, str]]:
    """(dotted key, type name, default, docstring) of every setting, sections first-come."""
    for name, field in _by_key(model).items():
        inner = _config_class(field.annotation)
        if inner is not None:
            yield from fields(inner, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", _type_name(field.annotation), default, field.description or ""


def fingerprint(value: Any) -> str:
    """Short stable hash of a JSON-like value or a Config; equal values give equal hashes."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _value(model: type[Config], key: str, text: str) -> Any:
    """What the words after `key=` mean: YAML, but `007` stays what it is where a text is wanted."""
    wanted: Any = model
    for part in key.split("."):
        inner = _config_class(wanted)
        field = _by_key(inner).get(part) if inner is not None else None
        wanted = field.annotation if field is not None else None
    texts = wanted is str or set(get_args(wanted)) == {str, NoneType}
    if texts and not (text[:1] in "\"'" or text in ("null", "~")):
        return text
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    node = tree
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{dotted}: {section!r} is a value, not a section")
        node = child
    node[last] = value


def _sentence(model: type[Config], error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner, parent = model, ".".join(str(part) for part in first["loc"][:-1])
        for part in first["loc"][:-1]:
            known = _by_key(owner).get(str(part))
            owner = (_config_class(known.annotation) if known else None) or owner
        near = difflib.get_close_matches(str(first["loc"][-1]), _by_key(owner), n=1, cutoff=0.0)
        hint = f"; did you mean {parent + '.' if parent else ''}{near[0]}?" if near else ""
        return f"{source}: unknown key {key}{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{source}: {key or 'settings'} = {first['input']!r} is refused: {message}"


def _by_key(model: type[Config]) -> dict[str, FieldInfo]:
    """Fields under the names that settings files use: a field's alias where it has one."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _config_class(annotation: Any) -> type[Config] | None:
    # Of a union its members count; the values of a dict are not settings with fixed names.
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    for candidate in (annotation, *members):
        if isinstance(candidate, type) and issubclass(candidate, Config):
            return candidate
    return None


def _plain(annotation: Any) -> Any:
    """`annotation` without what validates it, which says nothing to a reader."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    inner = get_args(annotation)
    if get_origin(annotation) in (dict, list, tuple) and any(get_origin(item) is Annotated for item in inner):
        return get_origin(annotation)[tuple(map(_plain, inner))]
    return annotation


def _type_name(annotation: Any) -> str:
    annotation = _plain(annotation)
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
