r"""Where developers get their work: folders, installed packages, git histories, Parquet files (section 3.2).

Files are normalised once (see `screen`), so "the original text" means that. Which files belong to experiments
is a hash of their path: the same on every machine and for every seed. A file and all its older versions are
on one side, and near duplicates go before files are divided, so no copy stands on the other side.
Not covered: licence checks (the user chooses the sources); what one file of a commit tells about another that
is on the other side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from echo_ray import rng
from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig, Split
from simulator.work import history, screen
from simulator.work.history import Commit, pseudonym
from simulator.work.readers import EXTENSIONS, Raw, read

_SPLIT_SEED = 0  # not simulate.seed: another seed must not move a file from experience to experiment


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file in its normalised form; `path` starts with the name of its repository."""

    path: str
    language: str
    text: str
    repository: str
    """Pseudonym of the repository; a folder, a package and a `repo` of a Parquet file each are one."""

    @property
    def pseudonym(self) -> str:
        """Name of the document in requests; tells neither path nor project."""
        return pseudonym("file", self.path)


@dataclass(frozen=True, eq=False)
class Repository:
    """What one repository offers: its files by path, its commits newest first."""

    pseudonym: str
    files: tuple[SourceFile, ...]
    commits: tuple[Commit, ...]


@dataclass(frozen=True)
class Corpus:
    """All work of one split; can be pickled."""

    files: tuple[SourceFile, ...]
    """Sorted by path."""
    commits: tuple[Commit, ...]
    """Repository by repository, newest first in each."""

    @cached_property
    def repositories(self) -> tuple[Repository, ...]:
        """The same by repository, in the order of the pseudonyms."""
        files: dict[str, list[SourceFile]] = {}
        commits: dict[str, list[Commit]] = {}
        for file in self.files:
            files.setdefault(file.repository, []).append(file)
        for commit in self.commits:
            commits.setdefault(commit.repository, []).append(commit)
        return tuple(
            Repository(name, tuple(files.get(name, ())), tuple(commits.get(name, ())))
            for name in sorted(files.keys() | commits.keys())
        )


def load(config: SimulateConfig, split: Split) -> Corpus:
    """Files and commits of one split.

    Raises ConfigError for an unknown language, a source that does not exist or cannot be read, an empty
    git repository, and when nothing is left to work on.
    """
    for language in config.languages:
        if language not in EXTENSIONS:
            raise ConfigError(f"simulate.languages: {language!r} is not one of {', '.join(EXTENSIONS)}")
    raw: list[Raw] = []
    commits: list[Commit] = []
    seen = screen.Seen()
    for source in config.sources:
        found, history_of = read(source, config, seen)
        raw += found
        commits += history_of
    held = [
        Commit(commit.repository, commit.name, kept)
        for commit in commits
        if (kept := tuple(change for change in commit.changes if _in(split, change.path, config)))
    ]
    files = _files(raw, config, split)
    if not files and not held:
        raise ConfigError(_nothing(raw, config, split))
    if config.history_share == 1 and not held:
        raise ConfigError(
            f"simulate.sources {config.sources} hold no usable commit (1 to {history.MAX_HUNKS} hunks, at "
            f"most {history.MAX_ADDED_LINES} new lines) of {' or '.join(config.languages)} for the {split} "
            f"split; set simulate.history_share below 1"
        )
    return Corpus(tuple(files), tuple(held))


def _in(split: Split, path: str, config: SimulateConfig) -> bool:
    return (rng.unit(_SPLIT_SEED, "split", path) < config.heldout_share) == (split == "heldout")


def _files(raw: Iterable[Raw], config: SimulateConfig, split: Split) -> list[SourceFile]:
    seen = screen.Seen()
    found = []
    for item in sorted({item.path: item for item in raw}.values(), key=lambda item: item.path):
        text = screen.normalised(item.content)
        if text is None or not screen.admitted(text, config) or seen.again(text):
            continue
        if _in(split, item.path, config):
            found.append(SourceFile(item.path, item.language, text, pseudonym("repository", item.repository)))
    return found


def _nothing(raw: list[Raw], config: SimulateConfig, split: Split) -> str:
    binary = sum(screen.normalised(item.content) is None for item in raw)
    reason = f"; {binary} of {len(raw)} such files are not UTF-8 text" if binary else ""
    return (
        f"simulate.sources {config.sources} hold no {' or '.join(config.languages)} file of "
        f"{config.min_file_chars} to {config.max_file_chars} characters for the {split} split{reason}"
    )
