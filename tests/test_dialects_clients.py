"""The official client libraries against the dialects: what they send is parsed, what they get they read.

Only the transport is exchanged: it calls the dialect and frames its answer as a server would.
"""

from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import orjson
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, SDKError
from openai import APIStatusError, AuthenticationError, BadRequestError, OpenAI, UnprocessableEntityError

from echo_ray.dialects import mistral, openai
from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.dialects.body import decode

PROMPT, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1,2))\n"


class Served:
    """A dialect as a server; `asked` is the last request that it understood."""

    def __init__(self, dialect: Any, refusal: Refusal | None = None) -> None:
        self._dialect, self._refusal = dialect, refusal
        self.asked: Asked | None = None

    def __call__(self, raw: bytes) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        asked = self._refusal or self._dialect.parse(decode(raw))
        if isinstance(asked, Refusal):
            return asked.status, *self._dialect.error(asked)
        self.asked = asked
        texts = ("a + b", "b + a")[: asked.n]
        answered = Answered("cmpl-1", "echo-2", "base", 7, texts, ("stop",) * asked.n, Usage(9, 3, 8), 5.0)
        if not asked.stream:
            return 200, orjson.dumps(self._dialect.answer(asked, answered)), "application/json"
        events = [orjson.dumps(item) for item in self._dialect.chunks(asked, answered)]
        return 200, b"".join(b"data: %b\n\n" % event for event in [*events, b"[DONE]"]), "text/event-stream"


def transport(library: Any, served: Callable[[bytes], tuple[int, bytes, str]]) -> Any:
    def handle(request: Any) -> Any:
        status, body, kind = served(request.content)
        return library.Response(status, content=body, headers={"content-type": kind})

    return library.Client(transport=library.MockTransport(handle))


def openai_client(served: Served) -> OpenAI:
    client = transport(httpx2, served)
    return OpenAI(base_url="http://echo.test/v1", api_key="k", max_retries=0, http_client=client)


def mistral_client(served: Served) -> Mistral:
    return Mistral(api_key="k", server_url="http://echo.test", client=transport(httpx, served))


def test_openai_whole_and_streamed_say_the_same() -> None:
    served = Served(openai)
    client = openai_client(served)
    given: dict[str, Any] = {"model": "echo-fim", "prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 32}
    whole = client.completions.create(
        **given, temperature=0, stop=["\n\n"], user="user1", n=2, seed=7, echo=False
    )
    assert served.asked == Asked(
        PROMPT, SUFFIX, 32, temperature=0.0, stop=("\n\n",), n=2, seed=7, user="user1"
    )
    assert ["a + b", "b + a"] == [choice.text for choice in whole.choices]
    stream = client.completions.create(**given, stream=True, stream_options={"include_usage": True})
    *parts, last = list(stream)
    assert "a + b" == "".join(part.choices[0].text for part in parts)
    assert "stop" == parts[-1].choices[0].finish_reason
    assert ([], whole.usage) == (last.choices, last.usage)
    extra = {"metadata": {"file": "a.py", "session": "s-1"}, "input_prefix": "x"}
    client.completions.create(model="x", prompt="p", extra_body=extra)
    assert Asked("p", "", session="s-1", file="a.py") == served.asked


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (422, UnprocessableEntityError),
        (503, APIStatusError),
    ],
)
def test_openai_raises_the_class_of_the_status(status: int, kind: type[APIStatusError]) -> None:
    client = openai_client(Served(openai, Refusal(status, "no", "some_error", "n")))
    with pytest.raises(kind) as caught:
        client.completions.create(model="x", prompt="p")
    assert {"message": "no", "type": "some_error", "param": "n", "code": status} == caught.value.body


def test_openai_is_told_that_token_ids_are_refused() -> None:
    with pytest.raises(BadRequestError, match="prompt must be one string"):
        openai_client(Served(openai)).completions.create(model="x", prompt=[1, 2, 3])


def test_mistral_whole_and_streamed_say_the_same() -> None:
    served = Served(mistral)
    with mistral_client(served) as client:
        whole = client.fim.complete(
            model="codestral-latest",
            prompt=PROMPT,
            suffix=SUFFIX,
            temperature=0,
            top_p=1,
            max_tokens=64,
            min_tokens=0,
            stop=["\n\n"],
            random_seed=7,
            metadata={"session": "s-1", "file": "a.py"},
        )
        assert served.asked == Asked(
            PROMPT, SUFFIX, 64, 0.0, 1.0, ("\n\n",), seed=7, session="s-1", file="a.py"
        )
        assert whole.choices[0].message is not None
        assert "a + b" == whole.choices[0].message.content
        parts = list(client.fim.stream(model="codestral-latest", prompt=PROMPT, suffix="\n"))
    assert "a + b" == "".join(str(part.data.choices[0].delta.content) for part in parts)
    assert "stop" == parts[-1].data.choices[0].finish_reason
    assert whole.usage == parts[-1].data.usage


def test_mistral_raises_the_class_of_the_status() -> None:
    with mistral_client(Served(mistral)) as client, pytest.raises(HTTPValidationError) as caught:
        client.fim.complete(model="m", prompt="p", max_tokens=0)
    (detail,) = caught.value.data.detail or []
    assert ["body", "max_tokens"] == detail.loc
    with mistral_client(Served(mistral, Refusal(401, "no"))) as client, pytest.raises(SDKError):
        client.fim.complete(model="m", prompt="p")
