"""Settings: what is accepted, what is refused, and that a refusal is one sentence naming the key."""

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from echo_ray import config
from echo_ray.config import Config
from echo_ray.errors import ConfigError


class Inner(Config):
    """A section."""

    idle_s: float = Field(300.0, gt=0)
    """Seconds."""


class Outer(Config):
    """Two sections, one under an alias."""

    mine: Inner = Inner()
    import_: Inner = Field(Inner(), alias="import")


def test_yaml_then_overrides(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("mine:\n  idle_s: 5\nimport:\n  idle_s: 6\n")
    loaded = config.load(Outer, file, ["mine.idle_s=7"])
    assert (7.0, 6.0) == (loaded.mine.idle_s, loaded.import_.idle_s)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("mine.idel_s=1", "unknown key mine.idel_s; did you mean mine.idle_s?"),
        ("imprt.idle_s=1", "unknown key imprt; did you mean import?"),
        ("import.x=1", "unknown key import.x; did you mean import.idle_s?"),
        ("mine.idle_s=0", "mine.idle_s = 0 is refused"),
        ("mine.idle_s=soon", "mine.idle_s = 'soon' is refused"),
        ("mine", "not of the form section.key=value"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(Outer, None, [override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\t"])
def test_bad_yaml_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(Outer, tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_settings_are_values() -> None:
    one = Outer()
    with pytest.raises(ValidationError):
        one.mine.idle_s = 3.0  # type: ignore[misc]
    changed = one.updated(mine={"idle_s": 3})
    assert (300.0, 3.0) == (one.mine.idle_s, changed.mine.idle_s)
    assert config.fingerprint(one) != config.fingerprint(changed)
    assert config.fingerprint(one) == config.fingerprint(Outer())


def test_every_field_is_listed_with_its_description() -> None:
    listed = {key: text for key, _, _, text in config.fields(Outer)}
    assert {"mine.idle_s": "Seconds.", "import.idle_s": "Seconds."} == listed


class _Names(Config):
    user: str | None = None
    label: str = ""
    count: int = 0


class _Holder(Config):
    names: _Names = _Names()


@pytest.mark.parametrize(
    ("text", "value"),
    [("007", "007"), ("1e5", "1e5"), ("true", "true"), ("null", None), ("'null'", "null"), ("a: b", "a: b")],
)
def test_a_text_is_taken_as_it_is_written(text: str, value: str | None) -> None:
    assert value == config.load(_Holder, overrides=[f"names.user={text}"]).names.user


def test_only_texts_are_taken_as_they_are_written() -> None:
    found = config.load(_Holder, overrides=["names.label=12", "names.count=12"]).names
    assert ("12", 12) == (found.label, found.count)
