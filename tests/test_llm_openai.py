"""The OpenAI-compatible teacher against a real local server that misbehaves on purpose."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echo_ray.chooser import Failure, Question
from echo_ray.errors import ConfigError, StageError
from echo_ray.llm import build, journal
from echo_ray.llm.asking import ENOUGH, Asker
from echo_ray.llm.config import LlmConfig
from tests.llm_server import GOOD, Act, Server, right


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def questions(count: int, choices: int = 3) -> list[Question]:
    return [
        Question(f"s{number}", "Choose.", f"question {number} of many", choices) for number in range(count)
    ]


def chooser(server: Server, folder: Path, **changes: Any) -> Asker:
    settings = {"base_url": server.url, "model": "m", "backoff_s": 0.01, "timeout_s": 20.0}
    return build.chooser("openai", LlmConfig(**settings | changes), "teacher", "m", folder)


def number(prompt: str) -> int:
    return int(prompt.split()[1])


def test_right_answers_come_back_in_order_with_their_cost(server: Server, tmp_path: Path) -> None:
    asked = questions(40)
    asker = chooser(server, tmp_path)
    replies = asker.ask(asked)
    assert [right(question.prompt, 3) - 1 for question in asked] == [reply.choice for reply in replies]
    assert {(1, 100, 2)} == {(reply.requests, reply.prompt_tokens, reply.output_tokens) for reply in replies}
    assert journal.Spent(40, 40 * 102) == journal.Meter(tmp_path).spent()
    assert asker.name == f"openai:m@{server.url.split('/')[2]}"


@pytest.mark.parametrize(
    ("act", "failure", "requests"),
    [
        (Act("The second one, because it is a statement."), Failure.PROSE, 1),
        (Act("2."), Failure.PROSE, 1),
        (Act('{"answer": "2"}'), Failure.PROSE, 1),
        (Act('{"answer": 2, "why": 3}'), Failure.PROSE, 1),
        (Act('{"answer": true}'), Failure.PROSE, 1),
        (Act(""), Failure.PROSE, 1),
        (Act("²"), Failure.PROSE, 1),
        (Act("-1"), Failure.PROSE, 1),
        (Act("4"), Failure.OUT_OF_RANGE, 1),
        (Act('{"answer": 0}'), Failure.OUT_OF_RANGE, 1),
        (Act(status=429), Failure.RATE_LIMITED, 3),
        (Act(status=429, headers=(("retry-after", "3600"),)), Failure.RATE_LIMITED, 1),
        (Act(status=500), Failure.ERROR, 3),
        (Act(status=503, raw=b"<html>out</html>"), Failure.ERROR, 3),
        (Act(status=400), Failure.ERROR, 1),
        (Act(status=401), Failure.ERROR, 1),
        (Act(close=True), Failure.ERROR, 3),
        (Act(raw=b"{not json"), Failure.ERROR, 3),
        (Act(raw=b"[]"), Failure.ERROR, 3),
        (Act(raw=b'"hello"'), Failure.ERROR, 3),
        (Act(raw=b'{"choices": []}'), Failure.ERROR, 3),
        (Act(raw=b'{"choices": [{"message": {"content": {"a": 1}}}]}'), Failure.ERROR, 3),
        (Act(raw=b'{"choices": [{"message": {"content": null}}]}'), Failure.PROSE, 1),
        (Act(seconds=3.0), Failure.TIMEOUT, 3),
        (Act(drip=0.05), Failure.TIMEOUT, 3),
    ],
)
def test_what_goes_wrong_costs_that_row_only(
    server: Server, tmp_path: Path, act: Act, failure: Failure, requests: int
) -> None:
    asked = questions(6)
    server.behave = lambda prompt, before: act if number(prompt) == 2 else GOOD
    replies = chooser(server, tmp_path, retries=2, timeout_s=0.5 if act.seconds or act.drip else 20.0).ask(
        asked
    )
    wrong = replies.pop(2)
    assert (None, failure, requests) == (wrong.choice, wrong.failure, wrong.requests)
    assert wrong.note or failure is Failure.PROSE
    assert requests == server.asked["question 2 of many"]
    good = [question for question in asked if question.key != "s2"]
    assert [right(question.prompt, 3) - 1 for question in good] == [reply.choice for reply in replies]


@pytest.mark.parametrize(
    "act", [Act(status=500), Act(status=429), Act(close=True), Act(status=408), Act(raw=b"x")]
)
def test_a_passing_fault_is_only_a_retry(server: Server, tmp_path: Path, act: Act) -> None:
    server.behave = lambda prompt, before: act if before < 2 else GOOD
    replies = chooser(server, tmp_path, retries=2).ask(questions(5))
    assert [3] * 5 == [reply.requests for reply in replies]
    assert all(reply.choice is not None for reply in replies)


def test_retry_after_is_obeyed_instead_of_the_backoff(server: Server, tmp_path: Path) -> None:
    limited = Act(status=429, headers=(("retry-after", "0.4"),))
    server.behave = lambda prompt, before: GOOD if before else limited
    backoff_s = 30.0
    replies = chooser(server, tmp_path, backoff_s=backoff_s).ask(questions(1))
    assert replies[0].choice is not None
    first, second = server.times
    assert 0.4 <= second - first < backoff_s / 2


@pytest.mark.parametrize("limit", [1, 5])
def test_no_more_questions_are_open_than_allowed(server: Server, tmp_path: Path, limit: int) -> None:
    server.behave = lambda prompt, before: Act(seconds=0.05)
    chooser(server, tmp_path, concurrency=limit).ask(questions(30))
    assert limit == server.most_open


def test_equal_questions_are_asked_once(server: Server, tmp_path: Path) -> None:
    asker = chooser(server, tmp_path)
    replies = asker.ask(questions(4) * 3 + questions(2))
    assert len(replies) == 14
    assert replies[:4] == replies[4:8] == replies[8:12]
    assert 4 == sum(server.asked.values())


def test_the_request_limit_is_never_passed_and_nothing_is_paid_twice(server: Server, tmp_path: Path) -> None:
    asked = questions(50)
    with pytest.raises(
        StageError, match=r"teacher\.max_requests=20 is used up \(20 requests, 2,040 tokens\)"
    ):
        chooser(server, tmp_path, max_requests=20).ask(asked)
    assert 20 == sum(server.asked.values())
    replies = chooser(server, tmp_path, max_requests=50).ask(asked)
    assert [right(question.prompt, 3) - 1 for question in asked] == [reply.choice for reply in replies]
    assert {1} == set(server.asked.values())
    assert journal.Spent(50, 50 * 102) == journal.Meter(tmp_path).spent()
    assert 20 == sum(reply.requests == 0 for reply in replies)


def test_retries_are_paid_for_too(server: Server, tmp_path: Path) -> None:
    server.behave = lambda prompt, before: Act(status=500)
    with pytest.raises(StageError, match=r"teacher\.max_requests=7 "):
        chooser(server, tmp_path, max_requests=7, retries=9, concurrency=2).ask(questions(3))
    assert 7 == sum(server.asked.values())


def test_two_workers_share_one_purse(server: Server, tmp_path: Path) -> None:
    first, second = (chooser(server, tmp_path, max_requests=30) for _ in range(2))
    first.ask(questions(20))
    with pytest.raises(StageError, match="max_requests=30"):
        second.ask([question._replace(prompt=f"question {n} b") for n, question in enumerate(questions(20))])
    assert 30 == sum(server.asked.values())


def test_the_token_limit_is_not_passed_when_estimates_are_high(server: Server, tmp_path: Path) -> None:
    asked = [question._replace(prompt=question.prompt + " " * 300) for question in questions(50)]
    with pytest.raises(StageError, match=r"teacher\.max_tokens=1000 is used up"):
        chooser(server, tmp_path, max_tokens=1000, concurrency=1).ask(asked)
    assert journal.Spent(9, 918) == journal.Meter(tmp_path).spent()


def test_too_low_an_estimate_costs_what_is_on_its_way(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"teacher\.max_tokens=1000 is used up"):
        chooser(server, tmp_path, max_tokens=1000, concurrency=4).ask(questions(50))
    spent = journal.Meter(tmp_path).spent()
    assert 102 * spent.requests == spent.tokens < 1000 + 4 * 102


def test_too_many_failures_stop_early_and_only_those_are_asked_again(server: Server, tmp_path: Path) -> None:
    asked = questions(400)
    server.behave = lambda prompt, before: GOOD if number(prompt) % 2 else Act("Well, number two")
    with pytest.raises(StageError, match=r"max_failed_share=0\.1; most often prose \('Well, number two'\)"):
        chooser(server, tmp_path, concurrency=8).ask(asked)
    first = sum(server.asked.values())
    assert ENOUGH <= first < 100
    server.behave = lambda prompt, before: GOOD
    answered = Counter(server.asked)
    replies = chooser(server, tmp_path).ask(asked)
    assert all(reply.choice is not None for reply in replies)
    again = [prompt for prompt, count in server.asked.items() if count > 1]
    assert sorted(again) == sorted(prompt for prompt in answered if number(prompt) % 2 == 0)


def test_some_failures_within_the_share_stop_nothing(server: Server, tmp_path: Path) -> None:
    server.behave = lambda prompt, before: Act("no") if number(prompt) % 12 == 0 else GOOD
    asker = chooser(server, tmp_path)
    replies = asker.ask(questions(240))
    assert 20 == sum(reply.failure is Failure.PROSE for reply in replies)
    facts = asker.facts()
    assert (240, 0, {"prose": 20}) == (facts["asked"], facts["cached"], facts["failed"])
    assert 0 == asker.facts()["asked"]


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    def dies(prompt: str, before: int) -> Act:
        return Act(close=True) if number(prompt) >= 30 else GOOD

    with Server(dies) as server, pytest.raises(StageError, match="most often error"):
        chooser(server, tmp_path, retries=1, concurrency=4).ask(questions(200))
    address = server.url
    with pytest.raises(StageError, match="no connection"):
        chooser(server, tmp_path, retries=0, concurrency=4).ask(questions(200))
    server.behave = lambda prompt, before: GOOD
    server.start()
    try:
        assert address == server.url
        replies = chooser(server, tmp_path).ask(questions(200))
    finally:
        server.stop()
    assert all(reply.choice is not None for reply in replies)
    assert {1} == set(server.answered.values())


@pytest.mark.parametrize(
    ("answers", "field"),
    [("schema", "response_format"), ("choice", "structured_outputs"), ("plain", None)],
)
def test_how_an_endpoint_is_held_to_a_number(
    server: Server, tmp_path: Path, answers: str, field: str | None
) -> None:
    replies = chooser(server, tmp_path, answers=answers).ask(questions(3))
    assert all(reply.choice is not None for reply in replies)
    held = {"response_format", "structured_outputs"} & set(server.bodies[0])
    assert ({field} if field else set()) == held
    assert (0, 16) == (server.bodies[0]["temperature"], server.bodies[0]["max_tokens"])


def test_extra_fields_are_sent_and_null_takes_one_away(server: Server, tmp_path: Path) -> None:
    extra = {"temperature": None, "max_tokens": None, "max_completion_tokens": 2000, "seed": 1}
    chooser(server, tmp_path, extra=extra).ask(questions(1))
    (body,) = server.bodies
    assert {"max_completion_tokens": 2000, "seed": 1}.items() <= body.items()
    assert not {"temperature", "max_tokens"} & set(body)


def test_the_key_comes_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LlmConfig(base_url=server.url, model="m", api_key_env="ECHO_TEST_KEY")
    with pytest.raises(ConfigError, match=r"teacher\.api_key_env=ECHO_TEST_KEY is not set"):
        build.check("openai", settings, "teacher")
    with pytest.raises(StageError, match="ECHO_TEST_KEY is not set on a machine with a worker"):
        build.chooser("openai", settings, "teacher", "m", tmp_path)
    monkeypatch.setenv("ECHO_TEST_KEY", "open sesame")
    build.check("openai", settings, "teacher")
    build.chooser("openai", settings, "teacher", "m", tmp_path).ask(questions(1))
    assert ["Bearer open sesame"] == server.keys
    assert "sesame" not in "".join(path.read_text() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": None}, "judge.model is not set"),
        ({"base_url": None}, "judge.base_url is not set"),
        ({"base_url": "localhost:8000"}, "is not an http"),
        ({"base_url": "http://localhost:99999/v1"}, "is not an http"),
        ({"base_url": "http://me:secret@localhost/v1"}, "judge.base_url holds a password"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "nothing answers at judge.base_url=http://127.0.0.1:9/v1"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        build.check(
            "openai", LlmConfig(**{"model": "m", "base_url": "http://127.0.0.1:9"} | changes), "judge"
        )
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_journal_survives_the_line_that_was_being_written(server: Server, tmp_path: Path) -> None:
    chooser(server, tmp_path).ask(questions(5))
    (path,) = tmp_path.glob(journal.ANSWERS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:9] + b"\xff\n[]\n" + json.dumps({"key": 1}).encode())
    asker = chooser(server, tmp_path)
    assert all(reply.choice is not None for reply in asker.ask(questions(5)))
    assert 4 == asker.facts()["cached"]
    assert 6 == sum(server.asked.values())
    journal.forget(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_another_model_has_other_answers(server: Server, tmp_path: Path) -> None:
    chooser(server, tmp_path).ask(questions(3))
    chooser(server, tmp_path, model="other").ask(questions(3))
    assert ["m", "m", "m", "other", "other", "other"] == sorted(body["model"] for body in server.bodies)
