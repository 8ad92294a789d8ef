import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import prompts, syntax
from echo_ray.checks import repeats
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Finding, Verdict
from echo_ray.schema import Drop


def found(prefix: str, target: str, suffix: str, language: str = "python", rest: str = "") -> Finding:
    return repeats.check(Case(prefix, target, suffix, target + rest, language))


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix", "repeated"),
    [
        ("python", "", "a = first()\nb = second()", "\nb = second()\nc = 3\n", "b = second()"),
        ("python", "", "a = first()\nbar = second", "\nbar = second_one(a)\n", "bar = second"),
        ("python", "", "bar = second()", "\nbar = second()\n", "bar = second()"),
        ("python", "def f():\n    ", "a = 1\n    return a\n", "\n    return a\n", "return a"),
        ("python", "", "a = 1\n\nfoo(a)\nbar()", "\n\n\nfoo(a)\n\nbar()\n", "foo(a)\nbar()"),
        ("javascript", "", "a();\nsecond(bar);", "\n\n  second(bar);\n", "second(bar);"),
        ("ruby", "", "a\nsecond b, c", "\nsecond b, c\n", "second b, c"),
    ],
)
def test_lines_that_the_suffix_has(
    language: str, prefix: str, target: str, suffix: str, repeated: str
) -> None:
    finding = found(prefix, target, suffix, language)
    assert (Drop.REPEAT_SUFFIX, "next_lines") == (finding.drop, finding.rule)
    assert repeated == target[finding.start : finding.stop]


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = foo(", "first, second)", "first, second)\n"),
        ("python", "x = foo(a, ", "first(b)", "first(b))\n"),
        ("javascript", "x = ", 'call("johndoe");', 'call("johndoe");\n'),
        ("ruby", "x = ", "call first, second", "call first, second\n"),
    ],
)
def test_the_rest_of_the_line(language: str, prefix: str, target: str, suffix: str) -> None:
    assert Drop.REPEAT_SUFFIX == found(prefix, target, suffix, language).drop


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("python", "x = foo(a", ")", ")\n"),
        ("python", "x = foo(", "a, b)", ")\n"),
        ("python", 'x = foo("', 'abc"', '")\n'),
        ("python", 'x = "', 'abc"', '"\n'),
        ("javascript", "foo(", "a, b);", ");\n"),
        ("javascript", "foo(a", ");", "\n);\n"),
        ("ruby", "foo(a", ")", ")\n"),
    ],
)
def test_brackets_that_the_suffix_has(language: str, prefix: str, target: str, suffix: str) -> None:
    assert Drop.REPEAT_BRACKETS == found(prefix, target, suffix, language).drop


@pytest.mark.parametrize(
    ("language", "prefix", "target", "suffix"),
    [
        ("javascript", "function f() {\n  if (a) {\n    b();\n  ", "}", "\n}\n"),
        ("python", "x = foo(bar(a", ")", ")\n"),
        ("python", "x = foo(bar(", "a, b)", ")\n"),
        ("python", "x = [1, ", "1", ", 1]\n"),
        ("python", "def f():\n    if a:\n        ", "b()\n        return", "\n    return\n"),
        ("python", "", "print()", "\nprint()\n"),
        ("python", "import os\n", "import sys", "\nimport sysconfig\n"),
        ("python", "i = foo", "(1)", "\n(1)\n"),
        ("python", "a = 1\n", "b = 2", "\n"),
        ("python", "a = 1\n", "b = 2", ""),
        ("c", "int f() { ", "i++;", "\ni++;\n}\n"),
        ("ruby", "foo(bar(a", ", b)", ")\n"),
    ],
)
def test_repetition_that_is_right(language: str, prefix: str, target: str, suffix: str) -> None:
    assert found(prefix, target, suffix, language).verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)


def test_a_header_may_look_like_the_code_behind_its_body() -> None:
    header, body = "if write(header_one) is None:", "\n    return 1"
    suffix = f"\n{header}\n    return 2\n"
    assert PASS == found("", header, suffix, rest=body)
    assert Drop.REPEAT_SUFFIX == found("", header, suffix).drop


TOKENS = [
    token
    for family in prompts.FAMILIES
    for token in (family.prefix, family.suffix, family.middle, family.end)
    if token
]


@pytest.mark.parametrize(
    "token",
    [
        *sorted(set(TOKENS)),
        *("<PRE>", "▁<MID>", "<EOT>", "[SUFFIX]", "[PREFIX]", "<|fim_pad|>", "<|file_separator|>"),
        *("<|im_end|>", "<|eot_id|>", "</s>", "<file_sep>", "<|repo_name|>", "[INST]", "<fim-prefix>"),
    ],
)
def test_special_tokens(token: str) -> None:
    finding = repeats.sentinel(Case("x = ", f"1{token}", "\n", f"1{token}", "python"))
    assert (Drop.SYNTAX_SENTINEL, token) == (finding.drop, finding.note)
    assert token == f"1{token}"[finding.start : finding.stop]
    talked = Case(f"STOP = '{token}'\nx = ", f"1{token}", "\n", f"1{token}", "python")
    assert PASS == repeats.sentinel(talked)


@pytest.mark.parametrize(
    ("language", "target"),
    [
        ("vue", "<s>old</s>"),
        ("typescriptreact", "<div className={a}></div>"),
        ("cpp", "std::vector<int> a; if (a < b || c > d) {}"),
        ("python", "x = a[prefix] if a <= b else c"),
        ("java", "List<String> a = new ArrayList<>();"),
    ],
)
def test_angle_brackets_of_code(language: str, target: str) -> None:
    assert PASS == repeats.sentinel(Case("", target, "\n", target, language))


def test_nothing_to_check_in_a_void() -> None:
    void = Case("x = 1", "", "\n", "", "python")
    assert (NOT_APPLICABLE, NOT_APPLICABLE) == (repeats.check(void), repeats.sentinel(void))


TEXT = st.lists(
    st.sampled_from(
        ["foo(a, b)", ")", "}", '"', "\n", "    ", "return", "// é😀", "\ud800", "<|fim", "_pad|>"]
    )
    | st.text(max_size=3),
    max_size=7,
).map("".join)


@given(TEXT, TEXT, TEXT, st.sampled_from([*sorted(syntax.GRAMMARS), "ruby"]))
@settings(deadline=None, max_examples=150)
def test_a_finding_names_text_that_the_suffix_has(
    prefix: str, target: str, suffix: str, language: str
) -> None:
    finding = found(prefix, target, suffix, language)
    if finding.verdict is Verdict.FAIL:
        said = target[finding.start : finding.stop]
        assert said.strip()
        assert "".join(suffix.split()).startswith("".join(said.split()))
    assert repeats.sentinel(Case(prefix, target, suffix, target, language)).verdict in Verdict
