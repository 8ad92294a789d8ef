"""Offsets of the language server against naive oracles: a plain string, and Python's own encoders."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.lsp import documents, text
from echo_ray.lsp.documents import Document, Place

ENCODINGS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
PIECES = [
    "a",
    "Z",
    " ",
    "\n",
    "\r\n",
    "\r",
    "é",
    "漢",
    "字",
    "🙂",
    "👍🏽",
    "\u2028",
    "\x0c",
    "\x85",
    "e\u0301",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
ANY_ENCODING = st.sampled_from(sorted(ENCODINGS))


def _size(part: str, encoding: str) -> int:
    codec, width = ENCODINGS[encoding]
    return len(part.encode(codec)) // width


def _lines(whole: str) -> list[tuple[int, str]]:
    """(start, line without its end) of every line; the only ends are LSP's."""
    lines, start, index = [], 0, 0
    while index < len(whole):
        step = 2 if whole[index : index + 2] == "\r\n" else 1 if whole[index] in "\r\n" else 0
        if step:
            lines.append((start, whole[start:index]))
            start = index + step
        index += step or 1
    return [*lines, (start, whole[start:])]


def _at(whole: str, offset: int, encoding: str) -> dict[str, int]:
    """An offset as an editor would name it."""
    for number, (start, line) in enumerate(_lines(whole)):
        if start <= offset <= start + len(line):
            return {"line": number, "character": _size(whole[start:offset], encoding)}
    raise AssertionError(offset)


@given(TEXTS, st.integers(0, 45), st.integers(0, 60), ANY_ENCODING)
def test_an_offset_is_the_last_that_fits(whole: str, line: int, character: int, encoding: str) -> None:
    lines = _lines(whole)
    if line >= len(lines):
        expected = len(whole)
    else:
        start, content = lines[line]
        fits = [n for n in range(len(content) + 1) if _size(content[:n], encoding) <= character]
        expected = start + max(fits)
    assert expected == text.offset_at(whole, line, character, encoding)


@given(TEXTS, st.data(), ANY_ENCODING)
def test_an_offset_is_where_an_editor_named_it(whole: str, data: st.DataObject, encoding: str) -> None:
    start, content = data.draw(st.sampled_from(_lines(whole)))
    offset = start + data.draw(st.integers(0, len(content)))
    assert offset == text.offset_at(whole, **_at(whole, offset, encoding), encoding=encoding)


@given(TEXTS, st.integers(-1, 60), ANY_ENCODING)
def test_characters_are_counted_as_encoders_count_them(part: str, count: int, encoding: str) -> None:
    assert _size(part, encoding) == text.units(part, encoding)
    fits = [n for n in range(len(part) + 1) if _size(part[:n], encoding) <= max(count, 0)]
    assert max(fits) == text.chars(part, count, encoding)


@given(TEXTS, st.data(), st.integers(2, 60))
def test_a_window_is_part_of_the_document(whole: str, data: st.DataObject, max_chars: int) -> None:
    start, content = data.draw(st.sampled_from(_lines(whole)))
    offset = start + data.draw(st.integers(0, len(content)))
    shown = text.window(whole, offset, max_chars)
    plain_before, plain_after = (
        part.replace("\r\n", "\n").replace("\r", "\n") for part in (whole[:offset], whole[offset:])
    )
    assert "\r" not in shown.prefix + shown.suffix
    assert len(shown.prefix) + len(shown.suffix) <= max_chars
    assert plain_before.endswith(shown.prefix)
    assert plain_after.startswith(shown.suffix)
    assert (plain_before == shown.prefix) or not shown.prefix_complete
    assert (plain_after == shown.suffix) or not shown.suffix_complete
    if len(whole) <= max_chars:
        assert (True, True) == (shown.prefix_complete, shown.suffix_complete)


def test_half_a_character_does_not_reach_the_wire() -> None:
    shown = text.window("a\ud83d b", 2, 100)
    assert ("a\ufffd", " b") == (shown.prefix, shown.suffix)


@given(
    TEXTS, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), TEXTS), max_size=12), ANY_ENCODING
)
def test_ranges_and_whole_texts_give_the_same_document(
    whole: str, edits: list[tuple[int, int, str]], encoding: str
) -> None:
    ranged = full = Document("file:///a", "python", 1, whole)
    oracle, cursor = whole, 0
    for first, second, new in edits:
        places = [start + at for start, line in _lines(oracle) for at in range(len(line) + 1)]
        start, end = sorted((places[first % len(places)], places[second % len(places)]))
        change = {
            "range": {"start": _at(oracle, start, encoding), "end": _at(oracle, end, encoding)},
            "text": new,
        }
        oracle = oracle[:start] + new + oracle[end:]
        ranged, cursor = documents.changed(ranged, None, [change], encoding)
        full, _ = documents.changed(full, None, [{"text": oracle}], encoding)
        assert start + len(new) == cursor
    assert oracle == ranged.text == full.text
    assert ranged.version == full.version == 1 + len(edits)
    assert text.window(ranged.text, cursor, 50) == text.window(oracle, cursor, 50)


@given(TEXTS, TEXTS, TEXTS)
def test_the_cursor_of_a_whole_text_is_where_its_change_ends(before: str, new: str, after: str) -> None:
    old = Document("file:///a", "python", 1, before + after)
    changed, cursor = documents.changed(old, 2, [{"text": before + new + after}])
    assert before + new + after == changed.text
    if new and new[-1:] != before[-1:]:
        assert changed.text[:cursor] + after[len(after) - len(changed.text) + cursor :] == changed.text


@pytest.mark.parametrize(
    "changes",
    [None, "x", [None], [{"range": None}], [{"text": 1}], [{"range": {"start": 1}, "text": ""}]],
)
def test_a_change_that_is_none_changes_nothing(changes: Any) -> None:
    document = Document("file:///a", "python", 1, "text")
    assert "text" == documents.changed(document, "?", changes)[0].text


@pytest.mark.parametrize("value", [None, 1, "x", {}, {"line": -1, "character": True}, {"line": None}])
def test_a_place_that_is_none_is_the_start(value: Any) -> None:
    assert documents.place(value) in (Place(0, 0), Place(0, 1))


@pytest.mark.parametrize(
    ("uri", "folders", "name"),
    [
        ("file:///w/p/src/a%20b.py", ["file:///w/p"], "src/a b.py"),
        ("file:///w/p/src/a.py", ["file:///w", "file:///w/p/"], "src/a.py"),
        ("file:///w/project2/a.py", ["file:///w/project"], "outside-"),
        ("untitled:Untitled-1", ["file:///w"], "untitled:Untitled-1"),
        ("", ["file:///w"], "unnamed"),
        ("vscode-notebook-cell:/w/n.ipynb#X1", ["vscode-notebook-cell:/w"], "n.ipynb#X1"),
        ("vscode-remote://ssh-remote+host/home/me/a.py", [], "outside-"),
    ],
)
def test_files_are_named_within_their_folder(uri: str, folders: list[str], name: str) -> None:
    got = documents.file_name(uri, folders)
    assert got.startswith(name)
    if name == "outside-":
        assert got.endswith("/a.py")
        assert not {"project2", "home", "me"} & set(got.split("/"))
        assert got != documents.file_name("file:///w/project3/a.py", folders)
    else:
        assert name == got


@given(st.text())
def test_any_name_fits_a_header(name: str) -> None:
    value = documents.header(name)
    assert value.isascii()
    assert value.isprintable()
    assert value == value.strip()
