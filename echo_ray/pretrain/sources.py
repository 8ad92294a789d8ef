"""Source files for `pretrain`: which files count, in which language, and which are never trained on.

A file belongs to training or to the held-out set by the hash of its name. Repositories that developers work
on in simulations are left out by name, also where another repository carries a copy of them under that name
(`vendor/github.com/OWNER/NAME/`), so that a gain measured there is no memory of the base model. Not covered:
copies under another name, and de-duplication; the corpora are expected to be clean.
"""

import re
import sysconfig
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echo_ray import sealed
from echo_ray.errors import ConfigError
from echo_ray.rng import unit

ENDINGS = {
    "python": (".py", ".pyi"),
    "javascript": (".js", ".jsx", ".mjs", ".cjs"),
    "typescript": (".ts", ".tsx", ".mts", ".cts"),
    "vue": (".vue",),
    "java": (".java",),
    "go": (".go",),
    "cpp": (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hh"),
}
"""Languages that can be learned, by the endings of their files; C counts as C++."""

_LANGUAGE = {ending: language for language, endings in ENDINGS.items() for ending in endings}
_SKIP = re.compile(
    r"(^|/)(tests?|testing|idle_test|lib2to3|benchmarks?|site-packages|turtledemo|pydoc_data)/|(^|/)test_"
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of code."""

    name: str
    """Stable across machines: repository and path, or a source folder's own name and the path in it."""
    language: str
    text: str
    place: str = ""
    """The name with all of the source's address; tells folders of one name apart."""


def read(
    sources: Sequence[str], languages: Collection[str], excluded: Collection[str] = ()
) -> list[SourceFile]:
    """Every file of `languages` in the sources, in name order, without the repositories `excluded`
    (`owner/name`, in any case, with or without `.git`).

    Raises ConfigError for a source that is not there, that cannot be read, or that has nothing in these
    languages, and for a name in `excluded` that is no repository's.
    """
    unknown = sorted(set(languages) - ENDINGS.keys())
    if unknown:
        raise ConfigError(f"pretrain.shares: {unknown[0]} is not one of {', '.join(ENDINGS)}")
    out = tuple(_repository(name) for name in excluded)
    files: dict[str, SourceFile] = {}
    for source in sources:
        found = [file for file in _read_one(source, languages) if not _is_of(file.place, out)]
        if not found:
            raise ConfigError(f"pretrain.sources: {source} holds no file in {', '.join(sorted(languages))}")
        # A file that two sources name is one file, else it could be trained on twice as often.
        files.update((file.place, file) for file in found)
    return sorted(files.values(), key=lambda file: (file.name, file.place))


def _repository(name: str) -> str:
    """`/owner/name/` in lower case, for finding it in a path."""
    parts = name.strip().removesuffix("/").removesuffix(".git").lower().split("/")[-2:]
    if len(parts) != 2 or not all(parts):
        raise ConfigError(f"pretrain.exclude: {name!r} is not written OWNER/NAME")
    return f"/{parts[0]}/{parts[1]}/"


def _is_of(name: str, excluded: Collection[str]) -> bool:
    path = f"/{name.lower()}".replace(".git/", "/")
    return any(repository in path for repository in excluded)


def _read_one(source: str, languages: Collection[str]) -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"]) if source == "stdlib" else Path(source).expanduser()
    if not root.is_dir() and not (root.suffix == ".parquet" and root.is_file()):
        raise ConfigError(f"pretrain.sources: {source} is neither a folder nor a Parquet file nor `stdlib`")
    sealed.refuse(root, "pretrain.sources")
    home = source if source == "stdlib" else root.resolve().name
    for repository, path, text in _rows(root) if root.is_file() else _files(root):
        language = _language(path, languages)
        if language and text:
            name = f"{repository or home}/{path}"
            yield SourceFile(name, language, text, name if repository else f"{source}/{path}")


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    """(repository, path, text) of each row that has all three. ConfigError for a file of another kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(table).iter_batches(columns=["repo", "path", "content"]):
            columns = [batch.column(name).to_pylist() for name in ("repo", "path", "content")]
            for repo, path, text in zip(*columns, strict=True):
                if repo and path and isinstance(text, str):
                    yield repo, path, text
    except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0][:200]
        raise ConfigError(
            f"pretrain.sources: {table} cannot be read as repo, path, content ({line})"
        ) from None


def _files(root: Path) -> Iterator[tuple[str, str, str]]:
    """("", path, text) of each file of a fitting size."""
    for file in sorted(root.rglob("*")):
        if file.is_file() and file.suffix in _LANGUAGE:
            path = file.relative_to(root).as_posix()
            text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
            if 200 <= len(text) <= 200_000:
                yield "", path, text


def _language(path: str, languages: Collection[str]) -> str | None:
    language = _LANGUAGE.get(Path(path).suffix)
    return language if language in languages and not _SKIP.search(path) else None


def split(
    files: Sequence[SourceFile], heldout_share: float, seed: int
) -> tuple[list[SourceFile], list[SourceFile]]:
    """(training files, held-out files) by the hash of each name; adding files moves no other file."""
    heldout = [file for file in files if unit(seed, "heldout", file.name) < heldout_share]
    names = {file.name for file in heldout}
    return [file for file in files if file.name not in names], heldout
