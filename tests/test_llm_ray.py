"""Teachers and judges on Ray Data actors: real engines, real HTTP, stops, resumes, costs in the manifest."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import data, models, refinery, schema
from echo_ray.errors import ConfigError, StageError
from echo_ray.llm import build, journal
from echo_ray.llm.asking import ENOUGH
from echo_ray.llm.config import LlmConfig
from echo_ray.stages.distil import DistilConfig, distil
from echo_ray.stages.verify import VerifyConfig, verify
from tests.llm_server import GOOD, Act, Server
from tests.tiny import write_model

pytestmark = pytest.mark.ray

TAUGHT = DistilConfig(teacher="openai")


def rows(count: int) -> list[dict[str, Any]]:
    """Samples of which two thirds leave a choice to the teacher."""
    fill = {"user": "u", "session": "s", "file": "f", "ts_ms": 1, "end_ts_ms": 2, "snapshots": 1}
    return [
        fill
        | {"sample_id": f"s{n}", "request_id": f"r{n}", "language": "python", "suffix": ""}
        | {
            "prefix": f"# sample {n}\nfrom kit import *\n",
            "commit": f"x{n} = f(a.b, {n})\ny = 2\n" if n % 3 else "",
        }
        for n in range(count)
    ]


def shards(folder: Path, samples: list[dict[str, Any]], count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        table = pa.Table.from_pylist(samples[number::count], schema=schema.SAMPLE)
        pq.write_table(table, folder / f"part-{number}.parquet")
    return folder


def read(folder: Path) -> list[dict[str, Any]]:
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
    return sorted(table.to_pylist(), key=lambda row: row["sample_id"])


def endpoint(server: Server, **changes: Any) -> LlmConfig:
    settings = {"base_url": server.url, "model": "m", "backoff_s": 0.01, "timeout_s": 20.0, "concurrency": 4}
    return LlmConfig(**settings | changes)


def number(prompt: str) -> int:
    return int(prompt.partition("# sample ")[2].split()[0])


def test_a_teacher_on_ray_gives_what_a_plain_call_gives(tmp_path: Path, cluster: None) -> None:
    source = shards(tmp_path / "mined", rows(60), 5)
    wrong = {7: Act("the second"), 20: Act("9"), 31: Act(status=400)}
    with Server(lambda prompt, before: wrong.get(number(prompt), GOOD)) as server:
        llm = endpoint(server, workers=2)
        manifest = refinery.distil(TAUGHT, llm, source, tmp_path / "out")
        asked = dict(server.asked)
        (tmp_path / "plain").mkdir()
        plain = build.chooser("openai", llm, "teacher", "m", tmp_path / "plain")
        table = pa.Table.from_pylist(rows(60), schema=schema.SAMPLE)
        expected = sorted(distil(table, TAUGHT, plain).to_pylist(), key=lambda row: row["sample_id"])
    assert expected == read(tmp_path / "out")
    assert {1} == set(asked.values())
    assert (60, 60) == (manifest.rows_in, manifest.rows_out)
    assert {"teacher_error": 1, "teacher_out_of_range": 1, "teacher_prose": 1} == manifest.drops
    notes = manifest.notes["teacher"]
    assert (40, 0) == (notes["asked"], notes["cached"])
    assert {"error": 1, "out_of_range": 1, "prose": 1} == notes["failed"]
    assert (40, 39 * 102, 57) == (notes["requests"], notes["tokens"], notes["kept"])
    assert round(40 / 57, 6) == notes["requests_per_kept"]
    assert notes["seconds"] > 0
    assert llm.model_dump(mode="json") == notes["settings"]
    others = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".parquet"}
    assert {data.MANIFEST, data.MARKER} == others


def test_a_spent_purse_stops_the_job_and_a_larger_one_goes_on(tmp_path: Path, cluster: None) -> None:
    source, out = shards(tmp_path / "mined", rows(90), 6), tmp_path / "out"
    with Server() as server:
        with pytest.raises(StageError, match=r"^teacher\.max_requests=35 is used up \(35 requests"):
            refinery.distil(TAUGHT, endpoint(server, max_requests=35), source, out)
        assert 35 == sum(server.asked.values())
        assert data.read_manifest(out) is None
        kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
        assert 0 < len(kept) < 6
        manifest = refinery.distil(TAUGHT, endpoint(server, max_requests=60), source, out)
        assert {1} == set(server.asked.values())
        assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}.items()
        assert (60, 60, 60) == (
            manifest.notes["teacher"]["asked"],
            manifest.notes["teacher"]["requests"],
            sum(server.asked.values()),
        )
        assert manifest.notes["teacher"]["cached"] > 0
        assert [] == [*out.glob(journal.ANSWERS), *out.glob(journal.SPENT)]
        # Finished: a limit is no reason to do it again.
        assert manifest == refinery.distil(TAUGHT, endpoint(server, max_requests=1), source, out)


def test_too_many_failures_stop_the_job_and_only_they_are_asked_again(tmp_path: Path, cluster: None) -> None:
    source, out = shards(tmp_path / "mined", rows(300), 6), tmp_path / "out"
    with Server(lambda prompt, before: Act(close=True) if number(prompt) % 2 else GOOD) as server:
        with pytest.raises(StageError, match=r"teacher\.max_failed_share=0\.1; most often error \(no conn"):
            refinery.distil(TAUGHT, endpoint(server, retries=0), source, out)
        assert sum(server.asked.values()) >= ENOUGH
        server.behave = lambda prompt, before: GOOD
        manifest = refinery.distil(TAUGHT, endpoint(server), source, out)
        assert {} == manifest.drops
        assert {1} == set(server.answered.values())
        assert 200 == sum(server.answered.values())


def test_a_few_questions_are_judged_at_the_end(tmp_path: Path, cluster: None) -> None:
    source, out = shards(tmp_path / "mined", rows(30), 2), tmp_path / "out"
    with Server(lambda prompt, before: Act("hm") if number(prompt) < 9 else GOOD) as server:
        with pytest.raises(StageError, match=r"6 of 20 questions to teacher\.model .* prose \('hm'\)"):
            refinery.distil(TAUGHT, endpoint(server), source, out)
        assert data.read_manifest(out) is None
        manifest = refinery.distil(TAUGHT, endpoint(server, max_failed_share=0.3), source, out)
        assert {"teacher_prose": 6} == manifest.drops
        assert (20, 14) == (manifest.notes["teacher"]["asked"], manifest.notes["teacher"]["cached"])
        assert 26 == manifest.notes["teacher"]["requests"]
    assert "failure_notes" not in json.dumps(manifest.notes)


def test_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model folder .*nowhere does not exist: change teacher\.model"):
        refinery.check_distil(DistilConfig(teacher="vllm"), LlmConfig(model=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match=r"judge\.model is not set"):
        refinery.check_verify(VerifyConfig(judge="vllm"), LlmConfig())
    refinery.check_distil(DistilConfig(), LlmConfig())
    refinery.check_verify(VerifyConfig(), LlmConfig())


def test_a_local_model_teaches_and_judges(tmp_path: Path, cluster: None) -> None:
    model = write_model(tmp_path / "tiny", positions=4096)
    llm = LlmConfig(model=str(model), kv_cache_mb=64, concurrency=16)
    source = shards(tmp_path / "mined", rows(120), 3)
    manifest = refinery.distil(DistilConfig(teacher="vllm"), llm, source, tmp_path / "distilled")
    name = f"vllm:{models.version(model)}"
    result = read(tmp_path / "distilled")
    assert {} == manifest.drops
    assert {"void": 40, name: 80} == {
        kind: sum(row["cut_by"] == kind for row in result) for kind in ("void", name)
    }
    for row in result:
        assert row["commit"].startswith(row["target"])
        if row["cut_by"] == name:
            assert len(row["target"]) in {cut["stop"] for cut in row["cuts"]}
    notes = manifest.notes["teacher"]
    assert (80, 80, {}, name) == (notes["asked"], notes["requests"], notes["failed"], notes["name"])
    assert notes["tokens"] > 80 * 100
    print(f"vllm teacher: {80 / notes['seconds']:.0f} questions/s")

    manifest = refinery.verify(VerifyConfig(judge="vllm"), llm, tmp_path / "distilled", tmp_path / "verified")
    checked = read(tmp_path / "verified")
    judged = [row for row in checked if any(check["check"] == "judge" for check in row["checks"])]
    assert len(judged) == manifest.notes["judge"]["asked"] > 0
    unasked = verify(pa.Table.from_pylist(result, schema=schema.DISTILLED), VerifyConfig()).to_pylist()
    by_id = {row["sample_id"]: row for row in unasked}
    for row in checked:
        if row not in judged:
            assert by_id[row["sample_id"]] == row
        else:
            assert row["drop"] in (None, "void_judged", "name_judged", "malicious_judged")
    assert manifest.notes["judge"]["kept"] == sum(row["drop"] is None for row in checked)
