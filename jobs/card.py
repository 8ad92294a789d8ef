"""The data card: `echo-ray card`, one page about one data set, for whoever asks what is in it.

`card.html` needs no network and no other file; `card.json` holds the same figures for machines. They lie in
the folder of the data set, unless told otherwise, and name it by its fingerprint: a card is about what lay
there when it was made. Secrets and personal data in the samples shown are masked; nobody is named. `erase`
removes a card that shows a sample of the person.
"""

import json
from pathlib import Path
from typing import Any

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import folders
from echo_ray.ledger.folders import Folder, Lineage
from echo_ray.progress import bar
from jobs import card_figures, card_page
from jobs.ledger_config import CardConfig
from jobs.report import plain
from jobs.settings import RunConfig

_STAGES = ("mine", "distil", "verify", "select", "perplexity", "balance")


def card(config: RunConfig, command: str) -> None:
    """Verb `card`."""
    page, data = make(config.card)
    print(f"card       {page} (and {data.name})")


def make(config: CardConfig) -> tuple[Path, Path]:
    """Write the card of `card.input`; (page, data).

    Raises ConfigError for a folder that is not there or holds no finished stage, SchemaError for one without
    samples.
    """
    folder, lineage = _data_set(config)
    value = build(folder, lineage, config)
    page, data = _places(folder, config.output)
    page.parent.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (data, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
        (page, card_page.render(value)),
    ):
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return page, data


def build(folder: Folder, lineage: Lineage, config: CardConfig) -> dict[str, Any]:
    """Value of `card.json`."""
    paths = folder.files()
    if not paths:
        raise SchemaError(f"{folder.path} holds no Parquet file: run the stage before this one first")
    with bar("card", len(paths), "shards") as shown:
        tally = card_figures.count(paths, config.seed, config.examples, lambda: shown.update(1))
    value: dict[str, Any] = plain(card_figures.figures(folder, lineage, tally))
    return value


def _data_set(config: CardConfig) -> tuple[Folder, Lineage]:
    source = config.input
    if source is None:
        raise ConfigError("card.input is not set: add card.input=FOLDER")
    if not source.is_dir():
        raise ConfigError(f"card.input={source} does not exist")
    around = source.resolve().parent if config.run is None else config.run
    if not around.is_dir():
        raise ConfigError(f"card.run={around} does not exist")
    lineage = folders.find(around)
    folder = lineage.at(source) or folders.find(source).at(source)
    if folder is None or folder.stage not in _STAGES:
        raise ConfigError(
            f"card.input={source} is no finished folder of samples ({', '.join(_STAGES)}): name one of these"
        )
    if lineage.at(source) is None:
        lineage = Lineage(around, (folder, *lineage.folders))
    return folder, lineage


def _places(folder: Folder, output: Path | None) -> tuple[Path, Path]:
    """(page, data): in a folder, or the page itself where a file is named."""
    given = output or folder.path
    page = given if given.suffix == ".html" else given / "card.html"
    return page, page.with_suffix(".json")
