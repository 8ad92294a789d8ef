"""Answers without the engine: against a naive oracle."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.dialects.asked import Asked
from echo_ray.prompts import Snippet
from echo_ray.serve import policy
from echo_ray.serve.cache import AnswerCache, Hit, Place, Question, Reply, question

PLACE = Place("v1", "u", "s", "f", (), b"")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def keep_all(rest: str, prefix: str, suffix: str) -> str:
    return rest


def ask(prefix: str = "a = ", suffix: str = "", **changes: Any) -> Question | None:
    who = {"version": "v1", "user": "u", "session": "s", "file": "f"}
    own = {name: changes.pop(name) for name in list(changes) if name in who}
    return question(Asked(prefix, suffix, **{"temperature": 0.0, "max_tokens": 48} | changes), **who | own)


TEXTS = st.text(alphabet="ab(", max_size=4)
PLACES = st.sampled_from(["u1", "u2"])
ASKS = st.tuples(
    PLACES, TEXTS, st.sampled_from(["", "x"]), st.text(alphabet="ab(", max_size=3), st.integers(0, 4)
)


@settings(max_examples=300)
@given(steps=st.lists(ASKS, max_size=60), max_entries=st.sampled_from([3, 1000]))
def test_answers_are_those_of_a_naive_oracle(steps: list[Any], max_entries: int) -> None:
    def refit(rest: str, prefix: str, suffix: str) -> str:
        return rest.rstrip("(")  # takes something away, sometimes all

    clock = Clock()
    cache: AnswerCache[int] = AnswerCache(refit, ttl_s=10, max_entries=max_entries, now=clock)
    kept: list[tuple[tuple[float, int], Question, str]] = []  # least recently used first
    for number, (user, prefix, suffix, answer, wait_s) in enumerate(steps):
        clock.now += wait_s
        kept = [one for one in kept if one[0][0] + 10 > clock.now]
        wanted = Question(Place("v", user, "s", "f", (), b""), prefix, suffix)
        expected = None
        for one in kept:
            if one[1] == wanted:
                expected = (one, Hit.EXACT, one[2])
        if expected is None:
            # Of several, the one that was stored last.
            for one in sorted(kept, key=lambda item: item[0]):
                _, earlier, text = one
                typed = prefix[len(earlier.prefix) :]
                same = (earlier.place, earlier.suffix) == (wanted.place, suffix)
                if same and typed and prefix == earlier.prefix + typed and text.startswith(typed):
                    rest = refit(text[len(typed) :], prefix, suffix)
                    if rest:
                        expected = (one, Hit.TYPED, rest)
        found = cache.get(wanted)
        if expected is None:
            assert found is None
            cache.put(wanted, Reply(answer, number))
            kept = [*kept, ((clock.now, number), wanted, answer)][-max_entries:]
        else:
            assert found is not None
            assert expected[1:] == (found.hit, found.reply.text)
            kept.remove(expected[0])
            kept.append(expected[0])
        assert len(kept) == len(cache)


def test_typing_along_gives_the_rest_until_nothing_is_left() -> None:
    cache: AnswerCache[str] = AnswerCache(keep_all)
    cache.put(Question(PLACE, "x = ", "\n"), Reply("foo(1)", "id"))
    for typed in range(1, 6):
        found = cache.get(Question(PLACE, "x = " + "foo(1)"[:typed], "\n"))
        assert found is not None
        assert (Hit.TYPED, "foo(1)"[typed:], "id") == (found.hit, found.reply.text, found.reply.value)
    # Accepted as a whole: only a question that was asked before has an answer (llama.vim's speculation).
    accepted = Question(PLACE, "x = foo(1)", "\n")
    assert None is cache.get(accepted)
    cache.put(accepted, Reply("\ny = 2", "next"))
    assert Hit.EXACT == cache.get(accepted).hit  # type: ignore[union-attr]
    assert None is cache.get(Question(PLACE, "x = fob", "\n"))
    assert None is cache.get(Question(PLACE, "x = f", ")\n"))


def test_the_rest_is_what_post_processing_allows_in_its_new_context() -> None:
    cache: AnswerCache[None] = AnswerCache(policy.proposal)
    cache.put(Question(PLACE, "total = 1\n", ""), Reply("item = price\ntotal = 1", None))
    found = cache.get(Question(PLACE, "total = 1\nitem = price", ""))
    assert found is not None
    assert "\ntotal = 1" == found.reply.text

    cache.put(Question(PLACE, "", ""), Reply("values.append(one)\nvalues.append(one)", None))
    again = "values.append(one)\n"
    assert "" == policy.proposal("values.append(one)", again, "")
    assert None is cache.get(Question(PLACE, again, ""))  # what is left is silence: the engine is asked


CODE = st.text(alphabet="ab (){}\n", max_size=14)


@given(raw=CODE, prefix=CODE, suffix=CODE, typed=st.integers(1, 14))
def test_a_rest_is_stable_under_post_processing(raw: str, prefix: str, suffix: str, typed: int) -> None:
    cache: AnswerCache[None] = AnswerCache(policy.proposal)
    whole = policy.proposal(raw, prefix, suffix)
    cache.put(Question(PLACE, prefix, suffix), Reply(whole, None))
    here = prefix + whole[:typed]
    found = cache.get(Question(PLACE, here, suffix))
    if found is not None and found.hit is Hit.TYPED:
        assert policy.proposal(whole[typed:], here, suffix) == found.reply.text
        assert whole[typed:].startswith(found.reply.text)
        assert found.reply.text.strip()


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "other"},
        {"session": "other"},
        {"file": "other"},
        {"version": "v2"},
        {"temperature": 0.2, "seed": 1},
        {"seed": 1},
        {"max_tokens": 47},
        {"top_p": 0.9},
        {"stop": ("\n",)},
        {"n": 2},
        {"language": "go"},
        {"snippets": (Snippet("a.py", "b = 1"),)},
        {"prefix": "b = "},
        {"suffix": ")"},
    ],
)
def test_nothing_is_shared_when_anything_differs(changes: dict[str, Any]) -> None:
    cache: AnswerCache[None] = AnswerCache(keep_all)
    first, other = ask(), ask(**changes)
    assert first is not None
    assert other is not None
    cache.put(first, Reply("text", None))
    assert None is cache.get(other)
    assert cache.get(ask()) is not None  # type: ignore[arg-type]


def test_what_is_drawn_by_chance_is_never_kept() -> None:
    assert None is ask(temperature=0.8)
    assert None is ask(temperature=None)
    assert ask(temperature=0.8, seed=3) is not None
    assert ask(stream=True, limit_ms=250) == ask()


def test_bytes_and_entries_are_bounded_and_the_least_used_goes() -> None:
    clock = Clock()
    cache: AnswerCache[None] = AnswerCache(keep_all, max_bytes=20_000, max_entries=10, now=clock)
    questions = [Question(PLACE, f"{number} ", "x") for number in range(30)]
    for one in questions:
        cache.put(one, Reply("text", None))
        cache.get(questions[0])
        assert len(cache) <= 10
    assert [True, False, True] == [cache.get(questions[at]) is not None for at in (0, 1, 29)]
    cache.put(Question(PLACE, "x" * 8000, ""), Reply("", None))
    assert cache.bytes <= 20_000
    cache.put(Question(PLACE, "y" * 20_000, ""), Reply("", None))
    assert None is cache.get(Question(PLACE, "y" * 20_000, ""))
    for _ in range(3):
        cache.put(questions[0], Reply("again", None))
    clock.now += 31
    assert None is cache.get(questions[0])
    assert (0, 0) == (len(cache), cache.bytes)
    assert ({}, {}, 0) == (cache._by_suffix, cache._numbered, len(cache._ages))
    cache.put(questions[0], Reply("again", None))
    cache.clear()
    assert (0, 0) == (len(cache), cache.bytes)
