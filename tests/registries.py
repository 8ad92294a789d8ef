"""Small complete models and registries for tests; weights of a few hundred bytes, a real tokenizer."""

import atexit
import functools
import json
import shutil
import struct
import tempfile
from pathlib import Path

from echo_ray.ledger import people
from echo_ray.manifest import Manifest, write_manifest
from echo_ray.registry import Registry
from tests.tiny import write_tokenizer

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@functools.cache
def tokenizer() -> Path:
    """A folder with nothing but a tokenizer."""
    folder = Path(tempfile.mkdtemp(prefix="echo-tokenizer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_tokenizer(folder, vocab=300)
    return folder


def weights(values: bytes) -> bytes:
    """A safetensors file with one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}})
    return struct.pack("<Q", len(header)) + header.encode() + values


def model(folder: Path, seed: int = 0, size: int = 300) -> Path:
    """A model folder whose content is told by `seed`, with weights of `size` bytes."""
    shutil.copytree(tokenizer(), folder)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(weights((b"%d " % seed * size)[:size]))
    (folder / "README.md").write_text(f"# Model {seed}\n")
    return folder


def training(folder: Path, seed: int = 0, base: str = "base-0000000000", user: str = "ann") -> Path:
    """What `train` leaves, as far as a registry looks at it."""
    model(folder / "model", seed)
    notes = {"base": base, "first_loss": 3.5, "last_loss": 2.25, "heldout_loss": 2.5, "steps": 7}
    manifest = Manifest(
        stage="train",
        fingerprint=f"run{seed}",
        input="pack",
        input_fingerprint=f"data{seed}",
        config={"lr": 0.1, "epochs": 2},
        columns={},
        rows_in=10,
        rows_out=9,
        drops={"heldout": 1},
        seconds=1.0,
        engine="test",
        notes=notes,
    )
    people.write_users(folder, [user], f"run{seed}")
    write_manifest(folder, manifest)
    return folder


def registry(folder: Path) -> Registry:
    """Versions 1 to 3 in `folder/registry`; the champion was 1 and is 2."""
    made = Registry(folder / "registry")
    for seed in (1, 2, 3):
        made.add(model(folder / f"model{seed}", seed))
    made.promote("v1")
    made.promote("v2")
    return made


def everything(root: Path) -> dict[str, bytes]:
    """All files below `root` but the lock, by their relative names."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}
