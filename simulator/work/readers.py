"""How each kind of source is read: folder, installed package, git repository or bundle, Parquet file.

Only files of the wanted languages are read, at most `max_files` of a source, picked by hash of the path. An
installed package is located without importing it. Bundles are cloned into a temporary folder.
Not covered: archives, network addresses.
"""

import importlib.util
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import rng
from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.work import history, screen
from simulator.work.history import Commit

EXTENSIONS = {
    "c": (".c", ".h"),
    "cpp": (".cc", ".cpp", ".cxx", ".hpp", ".hh", ".hxx", ".h"),
    "go": (".go",),
    "java": (".java",),
    "javascript": (".js", ".mjs", ".cjs"),
    "javascriptreact": (".jsx",),
    "python": (".py",),
    "rust": (".rs",),
    "typescript": (".ts", ".mts", ".cts"),
    "typescriptreact": (".tsx",),
    "vue": (".vue",),
}
"""File extensions of the VS Code language identifiers that can be simulated. A `.h` is of the language
that its repository has more files of."""

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "dist", "build", "vendor", "third_party"})
_COLUMNS = ("repo", "path", "content")


@dataclass(frozen=True, slots=True)
class Raw:
    """A file as it lies in its source, whose `repository` is a name, not a pseudonym."""

    repository: str
    relative: str
    language: str
    content: bytes

    @property
    def path(self) -> str:
        """Name of the file among all sources."""
        return f"{self.repository}/{self.relative}"


def read(source: str, config: SimulateConfig, seen: screen.Seen) -> tuple[list[Raw], list[Commit]]:
    """Files of both splits, at most `max_files`, and the usable commits of one source.

    `seen` holds the changes of commits met before. Raises ConfigError when the source cannot be read.
    """
    path = Path(source).expanduser()
    if path.suffix == ".parquet" and path.is_file():
        return list(_parquet(path, config)), []
    if path.suffix == ".bundle" and path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            try:
                history.git(Path(folder), "clone", "--quiet", "--bare", str(path.resolve()), path.stem)
            except ConfigError as error:
                raise ConfigError(
                    f"simulate.sources: {source!r} is no readable git bundle: {error}"
                ) from error
            return _bare(Path(folder) / path.stem, path.stem, config, seen)
    if path.is_dir():
        name = path.resolve().name
        if (path / ".git").exists():
            return _work_tree(path, name, config, seen)
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            return _bare(path, name.removesuffix(".git"), config, seen)
        return _folder(path, name, config), []
    root = _package(source)
    if root is None:
        raise ConfigError(
            f"simulate.sources: {source!r} is neither a folder, a git repository or bundle, a Parquet file "
            f"nor an installed package"
        )
    return _folder(root, root.name, config), []


def _bare(path: Path, name: str, config: SimulateConfig, seen: screen.Seen) -> tuple[list[Raw], list[Commit]]:
    names = history.tree(path)
    language = _speaker(names, config.languages)
    chosen = _sample(name, [relative for relative in names if language(relative)], config)
    contents = dict(
        history.blobs(path, sorted({names[relative] for relative in chosen}), history.most_bytes(config))
    )
    raw = [
        Raw(name, relative, language(relative) or "", contents[names[relative]])
        for relative in chosen
        if names[relative] in contents
    ]
    return raw, _history(path, name, language, config, seen)


def _work_tree(
    path: Path, name: str, config: SimulateConfig, seen: screen.Seen
) -> tuple[list[Raw], list[Commit]]:
    history.head(path)  # an empty repository is said to be one
    listed = history.git(path, "ls-files", "-z").decode("utf-8", "surrogateescape").split("\0")
    # A tracked file may be missing from the work tree; a link may lead out of it.
    names = [item for item in listed if (path / item).is_file() and not (path / item).is_symlink()]
    language = _speaker(names, config.languages)
    return _on_disk(path, name, names, config), _history(path, name, language, config, seen)


def _history(
    path: Path, name: str, language: history.Language, config: SimulateConfig, seen: screen.Seen
) -> list[Commit]:
    return history.commits(path, name, language, config, seen) if config.history_share else []


def _folder(root: Path, name: str, config: SimulateConfig) -> list[Raw]:
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    return _on_disk(root, name, names, config)


def _on_disk(root: Path, name: str, names: list[str], config: SimulateConfig) -> list[Raw]:
    language = _speaker(names, config.languages)
    return [
        Raw(name, relative, language(relative) or "", (root / relative).read_bytes())
        for relative in _sample(name, [relative for relative in names if language(relative)], config)
    ]


def _parquet(path: Path, config: SimulateConfig) -> Iterator[Raw]:
    """The sampled rows; contents are read of the row groups that hold one, a group at a time."""
    try:
        with pq.ParquetFile(path) as file:
            missing = [column for column in _COLUMNS if column not in file.schema_arrow.names]
            if missing:
                raise ConfigError(
                    f"simulate.sources: {str(path)!r} lacks the column {missing[0]!r}; a Parquet source "
                    f"needs the columns {', '.join(_COLUMNS)}"
                )
            names = file.read(columns=["repo", "path"]).to_pydict()
            rows = dict(_sampled_rows(names["repo"], names["path"], config))
            start = 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                wanted = [row for row in range(start, stop) if row in rows]
                if wanted:
                    contents = file.read_row_group(group, columns=["content"]).column(0)
                    for row in wanted:
                        text = contents[row - start].as_py()
                        content = text.encode() if isinstance(text, str) else text or b""
                        yield Raw(names["repo"][row], names["path"][row], rows[row], content)
                start = stop
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"simulate.sources: {str(path)!r} cannot be read as Parquet: {error}") from error


def _sampled_rows(repos: list[str], paths: list[str], config: SimulateConfig) -> Iterator[tuple[int, str]]:
    by_repository: dict[str, list[int]] = {}
    for row, repo in enumerate(repos):
        if repo is not None and paths[row] is not None:
            by_repository.setdefault(repo, []).append(row)
    spoken: dict[int, str] = {}
    for rows in by_repository.values():
        language = _speaker([paths[row] for row in rows], config.languages)
        spoken |= {row: known for row in rows if (known := language(paths[row]))}
    chosen = sorted(spoken, key=lambda row: (rng.digest("sample", repos[row], paths[row]), row))
    return ((row, spoken[row]) for row in chosen[: config.max_files])


def _sample(name: str, paths: list[str], config: SimulateConfig) -> list[str]:
    return sorted(paths, key=lambda path: rng.digest("sample", name, path))[: config.max_files]


def _speaker(paths: Iterable[str], languages: list[str]) -> history.Language:
    """What tells the wanted language of a path in the repository that has `paths`; None: not wanted."""
    known = {extension: language for language in languages for extension in EXTENSIONS[language]}
    if ".h" in known:
        counts = Counter(Path(path).suffix.lower() for path in paths)
        c_plus = sum(counts[extension] for extension in EXTENSIONS["cpp"] if extension != ".h")
        header = "cpp" if c_plus > counts[".c"] or (c_plus == counts[".c"] and "c" not in languages) else "c"
        known.pop(".h")
        known |= {".h": header} if header in languages else {}

    def language(path: str) -> str | None:
        *folders, _ = path.split("/")
        if any(folder.startswith(".") or folder in _SKIPPED_FOLDERS for folder in folders):
            return None
        return known.get(Path(path).suffix.lower())

    return language


def _package(name: str) -> Path | None:
    """Folder of an installed package. Only the top level is looked up: that imports nothing."""
    top, *rest = name.split(".")
    if not all(part.isidentifier() for part in (top, *rest)):
        return None
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    return folder if folder.is_dir() else None
