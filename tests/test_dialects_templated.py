"""Prompts that clients rendered, read back: every family's text form, and what clients put around code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.dialects.templated import _REPOSITORY_END, Recovered, recover, split
from echo_ray.prompts import FAMILIES, Family, Snippet

BY_NAME = {family.name: family for family in FAMILIES}
TOKENS = {
    token.replace("\u2581", "")
    for family in FAMILIES
    for token in (family.prefix, family.suffix, family.middle, family.begin)
    if token
} | {"<[fim-", "<|code_"}

PIECES = [
    *sorted(TOKENS),
    *("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"),
    *("+++++ a.py\n", "# Path: b.py\n", "# ", "\n", "Context:\n\n", " ", "x", "# a/b.py\n"),
]

TEXT = st.text(max_size=60).filter(lambda text: not any(token in text for token in TOKENS))
CODE = st.text(st.sampled_from("ab (){}=:.\n\t é\U0001f600"), max_size=60).filter(
    lambda text: not text.startswith("\n")
)


def rendered(family: Family, prefix: str, suffix: str, order: str | None = None) -> str:
    """The text form of a family, written down a second time, from its documentation."""
    if family.name == "codellama":
        return f"<PRE> {prefix} <SUF>{suffix} <MID>"
    if (order or family.order) == "spm":
        return f"{family.suffix}{suffix}{family.prefix}{prefix}{family.middle}"
    return f"{family.prefix}{prefix}{family.suffix}{suffix}{family.middle}"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(deadline=None)
@given(prefix=TEXT, suffix=TEXT)
def test_every_family_gives_back_what_was_put_in(family: Family, prefix: str, suffix: str) -> None:
    assert ("", prefix, suffix) == split(rendered(family, prefix, suffix))
    assert ("", prefix, suffix) == split(family.begin + rendered(family, prefix, suffix))
    if family.middle and family.name != "codellama":
        for order in ("psm", "spm"):
            assert ("", prefix, suffix) == split(rendered(family, prefix, suffix, order))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(deadline=None)
@given(prefix=CODE, suffix=CODE)
def test_nothing_else_is_taken_from_plain_code(family: Family, prefix: str, suffix: str) -> None:
    assert Recovered(prefix, suffix) == recover(rendered(family, prefix, suffix))
    assert Recovered(prefix, suffix) == recover(prefix, suffix)


@given(TEXT, TEXT)
def test_recovering_never_fails_and_takes_only_from_the_start(prompt: str, suffix: str) -> None:
    found = recover(prompt, suffix)
    assert prompt.endswith(found.prefix)
    assert suffix == found.suffix


@given(
    st.lists(
        st.sampled_from(PIECES),
        max_size=12,
    )
)
def test_sentinels_in_any_order_never_fail(pieces: list[str]) -> None:
    prompt = "".join(pieces)
    found = recover(prompt)
    assert found.prefix in prompt
    assert found.suffix in prompt


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<PRE>  a = <SUF>\nb <MID>", (" a =", "\nb")),
        ("<PRE> a =  <SUF>\nb\n <MID>", ("a = ", "\nb\n")),
        ("<PRE>  <SUF> <MID>", ("", "")),
        ("<PRE> <SUF>b <MID>", ("", "b")),
        ("<PRE> a = <SUF>b<MID>", ("a =", "b")),
        ("<PRE>a = <SUF>b<MID>", ("a = ", "b")),
        ("<[fim-suffix]>S<[fim-prefix]>P<[fim-middle]>", ("P", "S")),
        ("<[fim-prefix]>P<[fim-suffix]>S<[fim-middle]>", ("P", "S")),
        ("<|code_prefix|>P<|code_suffix|>S<|code_middle|>", ("P", "S")),
        ("<|code_suffix|>S<|code_prefix|>P<|code_middle|>", ("P", "S")),
        ("<s>[SUFFIX][PREFIX]", ("", "")),
        # written about sentinels, in one of their forms: the suffix is taken to be without
        (
            '<|fim_prefix|>x = "<|fim_suffix|>"\ny<|fim_suffix|>z<|fim_middle|>',
            ('x = "<|fim_suffix|>"\ny', "z"),
        ),
    ],
)
def test_the_spaces_and_orders_of_a_form(prompt: str, expected: tuple[str, str]) -> None:
    found = recover(prompt)
    assert expected == (found.prefix, found.suffix)


@pytest.mark.parametrize(
    "prompt",
    [
        'TOKENS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]\n',
        'x = "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>',
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>c",
        "<|fim_prefix|>a<|fim_middle|>",
        "<|fim_suffix|>a<|fim_middle|>",
        "<|fim_middle|>",
        "[SUFFIX]",
        "[PREFIX]a[SUFFIX]b",
        "config[PREFIX]",
        "<PRE>",
        "<PRE><MID>",
        "<SUF> <MID>",
        "<s>",
        "",
    ],
)
def test_code_about_sentinels_stays_as_it_is(prompt: str) -> None:
    assert Recovered(prompt, "") == recover(prompt)


def test_a_suffix_of_its_own_says_that_there_are_no_sentinels() -> None:
    prompt = rendered(BY_NAME["starcoder2"], "a", "b")
    assert Recovered(prompt, "c") == recover(prompt, "c")


def test_a_repository_prompt_tells_of_its_files() -> None:
    prompt = (
        "<|repo_name|>team/proj\n<|file_sep|>lib/other.py\ndef g():\n    pass\n"
        "<|file_sep|>lib/m.py\n<|fim_prefix|>x = <|fim_suffix|>\n<|fim_middle|>"
    )
    others = (Snippet("lib/other.py", "def g():\n    pass\n"),)
    assert Recovered("x = ", "\n", "lib/m.py", "team/proj", None, others) == recover(prompt)


def test_starcoder_names_the_file_after_the_sentinel_or_not_at_all() -> None:
    ours = "<repo_name>r<file_sep>o.py\ng\n<file_sep><fim_prefix>lib/m.py\nx<fim_suffix>y<fim_middle>"
    assert Recovered("x", "y", "lib/m.py", "r", None, (Snippet("o.py", "g\n"),)) == recover(ours)
    loose = "<file_sep>def g(): pass<file_sep><fim_prefix>def f():\n<fim_suffix>y<fim_middle>"
    expected = Recovered("def f():\n", "y", None, None, None, (Snippet("", "def g(): pass"),))
    assert expected == recover(loose)


def test_codegemma_puts_a_separator_between_files() -> None:
    prompt = "o.py\ng\n<|file_separator|>lib/m.py\n<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>"
    expected = Recovered("x", "y", "lib/m.py", None, None, (Snippet("o.py", "g\n"),))
    assert expected == recover(prompt) == recover("<bos>" + prompt)


def test_text_before_the_sentinels_is_context() -> None:
    prompt = "Context:\n\ndef g(): pass\n<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>"
    assert Recovered("x", "y", snippets=(Snippet("", "def g(): pass\n"),)) == recover(prompt)
    objects = "Context:\n\n[object Object]\n[object Object]<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>"
    assert Recovered("x", "y") == recover(objects)


@pytest.mark.parametrize("suffix", ["", "\n"])
@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("# language: python\n# indentation: use 4 spaces for a tab\n", "python"),
        ("// language: javascript\n// indentation: use \t for a tab\n", "javascript"),
        ("/* language: c */\n/* indentation: use 8 spaces for a tab */\n", "c"),
        ("/*language: c*/\n/*indentation: use 8 spaces for a tab*/\n", "c"),
        ("<!-- language: html -->\n<!-- indentation: use 2 spaces for a tab -->\n", "html"),
        ("# language: sh\n# indentation: use 2 spaces for a tab\n", "shellscript"),
        ("-- language: lua\n-- indentation: use 2 spaces for a tab\n", "lua"),
    ],
)
def test_the_two_comments_of_minuet_go(header: str, language: str, suffix: str) -> None:
    assert Recovered("x = 1", suffix, language=language) == recover(f"{header}x = 1", suffix)
    only = header.split("\n")[0] + "\nx"
    assert Recovered(only, suffix) == recover(only, suffix)


@pytest.mark.parametrize(
    ("header", "file", "snippets"),
    [
        ("\n# lib/m.py\n", "lib/m.py", ()),
        ("\n// m.tsx\n", "m.tsx", ()),
        (
            "# Path: lib/o.py\n# def f():\n# \n#     pass\n# lib/m.py\n",
            "lib/m.py",
            (Snippet("lib/o.py", "def f():\n\n    pass\n"),),
        ),
        (
            "-- Path: a.lua\n-- b\n-- Path: c.lua\n-- d\n-- m.lua\n",
            "m.lua",
            (Snippet("a.lua", "b\n"), Snippet("c.lua", "d\n")),
        ),
        ("+++++ lib/o.py\nbody\n\n+++++ lib/m.py\n", "lib/m.py", (Snippet("lib/o.py", "body"),)),
        ("+++++ lib/m.py\n", "lib/m.py", ()),
    ],
)
@pytest.mark.parametrize("code", ["", "x = 1", "\n\ndef f():\n    ", "# a comment\nx"])
def test_what_continue_wrote_becomes_file_and_snippets(
    header: str, file: str, snippets: tuple[Snippet, ...], code: str
) -> None:
    assert Recovered(code, "\n", file, None, None, snippets) == recover(header + code, "\n")
    inside = rendered(BY_NAME["deepseek-coder"], header + code, "\n")
    assert Recovered(code, "\n", file, None, None, snippets) == recover(inside)


def test_a_file_that_begins_with_its_own_name_keeps_it() -> None:
    header = "# Path: lib/o.py\n# pass\n# lib/m.py\n"
    assert "# lib/m.py\nx" == recover(f"{header}# lib/m.py\nx", "\n").prefix
    assert "# m.py\nx" == recover(f"{header}# m.py\nx", "\n").prefix


def test_the_repository_form_of_continue() -> None:
    prefix = f"<|repo_name|>p\n<|file_sep|>o.py\nbody\n<|file_sep|>lib/m.py{_REPOSITORY_END}x"
    expected = Recovered("x", "\n", "lib/m.py", "p", None, (Snippet("o.py", "body\n"),))
    assert expected == recover(rendered(BY_NAME["qwen2.5-coder"], prefix, "\n"))
    assert expected == recover(prefix, "\n")


@pytest.mark.parametrize(
    "prefix",
    [
        "# lib/m.py\nx",
        "\n# a note\nx",
        "\n# www.example.com\nx",
        "# Path: a.py\n# b\nx = 1\n# lib/m.py\nx",
        "\n# m.py",
        "# Path: a.py",
        "+++++ m.py",
        "x\n\n+++++ m.py\n",
        "# language: python\nx",
        "<|repo_name|>p\n<|file_sep|>a.py\nx",
    ],
)
def test_what_only_looks_alike_stays(prefix: str) -> None:
    assert Recovered(prefix, "\n") == recover(prefix, "\n")
