"""The real recordings and editing traces replay whole, where the data folder is present."""

import gzip
import json
from pathlib import Path

import pytest

from echo_ray.log import recordings
from echo_ray.log.recordings import Change, apply

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"


@pytest.mark.parametrize("path", sorted(TRACES.glob("editing-traces/*.json.gz")), ids=lambda path: path.name)
def test_a_real_trace_ends_in_its_end_content(path: Path) -> None:
    value = json.loads(gzip.decompress(path.read_bytes()))
    items = list(recordings.replay(path))
    document = None
    for item in items:
        assert isinstance(item, Change)
        assert item.document == apply(item.before, item.edits)
        assert document in (None, item.before)
        document = item.document
    assert value["endContent"] == document
    stamps = [item.ts_ms for item in items if isinstance(item, Change)]
    assert sorted(stamps) == stamps
    assert stamps[0] > 1_500_000_000_000


@pytest.mark.parametrize("path", sorted(TRACES.glob("vscode-recordings/*.json")), ids=lambda path: path.name)
def test_a_real_recording_replays_without_a_refusal(path: Path) -> None:
    items = list(recordings.replay(path))
    assert items
    seen: dict[str, str] = {}
    for item in items:
        assert isinstance(item, Change)
        assert item.document == apply(item.before, item.edits)
        assert seen.get(item.file, item.before) == item.before
        assert item.language != "plaintext"
        seen[item.file] = item.document
    text = json.dumps([record for _, record in recordings.records(path)])
    log = json.loads(path.read_text(encoding="utf-8"))["log"]
    roots = [entry.get("repoRootUri") or entry.get("data", {}).get("repoRootUri") for entry in log[:1]]
    paths = [entry["relativePath"] for entry in log if entry["kind"] == "documentEncountered"]
    assert not [name for name in roots + paths if json.dumps(name)[1:-1] in text]


def test_the_real_accepts_are_found() -> None:
    for path in TRACES.glob("vscode-recordings/RejectionCollector*.json"):
        found = [record for _, record in recordings.records(path)]
        events = [record for record in found if isinstance(record, dict) and record["record"] == "event"]
        assert [18, 91, 4, 84] == [event["accepted_chars"] for event in events]
        assert 151 == len(found) - len(events)
