"""Prompts that a client rendered itself, read back: prefix, suffix, and what stood around them.

`split` undoes the fill-in-the-middle form of every family in `prompts.FAMILIES` (both orders where a family
has three sentinels) and of two that are served by others (Seed-Coder, GLM). `recover` also takes away what
clients put before the code, and keeps it as file, repository, language and snippets:

| client | what it puts there |
|---|---|
| Continue | comments (`# Path: a.py`, its text, then `# dir/file.py`), `+++++ path`, `<|repo_name|>...` |
| minuet | two comments: `# language: python` and `# indentation: use 4 spaces for a tab` |
| llama.vscode | `Context:` and other files before the first sentinel |
| repository prompts of Qwen, StarCoder2, CodeGemma | `<|repo_name|>`, then `<|file_sep|>path` for each file |

A prompt that only contains a sentinel is code about sentinels and stays as it is. Where a sentinel is there
twice, the suffix is taken to be without. Not covered: CodeLlama's and StarCoder's suffix-first forms, forms
of chat models, and a comment header whose last line is no `name.ending` (a Makefile's).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from echo_ray.prompts import FAMILIES, Family, Snippet

_ELSEWHERE = (
    Family("seed-coder", "spm", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", ""),
    Family("glm", "psm", "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", ""),
)
"""Families that clients render for and that we have no models of."""

_GAP = "\u2581"
"""How SentencePiece writes a space."""
_CONTEXT = "Context:\n\n"
_REPOSITORY_END = "<|system_separator_istruction_repository_level|>"
"""What Continue puts between other files and the code for Qwen models (its spelling)."""
_FILE_LINE = re.compile(r"(?:\A|\n\n)\+{5} (.+)\n")
"""What begins a file in the form for Codestral models."""
_COMMENTS = ("//", "#", "--", ";")
_PATH = re.compile(r"(?!www\.)(?:[\w.@+-]+/)?[\w.@+-]*\.[A-Za-z]\w{0,9}")
"""The last two parts of a path, as a comment header names the file."""
_VIM = {
    **dict.fromkeys(("sh", "bash", "zsh", "ksh"), "shellscript"),
    **{"cs": "csharp", "make": "makefile", "objc": "objective-c", "objcpp": "objective-cpp"},
    **{"plaintex": "tex", "ps1": "powershell", "text": "plaintext", "dosbatch": "bat"},
}
"""File types of Vim that VS Code calls otherwise."""
_MINUET = re.compile(
    r"(?P<mark>\S{1,4}) ?language: (?P<language>[\w.+#-]+) ?\S{0,3}\n"
    r"(?P=mark) ?indentation: use (?:\d+ spaces|\t|\\t) for a tab ?\S{0,3}\n"
)


class Parts(NamedTuple):
    """A prompt without its sentinels."""

    before: str
    """Text before the first sentinel."""
    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """The code that a prompt is about, and what it tells besides. None means that it does not say."""

    prefix: str
    suffix: str
    file: str | None = None
    repository: str | None = None
    language: str | None = None
    snippets: tuple[Snippet, ...] = ()


class _Form(NamedTuple):
    """The texts before, between and after the two halves of a prompt."""

    head: str
    between: str
    tail: str
    suffix_first: bool


def recover(prompt: str, suffix: str = "") -> Recovered:
    """What a `prompt` is about; a `suffix` in a field of its own says that no sentinels are there."""
    parts = None if suffix else split(prompt)
    found = Recovered(prompt, suffix) if parts is None else _before(parts)
    return _headed(_commented(found))


def split(prompt: str) -> Parts | None:
    """The halves of a prompt in the text form of a family; None when it has none."""
    text = next((prompt[len(begin) :] for begin in _BEGINS if prompt.startswith(begin)), prompt)
    for form in _FORMS:
        end = len(text) - len(form.tail)
        start = _start(text, form.head) if text.endswith(form.tail) else None
        if start is None:
            continue
        first = start + len(form.head)
        find = text.find if form.suffix_first else text.rfind
        middle = find(form.between, first, max(first, end))
        if middle < 0:
            continue
        left, right = text[first:middle], text[middle + len(form.between) : end]
        return Parts(text[:start], *((right, left) if form.suffix_first else (left, right)))
    return None


def without_header(prefix: str, path: str) -> str:
    """`prefix` without what Continue wrote before the code of the file `path`."""
    if prefix.startswith(_REPOSITORY) and _REPOSITORY_END in prefix:
        return prefix.split(_REPOSITORY_END, 1)[1]
    for found in _FILE_LINE.finditer(prefix):
        if _names(path, found[1]):
            return prefix[found.end() :]
    lines = prefix.split("\n")
    plain = lines[0] == ""  # no snippets: an empty line, then the path
    comment = lines[min(plain, len(lines) - 1)].split(" ", 1)[0]
    for number, line in enumerate(lines[plain:-1], start=plain + 1):
        if comment not in _COMMENTS or not line.startswith(comment + " "):
            break
        if _names(path, line[len(comment) + 1 :]):
            snippets = any(above.startswith(comment + " Path: ") for above in lines[: number - 1])
            return "\n".join(lines[number:]) if plain or snippets else prefix
        if plain:
            break
    return prefix


def _forms() -> Iterator[_Form]:
    for family in (*FAMILIES, *_ELSEWHERE):
        prefix, suffix, middle = family.prefix, family.suffix, family.middle
        if prefix[0] == _GAP:
            # SentencePiece: the gap before a sentinel is a space, but for the first of the text, and what
            # follows the first begins with a space of its own.
            prefix, suffix, middle = prefix[1:], suffix[1:], middle[1:]
            for between in (f" {suffix}", suffix):
                for tail in (f" {middle}", middle):
                    yield _Form(f"{prefix} ", between, tail, False)
            yield _Form(prefix, suffix, middle, False)
            continue
        if middle:
            yield _Form(prefix, suffix, middle, False)
        yield _Form(suffix, prefix, middle, True)


_FORMS = tuple(dict.fromkeys(_forms()))
_BEGINS = tuple(dict.fromkeys(family.begin for family in FAMILIES if family.begin))
_FILES = tuple(family.files for family in FAMILIES)
_REPOSITORIES = tuple(
    dict.fromkeys((files.repository, files.before) for files in _FILES if files.repository and files.before)
)
"""Tokens before a repository's name and before every file, by family."""
_REPOSITORY = _REPOSITORIES[0][0]
_SEPARATORS = tuple(dict.fromkeys(files.after for files in _FILES if files.after))
"""Tokens between files, where no token stands before the first."""
_OPENINGS = (_CONTEXT, *(token for tokens in _REPOSITORIES for token in tokens))


def _start(text: str, head: str) -> int | None:
    """Where a prompt's first sentinel stands; only what clients put there may stand before it."""
    if text.startswith(head):
        return 0
    if text.startswith(_OPENINGS):
        found = text.find(head)
        return None if found < 0 else found
    before, there, _ = text.partition(head)
    return len(before) if there and any(token in before for token in _SEPARATORS) else None


def _before(parts: Parts) -> Recovered:
    """What the text before the first sentinel tells."""
    found = Recovered(parts.prefix, parts.suffix)
    if parts.before.startswith(_CONTEXT):
        return replace(found, snippets=_held([Snippet("", parts.before.removeprefix(_CONTEXT))]))
    before = parts.before
    tokens = next((both for both in _REPOSITORIES if before.startswith(both)), None)
    if tokens is None:
        between = next((token for token in _SEPARATORS if token in before), None)
        if between is None:
            return found
        before, tokens = between + before, ("", between)
    name, files = _files(before, *tokens)
    found = replace(found, repository=name)
    if not files or files[-1].text.strip():  # the last file is another one, no heading of this one
        return replace(found, snippets=_held(files))
    *others, here = files
    # The heading stands before the sentinel, or after it, or nowhere.
    first, end, rest = found.prefix.partition("\n")
    if not here.path and end and _PATH.fullmatch(first.rpartition("/")[2]):
        found = replace(found, prefix=rest, file=first)
    return replace(found, file=here.path or found.file, snippets=_held(others))


def _files(text: str, repository: str, file: str) -> tuple[str | None, list[Snippet]]:
    """The repository's name and the files in a repository prompt."""
    head, *files = text.split(file)
    name = head.removeprefix(repository).strip()
    found = []
    for content in files:
        first, end, rest = content.partition("\n")
        named = bool(first) and not re.search(r"\s", first) and bool(re.search(r"[./\\]", first) or not end)
        found.append(Snippet(first, rest) if named else Snippet("", content))
    return name or None, found


def _commented(found: Recovered) -> Recovered:
    """Without the two comments of minuet."""
    comments = _MINUET.match(found.prefix)
    if comments is None:
        return found
    language = _VIM.get(comments["language"], comments["language"])
    return replace(found, prefix=found.prefix[comments.end() :], language=language)


def _headed(found: Recovered) -> Recovered:
    """Without what Continue put before the code of a file that only this header names."""
    prefix = found.prefix
    if prefix.startswith(_REPOSITORY) and _REPOSITORY_END in prefix:
        head, code = prefix.split(_REPOSITORY_END, 1)
        name, files = _files(head, *_REPOSITORIES[0])
        others, path = files[:-1], files[-1].path if files else ""
        return replace(found, prefix=code, file=path or None, repository=name, snippets=_held(others))
    marks = list(_FILE_LINE.finditer(prefix)) if prefix.startswith("+++++ ") else []
    if marks:
        others = [
            Snippet(mark[1].strip(), prefix[mark.end() : after.start()]) for mark, after in pairwise(marks)
        ]
        file = marks[-1][1].strip()
        return replace(found, prefix=prefix[marks[-1].end() :], file=file, snippets=_held(others))
    file = _comment_path(prefix)
    code = prefix if file is None else without_header(prefix, file)
    if code == prefix:
        return found
    others = _comment_snippets(prefix[: len(prefix) - len(code)])
    return replace(found, prefix=code, file=file, snippets=_held(others))


def _comment_snippets(header: str) -> list[Snippet]:
    """Other files in a comment header, whose last line names the file that is completed."""
    found: list[tuple[str, list[str]]] = []
    for line in header.split("\n")[:-2]:
        text = line.partition(" ")[2]
        if text.startswith("Path: "):
            found.append((text.removeprefix("Path: "), []))
        elif found:
            found[-1][1].append(f"{text}\n")
    return [Snippet(path, "".join(lines)) for path, lines in found]


def _comment_path(prefix: str) -> str | None:
    """The path in the last line of a comment header; of several paths at its end the first."""
    lines = prefix.split("\n", 2)
    if len(lines) == 3 and lines[0] == "":
        mark, _, path = lines[1].partition(" ")
        return path if mark in _COMMENTS and _PATH.fullmatch(path) else None
    mark, _, first = prefix.partition(" ")
    if mark not in _COMMENTS or not first.startswith("Path: "):
        return None
    named: str | None = None
    at = 0
    while prefix.startswith(mark + " ", at) and (end := prefix.find("\n", at)) >= 0:
        line = prefix[at + len(mark) + 1 : end]
        if _PATH.fullmatch(line) and not (named and _names(named, line)):
            named = line
        at = end + 1
    return named


def _held(files: Iterable[Snippet]) -> tuple[Snippet, ...]:
    # Some versions of llama.vscode join objects instead of their texts.
    texts = (file._replace(text=file.text.replace("[object Object]", "")) for file in files)
    return tuple(file for file in texts if file.text.strip())


def _names(path: str, shown: str) -> bool:
    """Whether `shown` is the end of `path`, as a header shows it (one or two parts)."""
    return bool(shown) and f"/{unquote(path)}".replace("\\", "/").endswith("/" + shown.strip())
