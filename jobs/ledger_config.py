"""Settings of the ledger's verbs: `explain`, `erase`, `export` and `card`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from echo_ray.config import Config


class ExplainConfig(Config):
    """Settings of `explain`."""

    request_id: str = ""
    """The request to explain; without one the accounts of the whole run are printed and checked."""
    input: Path | None = None
    """Folder with the stages, at any depth; `run.output` when absent."""
    json_: bool = Field(False, alias="json")
    """Print JSON, for machines."""


class EraseConfig(Config):
    """Settings of `erase`."""

    user: str = ""
    """Pseudonym of the person, as it stands in the log."""
    key_file: Path | None = None
    """Key of the service's pseudonyms (`LOG_DIR.key`): `user` is then the name that the person's editor
    sends, and its pseudonym is made here."""
    input: Path | None = None
    """Folder of a run, of a log or of data sets: everything below is looked at; `run.output` when absent."""
    dry_run: bool = False
    """Only say what would be removed."""


class ExportConfig(Config):
    """Settings of `export`; windows and lengths are those of `pack`."""

    input: Path | None = None
    """Folder of balanced samples."""
    output: Path | None = None
    """Folder for the files, `manifest.json` and a `README.md` that says how to use them."""
    format: Literal["hf", "axolotl", "llamafactory"] = "hf"
    """`hf`: Hugging Face `prompt` and `completion`, as TRL reads them; `axolotl`: segments without a
    template; `llamafactory`: alpaca records with `dataset_info.json`."""
    files: Literal["jsonl", "parquet"] = "jsonl"
    """Kind of the files; one for each shard of the input."""
    model: Path | None = None
    """Model folder whose tokenizer and FIM tokens are used; absent: `pack.model`, else the bundled base."""


class CardConfig(Config):
    """Settings of `card`."""

    input: Path | None = None
    """Folder of a data set: balanced samples, or those of any earlier stage."""
    output: Path | None = None
    """Folder for `card.html` and `card.json`; `card.input` when absent."""
    run: Path | None = None
    """Folder below which the earlier stages are looked for; the folder around `card.input` when absent."""
    examples: int = Field(3, ge=0, le=20)
    """Samples shown for each reason (count)."""
    seed: int = 0
    """Seed of the draw of the samples that are shown."""
