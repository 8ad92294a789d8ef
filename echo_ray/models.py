"""Model folders: refused before Ray starts when they cannot be served, and named by their content."""

import concurrent.futures
import hashlib
import json
import re
from pathlib import Path

import echo_ray
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.prompts import FastTokenizer, Template, template_for

BASE = Path(echo_ray.__file__).parent / "assets" / "base"
"""The bundled base model."""


def check(folder: Path, key: str = "serve.model") -> Template:
    """FIM template of the model in `folder`, after checking that vLLM could load it.

    Raises what `check_files` does, and SchemaError for a tokenizer without FIM tokens.
    """
    check_files(folder, key)
    try:
        return template_for(FastTokenizer(folder))
    except SchemaError as error:
        raise SchemaError(f"{folder}: {error}: change {key}") from None


def check_files(folder: Path, key: str) -> None:
    """Raise ConfigError or SchemaError, one sentence that names `key`, the setting to change, unless `folder`
    holds a model that an engine could load. Not covered: whether the weights fit the configuration; only
    loading them shows that.
    """
    if not folder.is_dir():
        raise ConfigError(f"model folder {folder} does not exist: change {key}")
    config = folder / "config.json"
    if not config.is_file():
        raise SchemaError(f"{folder} has no config.json, so it is not a Hugging Face model: change {key}")
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SchemaError(f"{config} is not valid JSON ({error}): change {key}") from None
    if not isinstance(described, dict) or not described.get("architectures"):
        raise SchemaError(f"{config} names no architectures, so no engine can load it: change {key}")
    if not any(folder.glob("*.safetensors")):
        raise SchemaError(f"{folder} holds no *.safetensors weights: change {key}")
    if not (folder / "tokenizer.json").is_file():
        raise SchemaError(f"{folder} has no tokenizer.json: save a fast tokenizer there, or change {key}")


def context_limit(folder: Path) -> int | None:
    """Longest sequence that the model's configuration declares (tokens), or None when it does not say."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    limit = described.get("max_position_embeddings")
    return limit if isinstance(limit, int) else None


def version(folder: Path) -> str:
    """Immutable name of the model's content: folder name and a hash, safe in an HTTP header.

    The hash covers configuration, tokenizer and every byte of the weights (about 1 s per 1 to 2 GB),
    so equal versions answer equally and a changed folder cannot keep its name.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".safetensors" or path.name in ("config.json", "tokenizer.json")
    )
    hasher = hashlib.sha256()
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        for path, digest in zip(files, pool.map(_file_digest, files), strict=True):
            hasher.update(f"{path.name}:{path.stat().st_size}:{digest}\n".encode())
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name) or "model"
    return f"{name}-{hasher.hexdigest()[:10]}"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
