"""The playground in a real browser, against a real server that sends the real Content-Security-Policy."""

import re
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest

from tests.node import Browser
from tests.playground_server import WORDS, Service, continuing, serving

LANGUAGES = ("python", "javascript", "typescript", "go", "java", "cpp", "vue")
Drive = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; each has a context of its own."""
    with Browser(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def drive(browser: Browser) -> Drive:
    """Run steps on the page of a service; the browser must have nothing to complain about."""

    def run(
        service: Service, *steps: list[Any], complaints: tuple[str, ...] = (), **settings: Any
    ) -> list[Any]:
        results, console, asked = browser.run(service.url, list(steps), **settings)
        assert [] == [line for line in console if not any(known in line for known in complaints)]
        assert all(address.startswith(service.url) for address in asked), asked
        return results

    return run


def fates(service: Service) -> list[tuple[str, str, int | None]]:
    return [(event["request_id"], event["type"], event["accepted_chars"]) for event in service.events]


def test_a_proposal_is_shown_and_taken_with_tab(drive: Drive) -> None:
    with serving(Service()) as service:
        *_, code = drive(
            service,
            ["ghost", WORDS],
            ["press", "Tab"],
            ["ghost", None],
            ["see", "#records", "accepted"],
            ["code"],
        )
    assert f"    text = {WORDS}\n\n\ndef main" in code
    assert [("cmpl-1", "shown", None), ("cmpl-1", "accepted", len(WORDS))] == fates(service)
    first = service.asked[0]
    prefix, suffix = first["body"].pop("prompt"), first["body"].pop("suffix")
    assert {} == first["body"]
    assert (prefix[-11:], suffix[:12]) == ("    text = ", "\n\n\ndef main(")
    sent = first["headers"]
    named = [sent[f"x-echo-{name}"] for name in ("file", "language", "prefix-complete", "suffix-complete")]
    assert ["playground/main.py", "python", "true", "true"] == named
    assert re.fullmatch(r"playground-[0-9a-f]{24}", sent["x-echo-session"])
    assert prefix + WORDS + suffix == service.asked[1]["body"]["prompt"] + service.asked[1]["body"]["suffix"]


def test_escape_dismisses_and_tells_how_long_it_was_seen(drive: Drive) -> None:
    with serving(Service()) as service:
        code = drive(
            service,
            ["ghost", WORDS],
            ["press", "Escape"],
            ["ghost", None],
            ["see", "#records", "dismissed"],
            ["code"],
        )[-1]
    assert "    text = \n" in code
    assert [("cmpl-1", "shown", None), ("cmpl-1", "dismissed", None)] == fates(service)
    shown, dismissed = service.events
    assert shown["visible_ms"] is None
    assert dismissed["visible_ms"] >= 0


@pytest.mark.parametrize("keys", ["Control+ArrowRight", "Alt+ArrowRight"])
def test_words_are_taken_one_by_one(keys: str, drive: Drive) -> None:
    """path . read_text ()... : every word is one act; the last one takes all that was left."""
    with serving(Service(continuing("text = ", "one.two(3)"))) as service:
        steps = [[["press", keys], ["ghost", rest]] for rest in (".two(3)", "two(3)", "(3)", "3)", ")", None)]
        drive(service, ["ghost", "one.two(3)"], *chain.from_iterable(steps), ["see", "#records", "accepted"])
    partly = [("cmpl-1", "partially_accepted", chars) for chars in (3, 4, 7, 8, 9)]
    assert [("cmpl-1", "shown", None), *partly, ("cmpl-1", "accepted", 10)] == fates(service)


def test_a_touch_takes_the_proposal_where_there_is_no_tab_key(drive: Drive) -> None:
    with serving(Service()) as service:
        drive(
            service,
            ["ghost", WORDS],
            ["tap", ".cm-ghost"],
            ["ghost", None],
            ["see", "#records", "accepted"],
            viewport={"width": 390, "height": 844},
            touch=True,
        )
    assert ("cmpl-1", "accepted", len(WORDS)) in fates(service)


def test_typing_along_keeps_the_proposal_and_asks_nothing(drive: Drive) -> None:
    def propose(prefix: str) -> str:
        return "again" if prefix.endswith("!") else WORDS

    along = [[["type", WORDS[n]], ["ghost", WORDS[n + 1 :]]] for n in range(6)]
    with serving(Service(propose)) as service:
        seen = ["see", "#records", "shown"]
        drive(service, ["ghost", WORDS], *chain.from_iterable(along), seen, ["type", "!"], ["ghost", "again"])
    asked = [request["body"]["prompt"].rpartition("    text = ")[2] for request in service.asked]
    assert ["", f"{WORDS[:6]}!"] == asked
    assert ("cmpl-1", "shown", None) == fates(service)[0]


def test_other_keys_dismiss_and_ask_anew(drive: Drive) -> None:
    def propose(prefix: str) -> str:
        return "again" if prefix.endswith("zz") else WORDS

    with serving(Service(propose)) as service:
        drive(service, ["ghost", WORDS], ["type", "zz"], ["ghost", "again"], ["see", "#records", "dismissed"])
    last = service.asked[-1]["body"]["prompt"]
    assert last.endswith("text = zz")
    assert [("cmpl-1", "shown", None), ("cmpl-1", "dismissed", None)] == fates(service)[:2]


def test_a_running_request_is_given_up_when_the_user_types_on(drive: Drive) -> None:
    """The first answer comes after the second and is never shown."""

    def propose(prefix: str) -> str:
        return "late" if prefix.endswith("= ") else "new"

    held = threading.Event()
    with serving(Service(propose, hold=held)) as service:
        drive(
            service,
            ["get", "test/asked"],
            ["type", "q"],
            ["ghost", "new"],
            ["get", "test/release"],
            ["see", "#answer", "3"],
        )
    assert "cmpl-1" not in {event["request_id"] for event in service.events}


HOSTILE = '<img src=x onerror="console.error(1)"></code><script>console.error(2)</script>&lt;b&gt;'


def test_code_is_shown_as_text_whatever_it_says(drive: Drive) -> None:
    with serving(Service(continuing("text = ", HOSTILE))) as service:
        _, _, _, shown, mined, foreign = drive(
            service,
            ["ghost", HOSTILE],
            ["press", "Tab"],
            ["see", "#mined", "onerror"],
            ["texts", "#records code.proposal"],
            ["texts", "#mined ins"],
            ["evaluate", "document.querySelectorAll('main img, main script, main b').length"],
        )
    assert (HOSTILE, HOSTILE, 0) == (shown[0], mined[-1], foreign)


def test_the_log_opens_and_shows_the_record_as_it_is_kept(drive: Drive) -> None:
    with serving(Service()) as service:
        record = drive(
            service,
            ["see", "#records", "request"],
            ["click", "#records li:last-child summary"],
            ["see", "#records li:last-child details[open] pre", '"request_id": "cmpl-1"'],
            ["texts", "#facts dd"],
        )[-1]
    assert ["echo-7b-3", "candidate", f"{len(WORDS)} characters"] == record[:3]
    assert re.fullmatch(r"\d+ ms", record[3])


def test_a_key_is_asked_for_and_kept_in_the_tab_only(drive: Drive) -> None:
    stores = "[Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
    with serving(Service(key="k-1")) as service:
        *_, stored = drive(
            service,
            ["see", "#problem", "asks for an API key"],
            ["fill", "#key", "wrong"],
            ["click", "#key-form button"],
            ["see", "#problem", "does not accept this API key"],
            ["fill", "#key", "k-1"],
            ["click", "#key-form button"],
            ["ghost", WORDS],
            ["reload"],
            ["ghost", WORDS],
            ["evaluate", stores],
            complaints=("401 (Unauthorized)",),
        )
    assert [["k-1"], [], ""] == stored


@pytest.mark.parametrize(
    ("status", "headers", "message", "words"),
    [
        (429, {"retry-after": "1"}, "slow down", "Too many requests. Suggestions go on in 1 s."),
        (503, {}, "engines not ready: base", "The model is not ready. Engines not ready: base."),
        (504, {}, "no answer within 5 s", "The model took too long. No answer within 5 s."),
        (500, {}, "", "The service failed (HTTP 500)."),
        (413, {}, "prompt is too long", "The service refused the request (HTTP 413). Prompt is too long."),
    ],
)
def test_refusals_are_said_in_words_and_pass(
    status: int, headers: dict[str, str], message: str, words: str, drive: Drive
) -> None:
    with serving(Service(refusals=[(status, headers, message)])) as service:
        again = [] if status == 429 else [["type", "p"]]  # after a 429 the page asks again by itself
        rest = WORDS if status == 429 else WORDS[1:]
        drive(
            service, ["see", "#problem", words], *again, ["ghost", rest], complaints=(f"status of {status}",)
        )


def test_a_service_that_went_away_is_said_in_words(drive: Drive) -> None:
    with serving(Service()) as service:
        drive(
            service,
            ["ghost", WORDS],
            ["offline", True],
            ["type", "zz"],
            ["see", "#problem", "The service does not answer."],
            ["see", "#records-note", "The service does not answer."],
            ["offline", False],
            ["press", "Backspace"],
            ["press", "Backspace"],
            ["ghost", WORDS],
            ["see", "#records", "dismissed"],
            complaints=("ERR_INTERNET_DISCONNECTED",),
        )
    # The event that could not be sent was sent later, with the next.
    assert [("cmpl-1", "shown", None), ("cmpl-1", "dismissed", None)] == fates(service)[:2]


def test_every_language_has_a_sample_and_keeps_its_place(drive: Drive) -> None:
    with serving(Service(lambda prefix: "next")) as service:
        steps = [[["choose", "#language", name], ["ghost", "next"]] for name in LANGUAGES[1:]]
        back = [["choose", "#language", "python"], ["ghost", "next"], ["type", "p"], ["code"]]
        code = drive(
            service, ["ghost", "next"], *chain.from_iterable(steps), *back, ["see", "#records", "shown"]
        )[-2]
    languages = [asked["headers"]["x-echo-language"] for asked in service.asked]
    assert [*LANGUAGES, "python"] == languages[: len(LANGUAGES) + 1]
    assert len({asked["headers"]["x-echo-file"] for asked in service.asked}) == len(LANGUAGES)
    assert "    text = p\n" in code
    gone = [request_id for request_id, fate, _ in fates(service) if fate == "dismissed"]
    assert [f"cmpl-{number}" for number in range(1, len(LANGUAGES) + 1)] == gone[: len(LANGUAGES)]


def test_the_keyboard_gets_out_of_the_editor(drive: Drive) -> None:
    with serving(Service()) as service:
        keys = [["press", key] for key in ("Escape", "Escape", "Tab")]
        left = drive(service, ["ghost", WORDS], *keys, ["evaluate", "document.activeElement.id"])[-1]
    assert left not in ("", "editor")


def test_starting_over_begins_a_new_session(drive: Drive) -> None:
    with serving(Service()) as service:
        code = drive(
            service,
            ["ghost", WORDS],
            ["press", "Tab"],
            ["click", "#again"],
            ["ghost", WORDS],
            ["see", "#records-note", "session"],
            ["code"],
        )[-1]
    assert "    text = \n" in code
    assert 2 == len({asked["headers"]["x-echo-session"] for asked in service.asked})
