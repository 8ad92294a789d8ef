"""The real `openai` against the real service, and what the log holds afterwards."""

import asyncio
from typing import Any

import openai
import pytest

from tests.live import LONG, LONG_SUFFIX, PREFIX, SUFFIX, WRONG, Live

pytestmark = pytest.mark.ray

FIM: dict[str, Any] = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 24, "temperature": 0}
OPENAI = f"OpenAI/Python {openai.__version__}"


def client(live: Live, holder: str = "openai", base: str = "/v1", **settings: Any) -> openai.OpenAI:
    key = live.keys.get(holder, holder)
    return openai.OpenAI(base_url=live.url + base, api_key=key, **settings)


class Attempts:
    """An HTTP client for `openai` that keeps each attempt's number, and the status of its reply."""

    def __init__(self) -> None:
        self.counts: list[str] = []
        self.statuses: list[int] = []
        hooks = {"request": [self._asked], "response": [self._answered]}
        self.http = openai.DefaultHttpxClient(event_hooks=hooks)

    def _asked(self, request: Any) -> None:
        self.counts.append(request.headers["x-stainless-retry-count"])

    def _answered(self, response: Any) -> None:
        self.statuses.append(response.status_code)


def test_openai_lists_the_models(live: Live) -> None:
    with client(live) as api:
        models = list(api.models.list())
    assert set(live.arms.values()) == {model.id for model in models}
    assert {"model"} == {model.object for model in models}


def test_openai_whole(live: Live) -> None:
    headers = {
        "X-Echo-File": "src/secret_plan.py", "X-Echo-Language": "python", "X-Echo-Session": "sitting-1",
        "X-Echo-Prefix-Complete": "true", "X-Echo-Suffix-Complete": "true",
    }  # fmt: skip
    with client(live, default_headers=headers) as api:
        raw = api.completions.with_raw_response.create(
            model="any", **FIM, user="person-ann", n=1, seed=7, echo=False, extra_body={"input_prefix": "x"}
        )
    answer = raw.parse()
    assert live.arms[raw.headers["x-echo-arm"]] == raw.headers["x-echo-model"] == answer.model
    assert answer.id == raw.headers["x-request-id"]
    [choice] = answer.choices
    assert choice.text.strip()
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    who = live.pseudonyms("person-ann", "sitting-1", "src/secret_plan.py")
    expected = live.expected(
        answer.id, choice.text, who, language="python", client=OPENAI, prefix_complete=True,
        suffix_complete=True,
    )  # fmt: skip
    assert expected == live.request(request_id=answer.id)


def test_openai_streams_what_it_answers_whole(live: Live) -> None:
    with client(live) as api:
        whole = api.completions.create(model="any", **FIM)
        *chunks, last = api.completions.create(
            model="any", **FIM, stream=True, stream_options={"include_usage": True}
        )
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert whole.choices[0].text == text
    assert "stop" == chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert [] == last.choices
    assert whole.usage is not None
    assert last.usage is not None
    assert whole.usage.total_tokens == last.usage.total_tokens
    assert 1 == len({chunk.id for chunk in (*chunks, last)} - {whole.id})
    expected = live.expected(last.id, text, live.pseudonyms("key-openai"), client=OPENAI)
    assert expected == live.request(request_id=last.id)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_several_choices(live: Live, stream: bool) -> None:
    sampled = FIM | {"n": 3, "temperature": 1.0, "seed": 3}
    texts = {}
    with client(live) as api:
        found = api.completions.create(model="any", **sampled, stream=stream)
        for part in found if stream else [found]:
            answer = part.id
            for choice in part.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert [0, 1, 2] == sorted(texts)
    assert 1 < len(set(texts.values()))
    # The log has one proposal a request: the first, which is what clients show.
    assert texts[0] == live.request(request_id=answer)["proposal"]


def test_openai_several_choices_without_chance(live: Live) -> None:
    with client(live) as api:
        one = api.completions.create(model="any", **FIM).choices[0].text
        three = api.completions.create(model="any", **FIM, n=3)
    assert [(0, one), (1, one), (2, one)] == [(choice.index, choice.text) for choice in three.choices]


def test_openai_stop_strings(live: Live) -> None:
    with client(live) as api:
        whole = api.completions.create(model="any", **FIM).choices[0].text
        at = whole.index("return")
        answer = api.completions.create(model="any", **FIM, stop=["return", "never there"])
    assert whole[:at].rstrip() == answer.choices[0].text.rstrip()
    assert "stop" == answer.choices[0].finish_reason
    assert answer.choices[0].text == live.request(request_id=answer.id)["proposal"]


IDENTITIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "headers": (
        "/v1",
        {
            "default_headers": {
                "X-Echo-User": "person-b",
                "X-Echo-Session": "sitting-b",
                "X-Echo-File": "b.py",
            }
        },
        {},
    ),
    "query": (
        "/v1",
        {"default_query": {"user": "person-b", "session": "sitting-b", "file": "b.py"}},
        {},
    ),
    "path": ("/u/person-b/s/sitting-b/v1", {}, {"extra_body": {"metadata": {"file": "b.py"}}}),
    "body": (
        "/v1",
        {},
        {"user": "person-b", "extra_body": {"session_id": "sitting-b", "metadata": {"file": "b.py"}}},
    ),
}


def test_one_user_has_one_pseudonym_whatever_way_the_name_came(live: Live) -> None:
    names = []
    for base, settings, body in IDENTITIES.values():
        with client(live, base=base, **settings) as api:
            answer = api.completions.create(model="any", **FIM, **body)
        record = live.request(request_id=answer.id)
        names.append({name: record[name] for name in ("user", "session", "file")})
    assert [live.pseudonyms("person-b", "sitting-b", "b.py")] * len(IDENTITIES) == names


@pytest.mark.parametrize("stream", [False, True])
def test_deepseeks_address(live: Live, stream: bool) -> None:
    with client(live, base="/beta") as api:
        found = api.completions.create(
            model="deepseek-chat", prompt=PREFIX, suffix=SUFFIX, max_tokens=24, stream=stream
        )
        parts = list(found) if stream else [found]
    text = "".join(choice.text for part in parts for choice in part.choices)
    assert text
    expected = live.expected(parts[0].id, text, live.pseudonyms("key-openai"), client=OPENAI)
    assert expected == live.request(request_id=parts[0].id)


ERRORS: list[tuple[type[openai.APIStatusError], str, str, dict[str, Any], str | None]] = [
    (openai.BadRequestError, "openai", "/v1", {"n": 99}, "n"),
    (openai.BadRequestError, "openai", "/v1", {"prompt": [1, 2, 3]}, "prompt"),
    (openai.BadRequestError, "openai", "/beta", {"stop": [1]}, "stop"),
    (openai.AuthenticationError, WRONG, "/v1", {}, None),
    (openai.AuthenticationError, WRONG, "/beta", {}, None),
    (openai.NotFoundError, "openai", "/v9", {}, None),
]


@pytest.mark.parametrize(("kind", "holder", "base", "changes", "param"), ERRORS)
def test_openai_errors_by_class(
    live: Live,
    kind: type[openai.APIStatusError],
    holder: str,
    base: str,
    changes: dict[str, Any],
    param: str | None,
) -> None:
    before, attempts = len(live.log()), Attempts()
    with (
        client(live, holder, base, http_client=attempts.http) as api,
        pytest.raises(kind) as refused,
    ):
        api.completions.create(model="any", **(FIM | changes))
    assert type(refused.value) is kind
    assert {"message", "type", "param", "code"} == set(refused.value.body or ())  # type: ignore[call-overload]
    assert param == refused.value.param
    assert ["0"] == attempts.counts
    assert before == len(live.log())


def test_openai_may_not_change_what_is_served(live: Live) -> None:
    with client(live) as api, pytest.raises(openai.PermissionDeniedError, match="not an administrator"):
        api.put("/echo/arms", cast_to=object, body={"on": False})


def test_openai_too_long_a_body(live: Live) -> None:
    with client(live, max_retries=0) as api, pytest.raises(openai.APIStatusError) as refused:
        api.completions.create(model="any", prompt="x" * (5 << 20))
    assert 413 == refused.value.status_code


def test_openai_waits_as_long_as_it_is_told(live: Live) -> None:
    """Its own pause is half a second at first; a second attempt that is let in must have waited longer."""
    attempts = Attempts()
    with client(live, "slow", http_client=attempts.http) as api:
        api.models.list()
        answer = api.completions.create(model="any", **FIM)
    assert ([200, 429, 200], ["0", "0", "1"]) == (attempts.statuses, attempts.counts)
    assert [answer.id] == [record["request_id"] for record in live.log(user=live.names.user("key-slow"))]


def test_openai_says_that_it_asked_too_often(live: Live) -> None:
    with client(live, "slower", max_retries=0) as api:
        api.models.list()
        with pytest.raises(openai.RateLimitError, match="too many requests") as refused:
            api.completions.create(model="any", **FIM)
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 2
    assert [] == live.log(user=live.names.user("key-slower"))


def test_parallel_requests_of_one_place_are_each_logged(live: Live) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=live.url + "/v1", api_key=live.keys["openai"]) as api:
            asked = [api.completions.create(model="any", **FIM, user="person-many") for _ in range(6)]
            return await asyncio.gather(*asked)

    found = asyncio.run(ask())
    assert 1 == len({answer.choices[0].text for answer in found})
    logged = live.log(record="request", user=live.names.user("person-many"))
    assert {answer.id for answer in found} == {record["request_id"] for record in logged}
    assert 6 == len(logged)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_leaves(live: Live, stream: bool) -> None:
    user = f"person-leaves-{stream}"

    async def leave() -> None:
        async with openai.AsyncOpenAI(base_url=live.url + "/v1", api_key=live.keys["openai"]) as api:
            before = live.asked("openai")
            asked = asyncio.ensure_future(
                api.completions.create(
                    model="any",
                    prompt=LONG,
                    suffix=LONG_SUFFIX,
                    max_tokens=400,
                    user=user,
                    stream=stream,
                )
            )
            await asyncio.to_thread(live.until, lambda: live.asked("openai") > before)
            asked.cancel()

    asyncio.run(leave())
    live.until(lambda: live.log(user=live.names.user(user)))
    record = live.request(user=live.names.user(user))
    expected = live.expected(
        record["request_id"], None, live.pseudonyms(user), prefix=LONG, suffix=LONG_SUFFIX,
        client=f"Async{OPENAI}", delivered=False,
    )  # fmt: skip
    assert expected == record
