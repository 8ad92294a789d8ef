"""Model folders: refused before Ray starts when they cannot be served, and named by their content."""

import concurrent.futures
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import echo_ray
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.prompts import FastTokenizer, Template, template_for

BASE = Path(echo_ray.__file__).parent / "assets" / "base"
"""The bundled base model."""


def check(folder: Path, key: str = "serve.model") -> Template:
    """FIM template of the model in `folder`, after checking that vLLM could load it.

    Raises what `check_files` does, and SchemaError for a tokenizer without FIM tokens or with other ids than
    the configuration has.
    """
    check_files(folder, key)
    try:
        tokenizer = FastTokenizer(folder)
        template = template_for(tokenizer)
    except SchemaError as error:
        raise SchemaError(f"{folder}: {error}: change {key}") from None
    check_ids(folder, tokenizer, key)
    return template


def check_ids(folder: Path, tokenizer: FastTokenizer, key: str) -> None:
    """Raise SchemaError, one sentence that names `key`, unless tokenizer and configuration of the model in
    `folder` agree: every token has a row in the embedding, and the configuration's end and begin are tokens.
    """
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    inner = described.get("text_config")
    described = (inner if isinstance(inner, dict) else {}) | described
    size = described.get("vocab_size")
    if isinstance(size, int) and tokenizer.highest_id >= size:
        raise SchemaError(
            f"{folder}: the tokenizer makes ids up to {tokenizer.highest_id}, and config.json has a "
            f"vocab_size of {size}: they are not of one model; change {key}"
        )
    for name in ("bos_token_id", "eos_token_id"):
        found = described.get(name)
        for number in found if isinstance(found, list) else [found]:
            if number is not None and (not isinstance(number, int) or tokenizer.token(number) is None):
                raise SchemaError(
                    f"{folder}: config.json has {number!r} as {name}, which is no token of the tokenizer: "
                    f"they are not of one model; change {key}"
                )


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
    files = [path for path in folder.iterdir() if identifies(path.name)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        digests = {
            path.name: (path.stat().st_size, digest)
            for path, digest in zip(files, pool.map(_file_digest, files), strict=True)
        }
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name) or "model"
    return f"{name}-{content(digests)}"


def identifies(file_name: str) -> bool:
    """Whether a file of a model folder is part of what the model answers with."""
    return file_name.endswith(".safetensors") or file_name in ("config.json", "tokenizer.json")


def content(files: Mapping[str, tuple[int, str]]) -> str:
    """The part of `version` that is about content (10 hexadecimal digits), from size (bytes) and SHA-256 of
    every file; those that `identifies` does not name do not count.
    """
    hasher = hashlib.sha256()
    for name, (size, digest) in sorted(files.items()):
        if identifies(name):
            hasher.update(f"{name}:{size}:{digest}\n".encode())
    return hasher.hexdigest()[:10]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tokenizer_version(folder: Path) -> str:
    """Name of a tokenizer's content: token ids mean the same for two models only if these are equal."""
    return _file_digest(folder / "tokenizer.json")[:16]
