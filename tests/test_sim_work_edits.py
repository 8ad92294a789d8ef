import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.work.edits import changes, document, pieces, play, runs
from simulator.work.hunks import hunks, imported, is_test, only_imports
from simulator.work.items import ItemKind

LINE = st.sampled_from(
    [
        "",
        "a = 1",
        "a = 2",
        "b = f(a, 1)",
        "    b = f(a, 2)",
        "if a:",
        "    return b",
        "}",
        "x",
        "y z",
        "ä = '€'",
    ]
)
TEXT = st.lists(LINE, max_size=14).map(lambda lines: "\n".join(lines).rstrip("\n"))


def steps(old, new, order=None, most_chars=10_000):
    groups = [run.edits for run in changes(old, new)]
    return list(play(document(old), groups, range(len(groups)) if order is None else order, most_chars))


def final(old, done):
    return done[-1][1] + done[-1][3] + done[-1][4] if done else document(old)


@given(TEXT, TEXT, st.integers(0, 1000), st.integers(1, 60))
def test_steps_end_at_the_new_text_in_any_order(old, new, seed, most_chars):
    order = list(range(len(changes(old, new))))
    random.Random(seed).shuffle(order)
    done = steps(old, new, order, most_chars)
    assert document(new) == final(old, done)
    text = document(old)
    for _, before, removed, intent, after in done:
        assert text == before + removed + after
        assert removed or intent
        assert not (removed and intent) or (removed[0] != intent[0] and removed[-1] != intent[-1])
        text = before + intent + after


@given(TEXT, TEXT)
def test_new_lines_begin_at_the_end_of_the_line_before(old, new):
    for run in changes(old, new):
        if not run.removed:
            (edit,) = run.edits
            assert edit.start == edit.stop
            below = "".join(f"\n{line}" for line in run.added)
            above = "".join(f"{line}\n" for line in run.added)
            # At the start of the document they come before the first line, or after it when it is empty.
            assert edit.text in ((below,) if edit.start else (above, below))
            assert document(old)[edit.start] == "\n" or edit.text == above


@given(TEXT, TEXT)
def test_an_equal_line_lies_between_runs(old, new):
    found = runs(old.split("\n"), new.split("\n"))
    for (_, high, _, last), (low, _, first, _) in itertools.pairwise(found):
        assert low - high == first - last >= 1


@given(st.lists(st.sampled_from(["", "x = 1", "    y = 2", "        zzzzzzzzz(1)", "}"]), max_size=40))
def test_pieces_are_whole_lines_of_the_text(lines):
    for text in ("".join(f"\n{line}" for line in lines), "".join(f"{line}\n" for line in ["a", *lines])):
        found = pieces(text, 50)
        assert text == "".join(found)
        assert all(len(piece) <= 50 for piece in found)
        assert all(piece.startswith("\n") or text[0] != "\n" for piece in found[1:])
        assert all(piece.endswith("\n") or text[0] == "\n" for piece in found[:-1])


def test_pieces_break_at_blank_lines_then_dedents_and_never_in_a_line():
    text = "\ndef f():\n    a = 1\n    b = 2\n\ndef g():\n    c = 3"
    assert ["\ndef f():\n    a = 1\n    b = 2", "\n\ndef g():\n    c = 3"] == pieces(text, 45)
    assert ["\nif a:\n    b()\n    c()", "\nd()"] == pieces("\nif a:\n    b()\n    c()\nd()", 24)
    assert ["\n" + "x" * 90] == pieces("\n" + "x" * 90, 20)


@pytest.mark.parametrize(
    ("old", "new", "done"),
    [
        # What differs is changed, not the line.
        ("def f(a):\n    return a\n", "def f(a, b=1):\n    return a\n", [("", ", b=1")]),
        # One name in two far places of a line; nothing in between is typed again.
        (
            "total = price * count + tax_of(price)",
            "total = cost * count + tax_of(cost)",
            [("price", "cost")] * 2,
        ),
        # A similar line is found below new ones.
        (
            "a = 1\nresult = compute(first, second)\n",
            "a = 1\nlogger.debug('go')\nresult = compute(first, last)\n",
            [("", "\nlogger.debug('go')"), ("second", "last")],
        ),
        # Nothing in common: one replacement.
        ("x\nalpha beta gamma\ny\n", "x\nif 1:\n    go(2)\ny\n", [("alpha beta gamma", "if 1:\n    go(2)")]),
        # Lines go with the line end that leads to them.
        ("a\nb\nc\n", "a\nc\n", [("\nb", "")]),
        ("a\nb\n", "b\n", [("a\n", "")]),
        # A new function begins with its blank lines and ends with code.
        (
            "def a():\n    pass\n\n\ndef c():\n    pass\n",
            "def a():\n    pass\n\n\ndef b():\n    pass\n\n\ndef c():\n    pass\n",
            [("", "\n\n\ndef b():\n    pass")],
        ),
        # ... and with its own closing brace.
        (
            "func a() {\n\tx()\n}\n\nfunc c() {\n\tz()\n}\n",
            "func a() {\n\tx()\n}\n\nfunc b() {\n\ty()\n}\n\nfunc c() {\n\tz()\n}\n",
            [("", "\n\nfunc b() {\n\ty()\n}")],
        ),
    ],
)
def test_edits_are_what_a_developer_would_do(old, new, done):
    assert done == [(removed, intent) for _, _, removed, intent, _ in steps(old, new)]


def test_kinds_of_hunks():
    old = "import os\n\n\ndef f(a):\n    return a\n\n\nx = 1\ny = 2\nz = 3\n"
    new = "import os\nimport sys\n\n\ndef f(a, b):\n    return a\n\n\ndef g():\n    pass\n\n\nx = 1\nz = 3\n"
    found = hunks(old, new, "python", test=False)
    assert [ItemKind.IMPORT, ItemKind.MODIFY, ItemKind.BLOCK, ItemKind.DELETE] == [
        hunk.kind for hunk in found
    ]
    assert [ItemKind.TEST] * 3 + [ItemKind.DELETE] == [
        hunk.kind for hunk in hunks(old, new, "python", test=True)
    ]
    assert [ItemKind.NEW_FILE] == [hunk.kind for hunk in hunks("", new, "python", test=False)]
    assert () == hunks(new, new, "python", test=False)


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("python", "import os.path", {"os"}),
        ("python", "from flask import (\n    Flask,\n    request as r,\n)", {"Flask", "r"}),
        (
            "javascript",
            "const { join } = require('path');\nimport a, { b as c } from './x'",
            {"join", "a", "b", "c"},
        ),
        ("typescript", "import type { Ref } from 'vue'", {"Ref"}),
        ("vue", "import Thing from '~/thing.vue'", {"Thing"}),
        ("go", '\t"net/http"\n\tflag "github.com/spf13/pflag"\n\t"x.org/yaml/v3"', {"http", "flag", "yaml"}),
        ("java", "import java.util.List;\nimport static a.B.of;", {"List", "of"}),
        ("cpp", '#include <vector>\n#include "leveldb/db.h"', {"vector", "db"}),
        ("rust", "use std::io::{Read, Write};", {"Read", "Write"}),
    ],
)
def test_imports_and_their_names(language, text, names):
    assert only_imports(text, language)
    assert names <= imported(text, language)
    assert not only_imports(text + "\nx = f(1)", language)
    assert not re.search(r"vue'|path'", " ".join(imported(text, language)))


def test_paths_of_tests():
    yes = [
        "tests/test_a.py",
        "a/b_test.go",
        "src/x.spec.ts",
        "test/app.js",
        "src/test/java/FooTest.java",
        "a/conftest.py",
    ]
    no = ["src/latest.py", "contest.py", "testing.go", "src/attest/x.ts", "greatest_hits.js"]
    assert ([True] * len(yes), [False] * len(no)) == ([*map(is_test, yes)], [*map(is_test, no)])
