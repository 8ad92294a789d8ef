"""The real `mistralai` against the real service, and what the log holds afterwards."""

import asyncio
from importlib.metadata import version
from typing import Any

import mistralai.client.errors as mistral_errors
import pytest
from mistralai.client import Mistral

from tests.live import PREFIX, SUFFIX, WRONG, Live

pytestmark = pytest.mark.ray

MISTRAL = f"mistral-client-python/{version('mistralai')}"


def mistral(live: Live, holder: str = "mistral") -> Mistral:
    return Mistral(api_key=live.keys.get(holder, holder), server_url=live.url)


def test_mistral_whole(live: Live) -> None:
    metadata = {"user": "person-mia", "session": "sitting-m", "file": "lib/secret_plan.py"}
    with mistral(live) as api:
        answer = api.fim.complete(
            model="codestral-latest", prompt=PREFIX, suffix=SUFFIX, temperature=0, top_p=1, max_tokens=24,
            min_tokens=0, stop=["\n\n\n"], random_seed=7, metadata=metadata,
        )  # fmt: skip
    [choice] = answer.choices
    assert choice.message is not None
    assert ("chat.completion", "assistant") == (answer.object, choice.message.role)
    assert answer.model in live.arms.values()
    assert answer.usage.total_tokens
    text = choice.message.content
    assert isinstance(text, str)
    assert text.strip()
    who = live.pseudonyms("person-mia", "sitting-m", "lib/secret_plan.py")
    record = live.request(request_id=answer.id)
    assert record.pop("client").startswith(MISTRAL)
    assert live.expected(answer.id, text, who) == record


def test_mistral_streams_what_it_answers_whole(live: Live) -> None:
    asked: dict[str, Any] = {
        "model": "codestral-latest",
        "prompt": PREFIX,
        "suffix": SUFFIX,
        "max_tokens": 24,
    }
    with mistral(live) as api:
        whole = api.fim.complete(**asked, temperature=0)
        events = [event.data for event in api.fim.stream(**asked, temperature=0)]
    text = "".join(str(event.choices[0].delta.content) for event in events)
    assert whole.choices[0].message is not None
    assert whole.choices[0].message.content == text != ""
    assert [None, "stop"] == [event.choices[0].finish_reason for event in events]
    assert events[-1].usage is not None
    assert whole.usage.total_tokens == events[-1].usage.total_tokens
    record = live.request(request_id=events[0].id)
    del record["client"]
    assert live.expected(events[0].id, text, live.pseudonyms("key-mistral")) == record


def test_mistral_errors_by_class(live: Live) -> None:
    before = len(live.log())
    with mistral(live) as api, pytest.raises(mistral_errors.HTTPValidationError) as invalid:
        api.fim.complete(model="m", prompt=PREFIX, temperature=5)
    assert invalid.value.data.detail is not None
    [detail] = invalid.value.data.detail
    assert (["body", "temperature"], True) == (detail.loc, "temperature" in detail.msg)
    with mistral(live, WRONG) as api, pytest.raises(mistral_errors.SDKError) as unknown:
        api.fim.complete(model="m", prompt=PREFIX)
    assert 401 == unknown.value.status_code
    with mistral(live, WRONG) as api, pytest.raises(mistral_errors.SDKError):
        api.fim.stream(model="m", prompt=PREFIX)
    assert before == len(live.log())


def test_mistral_several_at_once(live: Live) -> None:
    async def ask() -> list[Any]:
        async with mistral(live) as api:
            asked = [
                api.fim.complete_async(
                    model="m", prompt=PREFIX, suffix=SUFFIX, max_tokens=8, metadata={"user": f"person-{n}"}
                )
                for n in range(4)
            ]
            return await asyncio.gather(*asked)

    for number, answer in enumerate(asyncio.run(ask())):
        assert live.names.user(f"person-{number}") == live.request(request_id=answer.id)["user"]
