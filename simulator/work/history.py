"""Commits of a git repository as work: what changed in which file (section 3.2).

Every commit that is no merge is taken with its parent, newest first, from all branches that were merged:
in a repository that merges, the main line alone has few commits of its own. Three git processes per 500
commits read it: `log --raw` once, `cat-file` for sizes, `cat-file` for contents. A file keeps one identity
over renames, so that its older name cannot fall into the other split.
Not covered: merges, renames without a change, changes of mode, submodules, binary files.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from echo_ray import rng
from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.work import edits, hunks, screen
from simulator.work.items import ItemKind

MAX_HUNKS = 8
"""A commit has 1 to this many hunks (section 3.2), counted as git prints them: changes with at most
`_CONTEXT` equal lines between them are one."""
MAX_ADDED_LINES = 200
"""A commit adds at most this many lines (section 3.2)."""
_CONTEXT = 6  # three lines of context on either side
_SCANNED = 20  # commits looked at for each one wanted; keeps huge histories affordable
_CHUNK = 500  # commits whose files are read at a time
_LOG = (
    *("log", "--no-merges", "--raw", "-M", "--root", "--no-abbrev", "-z", "--no-show-signature"),
    *("--no-color", "--no-ext-diff", "--no-notes", "--diff-filter=AMR", "--format=%x01%H"),
)
Language = Callable[[str], str | None]
_FILES = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Change:
    """One file in one commit. `path` is the name that the file has today, after the name of its source."""

    path: str
    language: str
    parent: str
    """Text before; empty for a new file."""
    child: str
    kinds: tuple[ItemKind, ...]
    """Kinds of its work items, in file order, before any style."""

    @property
    def pseudonym(self) -> str:
        """Name of the document in requests; tells neither path nor project."""
        return pseudonym("file", self.path)


@dataclass(frozen=True, slots=True)
class Commit:
    """The changes of one commit in the wanted languages, by path. `name` tells nothing of the original."""

    repository: str
    name: str
    changes: tuple[Change, ...]


def pseudonym(kind: str, name: str) -> str:
    """A stable name that tells nothing: 16 hexadecimal digits."""
    return f"{rng.digest(kind, name):016x}"


def commits(
    repository: Path, name: str, language: Language, config: SimulateConfig, seen: screen.Seen
) -> list[Commit]:
    """The newest usable commits of the git directory or work tree `repository`, newest first.

    `language` tells the language of a path, None for files that are not wanted. A usable commit has 1 to 8
    hunks and adds at most 200 lines in files of the wanted languages and sizes; near duplicates of changes
    in `seen` and changes with credentials are left out of it. Raises ConfigError when git fails.
    """
    found: list[Commit] = []
    texts: dict[str, str | None] = {}
    history = _history(repository, name, language, _SCANNED * config.max_commits)
    while len(found) < config.max_commits and (chunk := list(islice(history, _CHUNK))):
        wanted = {blob for _, files in chunk for file in files for blob in (file.old, file.new) if blob}
        texts = {blob: text for blob, text in texts.items() if blob in wanted}
        fresh = sorted(wanted - texts.keys())
        texts |= dict.fromkeys(fresh)
        texts |= {blob: screen.normalised(raw) for blob, raw in blobs(repository, fresh, most_bytes(config))}
        for commit, files in chunk:
            changes = _changes(files, texts, config, seen)
            if changes:
                found.append(Commit(pseudonym("repository", name), pseudonym("commit", commit), changes))
            if len(found) == config.max_commits:
                break
    return found


@dataclass(frozen=True, slots=True)
class _File:
    """`old` and `new` are blob names; no `old` for a new file."""

    path: str
    language: str
    old: str | None
    new: str


def _history(repository: Path, name: str, language: Language, most: int) -> Iterator[tuple[str, list[_File]]]:
    """Commits with their wanted files, newest first; those with too many files for 8 hunks are left out."""
    today: dict[str, str] = {}
    for part in git(repository, *_LOG, f"--max-count={most}", head(repository)).split(b"\x01")[1:]:
        fields = part.decode("utf-8", "surrogateescape").split("\0")
        files: list[_File] = []
        at = 1
        while at < len(fields) and fields[at].strip().startswith(":"):
            old_mode, new_mode, old, new, status = fields[at].strip()[1:].split(" ")
            renamed = status[0] == "R"
            path, after = fields[at + 1], fields[at + 1 + renamed]
            at += 2 + renamed
            known = today.get(after, after)
            if renamed:
                today[path] = known
            spoken = language(after)
            if spoken is None or new_mode not in _FILES or old == new:
                continue
            created = not old.strip("0")
            if created or old_mode in _FILES:
                files.append(_File(f"{name}/{known}", spoken, None if created else old, new))
        if 0 < len(files) <= MAX_HUNKS:
            yield fields[0], files


def _changes(
    files: list[_File], texts: dict[str, str | None], config: SimulateConfig, seen: screen.Seen
) -> tuple[Change, ...]:
    found: list[tuple[Change, str]] = []
    count = added = 0
    for file in sorted(files, key=lambda file: file.path):
        parent, child = "" if file.old is None else texts[file.old], texts[file.new]
        if parent is None or child is None or parent == child or not screen.admitted(child, config):
            continue
        if not parent.strip():
            parent = ""
        if len(parent) >= config.min_file_chars and not screen.admitted(parent, config):
            continue
        parts = hunks.hunks(parent, child, file.language, hunks.is_test(file.path))
        lines = [line for part in parts for line in part.added.split("\n") if part.added]
        count += _as_git_counts(parent, child)
        added += len(lines)
        if count > MAX_HUNKS or added > MAX_ADDED_LINES:
            return ()
        text = "\n".join(lines)
        if screen.secrets(text):
            continue
        kinds = tuple(
            part.kind
            for part in parts
            for edit in part.edits
            for _ in edits.pieces(edit.text, config.max_intent_chars)
        )
        found.append((Change(file.path, file.language, parent, child, kinds), text))
    return tuple(change for change, text in found if not seen.again(text))


def _as_git_counts(parent: str, child: str) -> int:
    ends = [(low, high) for low, high, _, _ in edits.runs(parent.split("\n"), child.split("\n"))]
    return 1 + sum(low - high > _CONTEXT for (_, high), (low, _) in pairwise(ends))


def most_bytes(config: SimulateConfig) -> int:
    """Size from which a blob cannot be an admitted file: four bytes a character, and some white space."""
    return 4 * config.max_file_chars + 4096


def head(repository: Path) -> str:
    """The commit to start from: HEAD, else the newest branch. Raises ConfigError without any commit."""
    newest = ("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(objectname)")
    for arguments in (("rev-parse", "--verify", "--quiet", "HEAD^{commit}"), newest):
        done = _run(repository, *arguments)
        if done.stdout.strip():
            return done.stdout.decode().strip()
    raise ConfigError(f"simulate.sources: the git repository {str(repository)!r} is empty, it has no commit")


def tree(repository: Path) -> dict[str, str]:
    """Paths of the newest commit and the names of their blobs; links and submodules are left out."""
    found = {}
    for entry in git(repository, "ls-tree", "-r", "-z", head(repository)).split(b"\0"):
        if entry:
            facts, _, path = entry.decode("utf-8", "surrogateescape").partition("\t")
            mode, _, blob = facts.split(" ")
            if mode in _FILES:
                found[path] = blob
    return found


def blobs(repository: Path, names: list[str], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the blobs of at most `max_bytes`."""
    asked = "\n".join(names).encode() + b"\n"
    sizes = (
        git(repository, "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked)
        if names
        else b""
    )
    small = [
        name
        for name, size in (line.split(b" ", 1) for line in sizes.splitlines())
        if size.isdigit() and int(size) <= max_bytes
    ]
    if not small:
        return
    data = memoryview(git(repository, "cat-file", "--batch", stdin=b"\n".join(small) + b"\n"))
    at = 0
    for name in small:
        line = bytes(data[at : at + 128]).partition(b"\n")[0]
        at += len(line) + 1
        size = int(line.rsplit(b" ", 1)[1])
        yield name.decode(), bytes(data[at : at + size])
        at += size + 1


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Output of a git command in `folder`. Raises ConfigError with git's reason when it fails."""
    done = _run(folder, *arguments, stdin=stdin)
    if done.returncode:
        reason = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise ConfigError(f"simulate.sources: git {arguments[0]} in {folder} failed: {reason}")
    return done.stdout


def _run(folder: Path, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    # Variables such as GIT_DIR, which git sets for hooks, would point to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment)
