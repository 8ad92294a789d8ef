"""An editor's documents as values, and the names that they are logged under. Pure.

What editors send about documents is read leniently, because a change that is refused leaves a document
that is wrong from then on. Not covered: notebooks.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from echo_ray.lsp import text as texts
from echo_ray.text import common_prefix, common_suffix


@dataclass(frozen=True, slots=True)
class Document:
    """One open document at one moment."""

    uri: str
    language: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A position as an editor gives it: a line and code units within it."""

    line: int
    character: int


def opened(item: Any) -> Document | None:
    """The document of a `didOpen`; None where there is no address."""
    if not isinstance(item, Mapping) or not isinstance(item.get("uri"), str):
        return None
    text, language = item.get("text"), item.get("languageId")
    return Document(
        uri=item["uri"],
        language=language if isinstance(language, str) and language else "plaintext",
        version=_version(item.get("version"), 0),
        text=text if isinstance(text, str) else "",
    )


def changed(
    document: Document, version: Any, changes: Any, encoding: str = texts.DEFAULT_ENCODING
) -> tuple[Document, int]:
    """(the document after a `didChange`, offset of the cursor: the end of the last change)."""
    text, cursor = document.text, len(document.text)
    for change in changes if isinstance(changes, Sequence) else ():
        if not isinstance(change, Mapping) or not isinstance(change.get("text"), str):
            continue
        new: str = change["text"]
        span = change.get("range")
        if isinstance(span, Mapping):
            start, end = (at(text, place(span.get(name)), encoding) for name in ("start", "end"))
            text, cursor = text[:start] + new + text[max(start, end) :], start + len(new)
        else:
            head = common_prefix(text, new)
            tail = common_suffix(text[head:], new[head:])
            text, cursor = new, len(new) - tail
    return replace(document, text=text, version=_version(version, document.version + 1)), cursor


def place(value: Any) -> Place:
    """The position in a message; the start of the document where it is none."""
    if not isinstance(value, Mapping):
        return Place(0, 0)
    line, character = value.get("line"), value.get("character")
    return Place(_count(line), _count(character))


def at(text: str, where: Place, encoding: str = texts.DEFAULT_ENCODING) -> int:
    """Offset in `text` of a position."""
    return texts.offset_at(text, where.line, where.character, encoding)


def part(value: Any, key: str) -> Any:
    """`value[key]` of a message, None where there is none."""
    return value.get(key) if isinstance(value, Mapping) else None


def uri_of(item: Any) -> str:
    """Address in a document identifier; `""` where there is none."""
    uri = part(item, "uri")
    return uri if isinstance(uri, str) else ""


def path_of(uri: str) -> str:
    """Path in an address, decoded; what is no file keeps its scheme and its part (`untitled:Untitled-1`)."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri
    path = unquote(parts.path)
    if parts.scheme in ("", "file"):
        return path
    return f"{parts.scheme}:{path}" + (f"#{parts.fragment}" if parts.fragment else "")


def file_name(uri: str, folders: Iterable[str]) -> str:
    """What a document is called in the log: its path from the innermost of the workspace `folders`.

    Elsewhere it is the file's own name behind a hash of its folder, so that no home folder is told.
    """
    path = path_of(uri)
    roots = sorted((path_of(folder).rstrip("/") for folder in folders), key=len, reverse=True)
    for root in roots:
        if root and path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    if "/" not in path:
        return path or "unnamed"
    whole = PurePosixPath(path)
    folder = hashlib.blake2b(str(whole.parent).encode(errors="replace"), digest_size=4).hexdigest()
    return f"outside-{folder}/{whole.name}"


def header(value: str) -> str:
    """`value` as a header can carry it: what is not printable ASCII is percent-encoded."""
    return quote(value, safe="/!#$&'()*+,:;=?@[]~", errors="replace")


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _version(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
