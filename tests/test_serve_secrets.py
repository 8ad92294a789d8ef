"""Credentials wherever a client can put them, and not a byte of them in what the service keeps."""

import asyncio
import gzip
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from echo_ray import cluster
from echo_ray.access import keys
from echo_ray.log import rotate
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.serve import launch
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.proposals import Answer, Choice
from tests import gateways, tiny
from tests.corruption_safety import TOKENS, Draw
from tests.gateways import Engine, Service
from tests.privacy_typing import PUBLIC_CHARS

KINDS = (
    *("aws key id", "github classic", "github fine-grained", "gitlab", "slack token", "stripe", "sendgrid"),
    *("npm", "openai project", "anthropic", "google api", "hugging face", "digitalocean", "jwt", "vault"),
)
RUN_CHARS = 12
"""A run of a secret's own characters that is not there by chance."""


def secret(kind: str, *of: str) -> str:
    """A fake one, not the same in two places."""
    return TOKENS[kind](Draw("service", kind, *of))


def runs(kind: str, value: str) -> Iterator[bytes]:
    own = value[PUBLIC_CHARS[kind] :]
    for start in range(0, len(own) - RUN_CHARS + 1):
        yield own[start : start + RUN_CHARS].encode()


def kept(folder: Path) -> bytes:
    """All bytes in files under `folder`, as they are and unpacked."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        found.append(raw)
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found += [json.dumps(row, default=str, ensure_ascii=False).encode() for row in table.to_pylist()]
            found += [str(pq.read_metadata(path).metadata).encode()]
        elif path.suffix == ".gz":
            found.append(gzip.decompress(raw))
        elif path.suffix == ".zst":
            found.append(zstandard.ZstdDecompressor().stream_reader(raw).read())
    return b"\n".join(found)


def leaks(kind: str, sent: dict[str, str], data: bytes) -> list[str]:
    """Places whose secret is in `data`, in part at least."""
    return [place for place, value in sent.items() if any(run in data for run in runs(kind, value))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("secrets"))


async def everywhere(service: Service, kind: str) -> dict[str, str]:
    """Send secrets in every place that a client can fill, each another one; all that were sent,
    by place."""
    sent: dict[str, str] = {}

    def new(*of: str) -> str:
        return sent.setdefault(" ".join(of), secret(kind, *of))

    async def ask(path: str, body: object, headers: dict[str, str] | None = None) -> None:
        response = await service.ask(path, body, headers)
        assert response.status < 500, response

    good = {"prompt": "import os\nx = 1\n", "suffix": "\n"}
    typed = f'import client\n\napi_token = "{new("typed")}"\n'
    for end in range(len(typed) - len(sent["typed"]) - 20, len(typed) + 1):
        await ask("/v1/completions", {"prompt": typed[:end], "suffix": "\n"}, {"x-echo-session": "typing"})
    await ask("/v1/completions", {"prompt": "x = ", "suffix": f'\nkey = "{new("suffix")}"\n'})
    service.gateway.lanes["m-1"].engine.result = Answer(
        (Choice(f'key = "{new("proposal")}"', "stop"),), 1, 1, 0
    )
    await ask("/v1/completions", good)
    await ask("/infill", {"input_prefix": "y = 2\n", "input_suffix": "\n", "prompt": ""})
    for name in ("user", "session", "file", "language", "repository", "kind", "arm", "prefix-complete"):
        await ask("/v1/completions", good, {f"x-echo-{name}": new("header", name)})
    for name in ("authorization", "x-api-key", "api-key", "user-agent", "cookie", "referer", "traceparent"):
        value = new("plain", name)
        await ask("/v1/completions", good, {name: f"Bearer {value}" if name == "authorization" else value})
    for name in ("user", "session", "file", "language", "repository", "api_key", "select_kind"):
        await ask(f"/v1/completions?{name}={new('query', name)}", good)
        await ask(f"/v1/events?{name}={new('events', name)}", {"type": "select", "completion_id": "c"})
    await ask(f"/u/{new('path user')}/s/{quote(new('path session'))}/v1/completions", good)
    await ask(f"/v1/engines/{new('engine')}/completions", good)
    for name in ("user", "model", "session_id", "api_key", "file", "language", "echo", "stop", "metadata"):
        await ask("/v1/completions", good | {name: new("body", name)})
        await ask("/v1/fim/completions", good | {"model": "m", "metadata": {name: new("metadata", name)}})
    for name in ("user", "session", "session_id", "file", "model"):
        await ask("/infill", {"input_prefix": "a", "input_suffix": "b", name: new("infill", name)})
    extra = [{"filename": new("extra name"), "text": f'key = "{new("extra text")}"'}]
    await ask("/infill", {"input_prefix": "a", "input_suffix": "b", "input_extra": extra})
    segments = {"prefix": "a", "suffix": "b", "filepath": new("filepath"), "git_url": new("git url")}
    snippets = [{"filepath": new("declared"), "body": new("declaration"), "score": 1}]
    segments |= {"clipboard": new("clipboard")}
    await ask(
        "/v1/completions",
        {
            "segments": segments | {"declarations": snippets},
            "user": new("tabby user"),
            "language": new("tongue"),
        },
    )
    await ask("/v1/completions", {"debug_options": {"raw_prompt": f'token = "{new("raw")}"'}})
    event = {"request_id": "cmpl-1", "type": "shown"}
    for name in ("request_id", "type", "user", "session", "file", "view_id", "document", "kind"):
        await ask("/v1/echo/events", event | {name: new("event", name)})
    for name in ("completion_id", "view_id", "type", "select_kind", "choice_index"):
        await ask("/v1/events", {"type": "view", "completion_id": "cmpl-1"} | {name: new("tabby", name)})
    for name in ("prefix", "suffix", "completion", "filepath", "completionId", "prompt", "modelName"):
        data = {"prefix": "x = 1\n", "suffix": "\n", "completion": "y", "accepted": True}
        await ask("/v1/dev-data", {"name": "autocomplete", "data": data | {name: new("continue", name)}})
    for name in ("id", "prefix", "suffix", "file"):
        text = f'key = "{new("snapshot", name)}"\n'
        await ask("/v1/echo/snapshots", {"id": "1", "prefix": "a"} | {name: text})
    await ask("/v1/completions", f'{{"prompt": "{new("torn")}'.encode())
    await ask("/v1/completions", json.dumps(good | {"max_tokens": new("refused")}).encode())
    await ask(f"/{new('no such path')}", good)
    return sent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pseudonyms", [True, False], ids=["pseudonyms", "names"])
def test_no_secret_reaches_the_disk(
    model: Path, tmp_path: Path, kind: str, pseudonyms: bool, caplog: pytest.LogCaptureFixture
) -> None:
    privacy, log = PrivacyConfig(pseudonyms=pseudonyms), tmp_path / "log"
    with caplog.at_level(logging.DEBUG), gateways.service(model, log, Engine(), privacy) as service:
        # The detectors' rules are compiled at their first use; no event shall wait for that.
        asyncio.run(service.ask("/v1/completions", {"prompt": "x = 1\n"}))
        service.gateway.writer.flush()
        sent = asyncio.run(everywhere(service, kind))
        assert len(sent) == len(set(sent.values())) > 70
        assert len(service.records()) > 60
        metrics = asyncio.run(service.ask("/metrics")).body
        watched = asyncio.run(service.ask("/v1/echo/session?session=typing")).body
    assert b"x = 1" in kept(tmp_path)
    assert [] == leaks(kind, sent, kept(tmp_path) + metrics + watched + caplog.text.encode())
    [*batches] = rotate.rotate(log, everything=True, keep_s=0).batches
    assert [] == [*log.glob("*.jsonl")]
    assert sum(batch.requests for batch in batches) > 30
    assert [] == leaks(kind, sent, kept(tmp_path))


def test_what_this_looks_for_is_found(tmp_path: Path) -> None:
    value = secret("npm", "control")
    text = f'{{"prefix": "{value}"}}\n'.encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    assert ["a"] == leaks("npm", {"a": value}, kept(tmp_path))
    (tmp_path / "a.jsonl.gz").unlink()
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(text))
    assert ["a"] == leaks("npm", {"a": value}, kept(tmp_path))
    (tmp_path / "a.jsonl.zst").unlink()
    pq.write_table(pa.table({"prefix": [value[6:30]]}), tmp_path / "a.parquet", compression="zstd")
    assert ["a"] == leaks("npm", {"a": value}, kept(tmp_path))
    (tmp_path / "a.parquet").unlink()
    assert [] == leaks("npm", {"a": value}, kept(tmp_path))


def test_api_keys_are_kept_as_hashes_only(model: Path, tmp_path: Path) -> None:
    token, key = keys.issue("ann")
    keys.add(tmp_path / "keys.yaml", key)
    body = {"prompt": "x = 1\n", "suffix": "\n"}
    log = tmp_path / "log"
    with gateways.service(model, log, Engine(), PrivacyConfig(), keys_file=tmp_path / "keys.yaml") as service:
        for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}, {"api-key": token}):
            assert 200 == asyncio.run(service.ask("/v1/completions", body, headers)).status
        wrong = token[:-4] + "nope"
        assert 401 == asyncio.run(service.ask("/v1/completions", body, {"x-api-key": wrong})).status
        assert 3 == len(service.records())
        metrics = asyncio.run(service.ask("/metrics")).body
    data = kept(tmp_path) + metrics
    assert not any(
        token[start : start + RUN_CHARS].encode() in data for start in range(len(token) - RUN_CHARS)
    )


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/fim/completions", "/infill"])
def test_a_fault_of_ours_is_told_without_the_request(
    model: Path, tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canarybody7f3a91c4"
    body = {"model": "m", "prompt": canary, "input_prefix": canary, "input_suffix": ""}
    with gateways.service(model, tmp_path, Engine(ValueError(canary))) as service:
        response = asyncio.run(service.ask(path, body))
        [record] = service.records()
    assert 500 == response.status
    assert json.loads(response.body)
    assert canary.encode() not in response.body
    assert canary not in caplog.text
    assert "ValueError" in caplog.text
    assert (False, None) == (record["delivered"], record["proposal"])


@pytest.mark.ray
def test_ray_s_own_log_files_hold_nothing_of_a_request(model: Path, tmp_path: Path) -> None:
    """Answered, refused and malformed requests, each with canaries in body, address and headers."""
    canary = "canarybody7f3a91c4"
    config = ServeConfig(
        port=0, log_dir=tmp_path / "log", model=model, context_tokens=256, max_tokens=8, kv_cache_gb=0.05,
        upkeep_s=0, flush_ms=10, max_body_mb=0.1,
    )  # fmt: skip
    with cluster.running(cluster.ClusterConfig(min_memory_gb=2)) as logs, launch.start(config) as service:
        wanted = {}
        good = {"prompt": f"x = '{canary}'\n", "suffix": canary, "user": canary}
        for name, path, raw, status in (
            ("answered", "/v1/completions", json.dumps(good).encode(), 200),
            ("refused", "/v1/completions", json.dumps(good | {"n": canary}).encode(), 400),
            ("torn", "/v1/completions", f'{{"prompt": "{canary}'.encode(), 400),
            ("no text", "/v1/completions", f'{{"prompt": "{canary}\\ud800"}}'.encode(), 400),
            ("large", "/v1/completions", json.dumps({"prompt": canary * 10_000}).encode(), 413),
            (
                "mistral",
                "/v1/fim/completions",
                json.dumps({"model": canary, "prompt": [canary]}).encode(),
                422,
            ),
            ("infill", "/infill", json.dumps({"input_prefix": canary}).encode(), 400),
            ("event", "/v1/echo/events", json.dumps({"request_id": canary, "type": canary}).encode(), 400),
            ("nowhere", f"/{canary}", b"{}", 404),
            ("path", f"/u/{canary}/s/{canary}/v1/completions?user={canary}", json.dumps(good).encode(), 200),
            ("plan", "/v1/echo/arms", json.dumps({"arms": {canary: {}}}).encode(), 400),
        ):
            request = urllib.request.Request(
                service.url + path, raw, method="PUT" if name == "plan" else "POST"
            )
            for header in (
                "Authorization",
                "X-Api-Key",
                "X-Echo-File",
                "User-Agent",
                "Cookie",
                "X-Echo-Language",
            ):
                request.add_header(header, f"Bearer {canary}" if header == "Authorization" else canary)
            wanted[name] = status, sent(request)
        assert {name: (status, status) for name, (status, _) in wanted.items()} == wanted
        service.flush()
        data = b"".join(path.read_bytes() for path in logs.rglob("*") if path.is_file())
        assert len(data) > 1000
        assert canary.encode() not in data
    data = b"".join(path.read_bytes() for path in logs.rglob("*") if path.is_file())
    assert canary.encode() not in data


def sent(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
