"""Where completions end: true code passes, what runs on is cut back."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.serve import margins, policy, shape
from echo_ray.serve.policy import MAX_LINES, Proposal, refine
from tests.middles import Middle, corrupted, middles, sources

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
"""Real code; this repository's own stands in where there is none."""


@pytest.fixture(scope="module")
def true_middles() -> list[Middle]:
    found = [one for language, code in sources(CORPUS, 60) for one in middles(language, code, 8)]
    assert len(found) > 400
    return found


def test_true_middles_pass_unchanged(true_middles: list[Middle]) -> None:
    cuts: Counter[tuple[str, str, str | None]] = Counter()
    for one in true_middles:
        made = refine(one.text, one.prefix, one.suffix)
        if made.text != one.text:
            cuts[one.language, one.kind, made.cut] += 1
    share = 1 - cuts.total() / len(true_middles)
    print(f"{share:.2%} of {len(true_middles)} true middles unchanged; cut: {dict(cuts)}")
    assert share >= 0.99, cuts
    assert {"statement", "rest", "line", "block", "several"} == {one.kind for one in true_middles}


def test_what_runs_on_into_the_suffix_is_cut_back(true_middles: list[Middle]) -> None:
    draw = random.Random(1)
    told: Counter[str] = Counter()
    for one in true_middles:
        raw = corrupted(one, draw)
        if raw is not None:
            text = refine(raw, one.prefix, one.suffix).text
            exact = text.rstrip() == one.text.rstrip()
            told["exact" if exact else "too long" if text.startswith(one.text) else "too short"] += 1
    print({name: f"{count / told.total():.2%}" for name, count in told.items()}, told.total())
    assert told["exact"] >= 0.85 * told.total(), told
    assert told["too short"] <= 0.01 * told.total(), told


@pytest.mark.parametrize(
    ("raw", "prefix", "suffix", "expected", "cut"),
    [
        # The block ends: a line further left, or a second statement after a blank line.
        ("x = 1\nreturn x\n\ndef g():\n    pass", "def f():\n    ", "", "x = 1", "unit"),
        ("x = 1\n    return x\n\ndef g():\n    pass", "def f():\n    ", "", "x = 1\n    return x", "unit"),
        ("x = 1\n    y = 2\n\n    z = 3", "def f():\n    ", "", "x = 1\n    y = 2", "unit"),
        ("\n    x = 1\n\n    y = 2\nz", "def f():", "", "\n    x = 1\n\n    y = 2\nz", None),
        ("\n    x = 1\n\ny = 2\n\nz", "def f():", "", "\n    x = 1", "unit"),
        ("x: int) -> int:\n    return x", "def f(\n        ", "", "x: int) -> int:", "unit"),
        ("\n    return x", "def f(\n        x: int) -> int:", "", "\n    return x", None),
        # What closes the block belongs to it; what follows does not.
        ("a();\n}\n\nfunction g() {", "function f() {\n  ", "", "a();\n}", "unit"),
        ("a();\n}\nfunction g() {}", "function f() {\n  ", "", "a();\n}", "unit"),
        ("a();\n  } else {\n    b();\n  }", "  if (x) {\n    ", "", "a();\n  } else {\n    b();\n  }", None),
        # Nothing ends inside brackets and strings that the completion opens.
        ("f(\n1,\n\n2,\n)", "    x = ", "", "f(\n1,\n\n2,\n)", None),
        ('"""\nA.\n\nB.\n"""', "    x = ", "", '"""\nA.\n\nB.\n"""', None),
        ("`\na\n\nb\n`;", "  const x = ", "", "`\na\n\nb\n`;", None),
        ("a\nb\n\nc", '    x = """\n    ', '\n"""', "a\nb\n\nc", None),
        ("cript>\na()\n\nb()\n</script>", "<s", "", "cript>\na()\n\nb()\n</script>", None),
        ("a;\n#endif\n    b;", "{\n    ", "", "a;\n#endif\n    b;", None),
        # Brackets that the completion opens are closed, by itself or by the suffix, or it ends before.
        ("a();\nif (b) {\n  c(", "", "", "a();", "brackets"),
        ("if (b) {\n  c();", "", "", "if (b) {\n  c();", None),  # a header and its body so far
        ("a();\nif (b) {\n  c();", "{ ", "\n}\n}", "a();\nif (b) {\n  c();", None),
        ('a = "("\nb = 1', "", "", 'a = "("\nb = 1', None),
        # Brackets that the suffix closes.
        ("x))", "f(g(", " ))", "x", "brackets"),
        ("x)\n\nmore", "f(", " )\n", "x", "brackets"),
        # The completion has caught up with the suffix.
        (
            "one = 1\ntwo = second\nelse = 3",
            "",
            "\ntwo = second\nthree = 3\n",
            "one = 1\ntwo = second\nelse = 3",
            None,
        ),
        (
            "one = 1\nsecond_value = 2\nthird = 3",
            "",
            "\nsecond_value = 2\nthird = 3\n",
            "one = 1",
            "caught_up",
        ),
        ("one = 1\n\nsecond_value = 2", "", "\nsecond_value = 2\nthird = 3\n", "one = 1", "caught_up"),
        ("second_value = 2\nthird = 3", "x = 1\n", "\nsecond_value = 2\nthird = 3\n", "", "caught_up"),
        ("one, two + three_four)\nnext", "f(", ", two + three_four)\nnext = 1\n", "one", "caught_up"),
        # Only what stands above.
        ("items.append(two)", "items.append(one)\nitems.append(two)\n", "", "", "repeat"),
        ("first = 1\nsecond = 2", "first = 1\nsecond = 2\n\n", "", "", "repeat"),
        ("first = 1\nsecond = 2\nfirst = 1", "first = 1\nsecond = 2\n", "", "", "repeat"),
        ("first = 1\nthird = 3", "first = 1\nsecond = 2\n", "", "first = 1\nthird = 3", None),
        ("x += 1", "x += 1\n", "", "x += 1", None),  # short things do repeat
        # Who else cut.
        ("a\nb", "", "", "a\nb", None),
        ("a<|endoftext|>b", "", "", "a", "sentinel"),
    ],
)
def test_cases(raw: str, prefix: str, suffix: str, expected: str, cut: str | None) -> None:
    assert (expected, cut) == ((made := refine(raw, prefix, suffix)).text, made.cut)


def test_what_was_cut_and_leaked_is_told() -> None:
    assert Proposal("a", False, "stop") == refine("a\n\nb", "", "", ["\n\n"])
    assert Proposal("a", True, "stop") == refine("a\n\nb<|fim_suffix|>", "", "", ["\n\n"])
    assert Proposal("a", False, "limit") == refine("a\nb", "", "", (), False)
    long = "\n".join(f"x{number} = {number}" for number in range(40))
    assert (MAX_LINES, "lines") == ((made := refine(long, "", "")).text.count("\n") + 1, made.cut)
    assert "x0 = 0\nx1 = 1" == refine(long, "", "", max_lines=2).text
    assert Proposal("", False, None) == refine("", "", "")


@pytest.mark.parametrize(
    ("raw", "prefix", "suffix", "expected"),
    [
        ("    return x", "def f():\n    x = 1\n    ", "", "return x"),
        ("    return x", "def f():\n    if x:\n    ", "", "    return x"),  # the editor was one level short
        ("    .b()", "x = (\n    a\n    ", "\n)", "    .b()"),
        ("    x\n        y", "{\n    a;\n    ", "", "x\n        y"),
        ("if x:\n    y\n        z", "a:\n\tb\n\tc\n\td\n", "", "if x:\n\ty\n\t\tz"),
        ("if x:\n\ty", "a:\n  b\n  c:\n    d\n", "", "if x:\n  y"),
        ("if x:\n\ty", "a:\n  b\n", "", "if x:\n\ty"),  # two lines do not tell
        ("if x:\n\ty", "a:\n  b\n\tc\n  d\n  e\n", "", "if x:\n\ty"),  # the document mixes
    ],
)
def test_indentation_follows_the_document(raw: str, prefix: str, suffix: str, expected: str) -> None:
    assert expected == margins.fitted(raw, prefix, suffix) == policy.proposal(raw, prefix, suffix)


CODE = st.text(alphabet="ab1 \n\t()[]{}\"'`#:</*", max_size=40)


@given(raw=CODE, prefix=CODE, suffix=CODE, finished=st.booleans())
def test_what_is_shown_is_a_start_of_what_was_said(
    raw: str, prefix: str, suffix: str, finished: bool
) -> None:
    made = refine(raw, prefix, suffix, (), finished)
    assert margins.fitted(raw, prefix, suffix).startswith(made.text) or raw.startswith(made.text)
    assert made.text == "" or made.text.strip()
    assert (
        (made.text == "")
        or made.cut is not None
        or made.text.rstrip() == margins.fitted(raw, prefix, suffix).rstrip()
    )


@given(text=CODE, prefix=CODE, suffix=CODE)
def test_brackets_are_no_worse_than_before(text: str, prefix: str, suffix: str) -> None:
    kept = shape.closed(text, prefix, suffix)
    assert text.startswith(kept)
    assert kept or text == "" or shape.unmatched(prefix + suffix) == 0


def test_long_contexts_cost_little() -> None:
    prefix = "def f(a, b):\n    return [a, (b)]\n\n" * 500
    calls = [
        refine("return (a\n    + b)\n\ndef g(", prefix + "def h():\n    ", "\n" + prefix) for _ in range(3)
    ]
    assert ["return (a\n    + b)"] * 3 == [one.text for one in calls]
