"""What a simulation's truth says about its requests."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from echo_ray.errors import ConfigError
from echo_ray.schema import EndReason, Kind
from simulator.fleet import ledger
from simulator.judge.witness import Witness
from tests.typist import LEAST_CHARS, VISITS, Typist, simulated

IDLE_MS = 300_000


@pytest.mark.parametrize("engine", ["empty", "oracle"])
def test_the_truth_answers_for_every_request_of_the_timeline(engine: str, tmp_path: Path) -> None:
    simulated(tmp_path, [Typist("u"), Typist("v")], engine)
    witness = Witness(tmp_path / "truth", "compare.truth", IDLE_MS)
    assert witness.arm is None
    told = witness.told("u")
    rows = list(ledger.rows(ledger.log_folder(tmp_path) / "u.jsonl.zst"))
    requests = [row for row in rows if row["record"] == "request"]
    timeline = [row for row in requests if row["kind"] == Kind.AUTOMATIC]
    assert len(timeline) < len(requests)
    assert {row["request_id"] for row in timeline} == set(told)
    for row in timeline:
        number, done = map(int, row["request_id"].split("-")[1:])
        visit, own = VISITS[number], told[row["request_id"]]
        assert len(row["prefix"]) == own.cursor
        # All that was left to write was written inside the gap; what came then ended it, if anything did.
        assert visit.text[done:] == own.gap.text
        last = number in (2, 3)  # the last visits of the two sessions
        expected = (
            EndReason.ANCHOR_EDITED if visit.ends_elsewhere
            else EndReason.SESSION_END if last else EndReason.FILE_SWITCH
        )  # fmt: skip
        assert expected is own.gap.reason
        assert (None if done % 7 == 6 else visit.text[done:]) == own.intent
        fits = len((row["proposal"] or "").strip("\n")) >= LEAST_CHARS
        assert own.accepted == bool(row["delivered"] and row["proposal"] and fits)
    accepted = sum(own.accepted for own in told.values())
    assert (accepted > 0) == (engine == "oracle")
    assert accepted == sum(row["record"] == "event" for row in rows)


def test_nobody_is_told_about_somebody_who_was_not_there(tmp_path: Path) -> None:
    simulated(tmp_path, [Typist("u")], "empty", arm="echo")
    witness = Witness(tmp_path / "truth", "compare.truth", IDLE_MS)
    assert "echo" == witness.arm
    assert {} == witness.told("w") == witness.told("../truth/u")
    assert witness.told("u")


def write(path: Path, lines: list[Any]) -> None:
    path.write_bytes(zstandard.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines)))


RUN = {"kind": "run", "arm": None}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (None, "is not the truth of a simulation"),
        (b"", "u.jsonl.zst does not begin like the truth of a simulation"),
        (b"not compressed\n", "u.jsonl.zst cannot be read"),
        (zstandard.compress(b"not json\n"), "u.jsonl.zst cannot be read"),
        ([{"request_id": "r"}], "does not begin like the truth of a simulation"),
        ([[]], "does not begin like the truth of a simulation"),
        ([{"kind": "run"}], "does not begin like the truth of a simulation"),
        ([RUN, {"kind": "edit"}], "u.jsonl.zst is not of this version: KeyError"),
        ([RUN, {"kind": "request", "request_kind": "automatic"}], "is not of this version: KeyError"),
        ([RUN, 3], "is not of this version: TypeError"),
    ],
)
def test_what_is_no_truth_is_one_sentence(lines: Any, sentence: str, tmp_path: Path) -> None:
    ledger.prepare(tmp_path, "mark")
    folder = tmp_path / "truth"
    if isinstance(lines, bytes):
        (folder / "u.jsonl.zst").write_bytes(lines)
    elif lines is not None:
        write(folder / "u.jsonl.zst", lines)
    with pytest.raises(ConfigError) as caught:
        Witness(folder, "compare.truth", 1000).told("u")
    assert f"compare.truth={folder}" in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_the_seal_is_no_truth(tmp_path: Path) -> None:
    write(tmp_path / "u.jsonl.zst", [RUN])
    with pytest.raises(ConfigError, match="is not the truth of a simulation"):
        Witness(tmp_path, "compare.truth", 1000)
    with pytest.raises(ConfigError, match="does not exist"):
        Witness(tmp_path / "u.jsonl.zst", "compare.truth", 1000)
