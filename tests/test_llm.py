"""Questions and answers without a model: what counts as an answer, what a question shows, what is cut."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.checks.case import Case, Finding, Verdict
from echo_ray.chooser import DROPS, NOTE_CHARS, Failure, Question, Reply, failed, read, shortened
from echo_ray.llm import journal
from echo_ray.llm.config import LlmConfig
from echo_ray.llm.vllm_engine import environment, render
from echo_ray.schema import Drop, LastEdit
from echo_ray.stages import judging, questions, teaching
from echo_ray.stages.cuts import Cut

TEXT = st.text(st.sampled_from("ab \n\t(){}é😀<>/answer"), max_size=200)


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["", " ", "\n", "\t "]))
def test_a_bare_number_is_an_answer(number: int, choices: int, space: str) -> None:
    reply = read(f"{space}{number}{space}", choices)
    if number <= choices:
        assert Reply(number - 1) == reply
    else:
        assert (None, Failure.OUT_OF_RANGE) == (reply.choice, reply.failure)


@given(st.text(max_size=80), st.integers(1, 9))
def test_anything_else_is_none(text: str, choices: int) -> None:
    reply = read(text, choices)
    digits = text.strip().isascii() and text.strip().isdigit() and len(text.strip()) < 10
    assert (reply.choice is not None) == (digits and 1 <= int(text) <= choices)
    if reply.choice is None:
        assert reply.failure in DROPS
        assert len(reply.note) <= NOTE_CHARS
        assert "\n" not in reply.note


@given(TEXT, TEXT, TEXT, st.integers(0, 500))
def test_a_long_prompt_loses_the_far_ends_of_its_context(
    before: str, middle: str, after: str, chars: int
) -> None:
    whole = Question(
        "k", "s", f"[{before}|{middle}|{after}]1:2:", 2, (1, 1 + len(before)),
        (3 + len(before) + len(middle), 3 + len(before) + len(middle) + len(after)),
    )  # fmt: skip
    less = shortened(whole, chars)
    left, right = less.prompt[slice(*less.before)], less.prompt[slice(*less.after)]
    assert before.endswith(left)
    assert after.startswith(right)
    assert f"[{left}|{middle}|{right}]1:2:" == less.prompt
    assert min(chars, len(before) + len(after)) == len(whole.prompt) - len(less.prompt)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_equal_keys_are_equal_questions(name: str, system: str, prompt: str) -> None:
    question = Question("a", system, prompt, 3)
    assert journal.key(name, question) == journal.key(name, question._replace(key="b"))
    others = [(name + "x", question), (name, question._replace(choices=4))]
    others += [(name, question._replace(system=system + prompt + "x", prompt=""))]
    assert journal.key(name, question) not in {journal.key(*other) for other in others}


LINES = st.lists(st.sampled_from(["x = 1\n", "\n", "y" * 300 + "\n", "é\r\n", "z"]), max_size=400).map(
    "".join
)


@given(LINES, TEXT, LINES)
@settings(max_examples=60, deadline=None)
def test_a_view_is_the_text_around_the_cursor(prefix: str, middle: str, suffix: str) -> None:
    shown = questions.view(prefix, middle, suffix)
    assert prefix.endswith(shown.before)
    assert middle == shown.middle
    assert suffix.startswith(shown.after)
    assert len(shown.before) <= questions.BEFORE_CHARS
    assert len(shown.after) <= questions.AFTER_CHARS
    if len(prefix) <= questions.BEFORE_CHARS:
        assert prefix == shown.before


def test_views_of_one_file_share_their_beginning() -> None:
    text = "".join(f"line {number} = {number * 7919}\n" for number in range(600))
    starts = [cursor - len(questions.view(text[:cursor], "", "").before) for cursor in range(4000, 8000, 50)]
    assert starts == sorted(starts)
    assert 5 == len(set(starts))
    assert all(later - sooner < 50 + questions.STEP_CHARS + 100 for sooner, later in pairwise(starts))


def test_blots_have_the_length_of_what_they_cover() -> None:
    mail, key = "jane.roe@sunshine-bakery.org", "AKIA" + "QWERTYUIOPASDFGH"
    text = f'a = 1\nb = "{mail}"\r\nc = "{key}"\nd = 2\n'
    blotted = questions.blotted(text)
    assert len(text) == len(blotted)
    assert text.splitlines()[::3] == blotted.splitlines()[::3]
    assert mail not in blotted
    assert key not in blotted


CUTS = [Cut(3, "expression"), Cut(8, "statement")]


def test_the_teachers_question() -> None:
    asked = teaching.question("s1", "import a\n", "a.b()  c\nd\n", "# end\n", "python", CUTS)
    assert ("s1", teaching.SYSTEM, 2) == (asked.key, asked.system, asked.choices)
    assert asked.prompt.startswith("Language: python\n<before>\nimport a\n")
    for line in (
        "<written>\na.b()  c\nd\n",
        "<answer 1>\na.b\n</answer 1>",
        "<answer 2>\na.b()  c\n</answer 2>",
    ):
        assert line in asked.prompt
    short = shortened(asked, 10_000)
    assert "import a" not in short.prompt
    assert asked.prompt.partition("</after>")[2] == short.prompt.partition("</after>")[2]


def test_a_huge_commit_is_shown_as_far_as_it_matters() -> None:
    asked = teaching.question("s1", "", "a.b()  c\n" + "x = 1\n" * 40_000, "", "python", CUTS)
    assert len(asked.prompt) < 1_000


def case(target: str = "a.b()", **changes: Any) -> Case:
    return Case("import a\n", target, "# end\n", target, "python", **changes)


def test_the_judges_question_names_suspicions_and_hides_verdicts() -> None:
    findings = [
        Finding(Verdict.UNSURE, "odd_name", Drop.NAME_UNDEFINED),
        Finding(Verdict.PASS),
        Finding(Verdict.UNSURE, "finished", Drop.VOID_FINISHED),
    ]
    asked = judging.question("s1", case(last_edit=LastEdit.DELETED), findings)
    assert 4 == asked.choices == len(judging.ANSWERS)
    assert "To be looked at: finished, odd_name\n" in asked.prompt
    assert "last edit: deleted\n" in asked.prompt
    assert "<target>\na.b()\n</target>" in asked.prompt
    assert "name_undefined" not in asked.prompt
    assert 2 == judging.question("s1", case(""), findings).choices


@pytest.mark.parametrize(
    ("target", "choice", "verdict", "drop"),
    [
        ("a", 0, Verdict.PASS, None),
        ("a", 1, Verdict.FAIL, Drop.VOID_JUDGED),
        ("a", 2, Verdict.FAIL, Drop.NAME_JUDGED),
        ("a", 3, Verdict.FAIL, Drop.MALICIOUS_JUDGED),
        ("", 0, Verdict.PASS, None),
        ("", 1, Verdict.FAIL, Drop.VOID_JUDGED),
    ],
)
def test_what_the_judge_says(target: str, choice: int, verdict: Verdict, drop: Drop | None) -> None:
    found = judging.finding(Reply(choice), judging.question("s1", case(target), []))
    assert (verdict, drop) == (found.verdict, found.drop)


@pytest.mark.parametrize("failure", list(Failure))
def test_a_judge_that_fails_drops_the_row(failure: Failure) -> None:
    found = judging.finding(failed(failure, "why"), judging.question("s1", case(), []))
    assert Finding(Verdict.FAIL, "no_answer", DROPS[failure], note="why") == found


class Tokenizer:
    """Characters as tokens; a template as the real ones are: some refuse a system message."""

    def __init__(self, template: str | None, system: bool = True) -> None:
        self.chat_template, self._system = template, system

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def apply_chat_template(
        self, messages: Sequence[dict[str, str]], add_generation_prompt: bool, tokenize: bool
    ) -> dict[str, list[int]]:
        if not self._system and messages[0]["role"] == "system":
            raise ValueError("System role not supported")
        text = "".join(f"<{message['role']}>{message['content']}" for message in messages)
        return {"input_ids": self.encode(text + "<assistant>" * add_generation_prompt)}


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (Tokenizer(None), "S\n\nP\n"),
        (Tokenizer("t"), "<system>S<user>P<assistant>"),
        (Tokenizer("t", system=False), "<user>S\n\nP<assistant>"),
    ],
)
def test_prompts_use_the_chat_template_where_there_is_one(tokenizer: Tokenizer, expected: str) -> None:
    assert expected == "".join(map(chr, render(tokenizer, Question("k", "S", "P", 2))))


def test_limits_and_places_do_not_change_what_a_model_answers() -> None:
    config = LlmConfig(model="m", base_url="http://a")
    patience = {
        "max_requests": 5,
        "timeout_s": 1.0,
        "workers": 3,
        "api_key_env": "K",
        "max_failed_share": 0.5,
    }
    assert config.identity() == config.updated(**patience).identity()
    for change in ({"base_url": "http://b"}, {"answers": "plain"}, {"extra": {"seed": 1}}):
        assert config.identity() != config.updated(**change).identity()


def test_a_meter_that_was_torn_begins_anew(tmp_path: Path) -> None:
    meter = journal.Meter(tmp_path, max_requests=2)
    assert [True, True, False] == [meter.take(1, 10) for _ in range(3)]
    meter.correct(-15)
    assert journal.Spent(2, 5) == meter.spent()
    (tmp_path / journal.SPENT).write_text("{")
    assert meter.take(1, 1)


def test_engines_on_cpu_share_the_cores() -> None:
    cpu, gpu = environment(LlmConfig(threads=3)), environment(LlmConfig(gpus=1))
    assert "3" == cpu["OMP_NUM_THREADS"]
    assert "OMP_NUM_THREADS" not in gpu
