"""`REGISTRY@champion` where a setting wants a model folder."""

from pathlib import Path

import pytest

from echo_ray.errors import ConfigError
from echo_ray.registry import Registry
from jobs.references import MODELS, resolved
from jobs.settings import RunConfig
from tests.tiny import write_model


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    registry = Registry(folder / "registry")
    registry.add(write_model(folder / "one"))
    registry.promote("v1")
    return folder / "registry"


@pytest.mark.parametrize("key", MODELS)
def test_every_setting_that_names_a_model_takes_an_alias(key: str, shelf: Path) -> None:
    section, field = key.split(".")
    config = RunConfig.model_validate({section: {field: f"{shelf}@champion"}})
    folder = getattr(getattr(resolved(config, (section,)), section), field)
    assert (folder / "config.json").is_file()
    assert getattr(getattr(resolved(config, ("mine",)), section), field) == Path(f"{shelf}@champion")


def test_an_alias_that_nobody_gave_is_named_with_its_setting(shelf: Path) -> None:
    config = RunConfig.model_validate({"serve": {"model": f"{shelf}@tuesday"}})
    with pytest.raises(ConfigError, match=r"serve\.model=.*@tuesday"):
        resolved(config, ("serve",))


def test_a_folder_with_an_at_sign_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model@home"
    folder.mkdir()
    config = RunConfig.model_validate({"serve": {"model": str(folder)}})
    assert folder == resolved(config, ("serve",)).serve.model
