"""Real code for the corruption suite: files read in place, and places in them where a developer could stand.

Files come from the corpora in seven languages that lie beside the checkout; without them, from the Python
that runs the tests. Nothing is copied into the repository. Only files without a syntax error are used, so
that a fault that the suite plants is the only one, and only repositories whose name hashes to an even
number: rules were tuned on the others.

A site is a statement or member that stands alone on its lines. The choice of files and sites depends on
names and a seed alone. Sites come from tree-sitter itself, not from `echo_ray.syntax`: the suite shares no
code with the rules that it measures.
"""

import ast
import functools
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import tree_sitter_language_pack
from tree_sitter import Node

from echo_ray import rng

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
LANGUAGES = ("python", "javascript", "typescript", "vue", "java", "go", "cpp")
GRAMMARS = {".tsx": "tsx", ".c": "c", ".h": "cpp"}
IDS = {"tsx": "typescriptreact", "c": "c"}
SEED = 5


def words(text: str) -> frozenset[str]:
    """The words of a text that lists them."""
    return frozenset(text.split())


BLOCKS = words(
    """module program source_file translation_unit block statement_list statement_block class_body
    interface_body enum_body_declarations compound_statement declaration_list field_declaration_list
    switch_block_statement_group case_statement expression_case switch_case object_type"""
)
_SCRIPT = re.compile(r"<script\b([^>]*)>\n", re.IGNORECASE)


class Source(NamedTuple):
    """A file: the whole text, and the part `[start, stop)` of it that the grammar is for."""

    name: str
    language: str
    """VS Code language identifier."""
    grammar: str
    text: str
    start: int
    stop: int


class Site(NamedTuple):
    """A statement at `[start, stop)`; `after` ends the statement after it in the same block, or is `stop`."""

    start: int
    stop: int
    after: int
    kind: str
    header: int | None
    """End of the line on which a body opens that goes on over more lines."""


@functools.cache
def parser(grammar: str) -> Any:
    """The grammar's parser."""
    return tree_sitter_language_pack.get_parser(grammar)


def errors(text: str, grammar: str) -> int:
    """ERROR and MISSING nodes in a whole text (count)."""
    stack, found = [parser(grammar).parse(text.encode("utf-8", "replace")).root_node], 0
    while stack:
        node = stack.pop()
        if node.has_error:
            found += node.is_error or node.is_missing
            stack += node.children
    return found


def compiles(text: str, source: Source, before: int, after: int) -> bool:
    """Whether the whole file is free of syntax errors when the part that the grammar is for now ends
    `after` characters before the end of `text` and starts at `before`.
    """
    part = text[before : len(text) - after]
    if source.grammar == "python":
        return _is_python(part)
    return errors(part, source.grammar) == 0


def sources(language: str, count: int, even: bool = True) -> Iterator[Source]:
    """Up to `count` error-free files of a language, at most two of a repository, in a fixed order."""
    seen: dict[str, int] = {}
    for repo, path, content in _files(language):
        if count <= 0:
            return
        if seen.get(repo, 0) >= 2 or not 1_500 <= len(content) <= 40_000 or not content.isascii():
            continue
        if rng.digest(repo) % 2 == even:
            continue
        source = _source(f"{repo}/{path}", language, content)
        if source is not None and compiles(content, source, source.start, len(content) - source.stop):
            seen[repo] = seen.get(repo, 0) + 1
            count -= 1
            yield source


def sites(source: Source) -> list[Site]:
    """Every statement of a file that stands alone on its lines and is no longer than a target may be."""
    text, shift = source.text, source.start
    data = text[shift : source.stop].encode()  # ASCII: bytes are characters
    found: list[Site] = []
    stack = [parser(source.grammar).parse(data).root_node]
    while stack:
        node = stack.pop()
        stack += node.children
        if node.type not in BLOCKS:
            continue
        spans = [span for child in node.named_children if (span := _alone(text, child, shift)) is not None]
        for number, (start, stop, child) in enumerate(spans):
            header = text.find("\n", start, stop)
            body = (
                header if header >= 0 and re.search(r"[{:]\s*(?:#.*|//.*)?\Z", text[start:header]) else None
            )
            if (body or stop) - start > 200 or text.count("\n", start, body or stop) > 5:
                continue
            after = stop
            if number + 1 < len(spans) and not text[stop : spans[number + 1][0]].strip():
                after = spans[number + 1][1]
            found.append(Site(start, stop, after, child.type, body))
    return sorted(found)


def _alone(text: str, node: Node, shift: int) -> tuple[int, int, Node] | None:
    start, stop = node.start_byte + shift, node.end_byte + shift
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    if text[stop : stop + 1] in (";", ","):
        stop += 1
    line = text.rfind("\n", 0, start) + 1
    end = text.find("\n", stop)
    rest = text[stop : end if end >= 0 else len(text)]
    prose = "comment" in node.type or re.match(r"[rRbBuUfF]?[\"'`]", text[start:stop])  # docstrings
    if prose or text[line:start].strip() or rest.strip() or stop - start < 4:
        return None
    return start, stop, node


def _source(name: str, language: str, content: str) -> Source | None:
    if language != "vue":
        grammar = GRAMMARS.get(Path(name).suffix, language)
        return Source(name, IDS.get(grammar, language), grammar, content, 0, len(content))
    opened = _SCRIPT.search(content)
    closed = content.find("</script>", opened.end()) if opened else -1
    if opened is None or closed < 0 or "</script>" in content[closed + 1 :] or "tsx" in opened.group():
        return None
    grammar = "typescript" if re.search(r"lang=['\"]ts", opened.group()) else "javascript"
    return Source(name, "vue", grammar, content, opened.end(), closed)


def _files(language: str) -> Iterator[tuple[str, str, str]]:
    path = CORPUS / f"{language}.parquet"
    if path.is_file():
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["repo", "path", "content"])
            rows = list(range(table.num_rows))
            rows.sort(key=lambda row: rng.digest(SEED, language, group, row))
            for row in rows:
                yield tuple(table.column(name)[row].as_py() for name in table.column_names)
    elif language == "python":
        library = Path(sysconfig.get_paths()["stdlib"])
        paths = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
        for path in sorted(paths, key=lambda path: rng.digest(SEED, path.relative_to(library).as_posix())):
            relative = path.relative_to(library)
            try:
                # Each module stands for a repository of its own.
                yield f"{relative.parts[0]}{rng.digest(str(relative)) % 50}", str(relative), path.read_text()
            except UnicodeDecodeError:
                continue


def _is_python(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
