"""The verb `experiment` on logs of a served A/B: effects, checks, formats, mistakes."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import schema
from echo_ray.log.partition import ImportConfig, one_by_one, partition
from jobs.__main__ import main
from tests.served import BEGIN_MS, Served, served

RESAMPLES = "experiment.resamples=400"


def run(source: Path, output: Path, *words: str, control: str = "old", treatment: str = "new") -> int:
    return main(
        [
            *("experiment", f"experiment.log={source}", f"experiment.output={output}", RESAMPLES),
            *(f"experiment.control={control}", f"experiment.treatment={treatment}", *words),
        ]
    )


def report(log: Served, folder: Path, *words: str, **arms: str) -> dict[str, Any]:
    source = log.write(folder / "log")
    assert run(source, folder / "out", *words, **arms) == 0
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    return found


def figures(value: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how a log lies on the disk."""
    return {key: value[key] for key in value if key not in ("provenance", "accounts", "acceptance")}


def test_an_injected_effect_is_found_and_the_contract_holds(tmp_path: Path, capsys: Any) -> None:
    log = served(80, 60, rates=(0.25, 0.40), taste=0.05)
    found = report(log, tmp_path)
    for name in ("acceptance_rate", "generation_rate"):
        difference = found["difference"][name]
        assert {"estimate", "ci95", "p_value"} <= difference.keys()
        assert 0 < difference["ci95"][0] < difference["estimate"] < difference["ci95"][1]
        assert difference["p_value"] < 0.001
    low, high = found["difference"]["acceptance_rate"]["ci95"]
    assert low < 0.15 < high
    assert found["srm"]["p_value"] > 0.5
    assert ("improved", True) == (found["decision"]["outcome"], found["decision"]["ship"])
    truth = {arm: [log.truth[f"u{n:04d}"] for n in range(k, 80, 2)] for k, arm in enumerate(("old", "new"))}
    for role, arm in (("control", "old"), ("treatment", "new")):
        mine = found["arms"][role]
        accepted, shown = (sum(user[name] for user in truth[arm]) for name in ("accepted", "shown"))
        assert (arm, 40, accepted / shown) == (mine["name"], mine["users"], mine["acceptance_rate"])
        assert {f"model-{arm}": mine["delivered"]} == mine["models"]
        assert mine["latency_p50_ms"] == pytest.approx(100, rel=0.01)
    assert {"go", "python"} == found["languages"]["groups"].keys()
    assert found["acceptance"]["agreement"]["both_arms"]["kappa"] == 1.0
    printed = capsys.readouterr().out
    assert printed.startswith("Ship new: ")
    assert "Acceptance rate" in printed
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    # A second call does not count again.
    before = (tmp_path / "out" / "report.json").stat().st_mtime_ns
    assert run(tmp_path / "log", tmp_path / "out") == 0
    assert before == (tmp_path / "out" / "report.json").stat().st_mtime_ns
    assert capsys.readouterr().out == printed


def test_swapped_arms_negate_the_difference(tmp_path: Path) -> None:
    log = served(30, 30, rates=(0.2, 0.5))
    there = report(log, tmp_path / "a")
    back = report(log, tmp_path / "b", control="new", treatment="old")
    for name, one in there["difference"].items():
        other = back["difference"][name]
        assert one["estimate"] == pytest.approx(-other["estimate"], abs=1e-12)
        if one["ci95"][0] is not None:
            assert one["ci95"] == pytest.approx([-other["ci95"][1], -other["ci95"][0]], abs=1e-9)
        assert one["p_value"] == pytest.approx(other["p_value"])
    assert there["decision"]["ship"]
    assert "worse" == back["decision"]["outcome"]


def test_equal_arms_are_reported_as_equal(tmp_path: Path) -> None:
    """A/A: over eight logs of one model almost none finds a difference, and none with both metrics' rule."""
    found = [report(served(30, 30, seed=seed, taste=0.05), tmp_path / str(seed)) for seed in range(8)]
    assert sum(one["difference"]["acceptance_rate"]["p_value"] < 0.05 for one in found) <= 2
    assert sum(one["decision"]["ship"] for one in found) <= 1
    assert any(one["verdict"].startswith("No detectable change") for one in found)


def test_lost_users_of_one_arm_end_every_claim(tmp_path: Path) -> None:
    log = served(120, 20, rates=(0.1, 0.6))
    log.records = [r for r in log.records if int(r["user"][1:]) % 2 == 0 or int(r["user"][1:]) < 50]
    found = report(log, tmp_path)
    assert found["srm"]["mismatch"]
    assert ("no_claim", False) == (found["decision"]["outcome"], found["decision"]["ship"])
    assert found["verdict"].startswith("No claim")
    assert not any(gate["passed"] for gate in found["gates"])
    weighed = report(log, tmp_path / "w", "experiment.weights={old: 60, new: 25}")
    assert not weighed["srm"]["mismatch"]
    assert weighed["decision"]["ship"]


@pytest.mark.parametrize("events", [True, False])
def test_order_files_repeats_and_format_change_nothing(tmp_path: Path, events: bool) -> None:
    log = served(12, 30, rates=(0.2, 0.5), events=events)
    plain = report(log, tmp_path / "plain")
    mixed = [*log.records, *log.records[::3]]
    random.Random(7).shuffle(mixed)
    folder = tmp_path / "mixed" / "log"
    for number in range(3):
        Served(mixed[number::3]).write(folder, f"{number}.jsonl")
    (folder / "torn.jsonl").write_text('{"record": "request", "reque', encoding="utf-8")
    assert run(folder, tmp_path / "mixed" / "out") == 0
    other = json.loads((tmp_path / "mixed" / "out" / "report.json").read_text(encoding="utf-8"))
    assert figures(plain) == figures(other)
    assert other["provenance"]["quarantined"] == 1
    # No copy of the log is left behind.
    left = {path.name for path in (tmp_path / "mixed" / "out").iterdir()}
    assert {"report.json", "report.html", "manifest.json", "quarantine.jsonl", ".running"} == left
    columns = tmp_path / "columns" / "log"
    columns.mkdir(parents=True)
    for name, kind, fields in (("r", "request", schema.REQUEST), ("e", "event", schema.EVENT)):
        rows = [record for record in log.records if record["record"] == kind]
        pq.write_table(pa.Table.from_pylist(rows, fields), columns / f"{name}.parquet")
    assert run(columns, tmp_path / "columns" / "out") == 0
    last = json.loads((tmp_path / "columns" / "out" / "report.json").read_text(encoding="utf-8"))
    assert figures(plain) == figures(last)


def test_the_time_before_the_start_is_no_experiment_but_sharpens_it(tmp_path: Path) -> None:
    """Before, everybody had the same model; who accepts much does so before and after."""
    day = 86_400_000
    log = served(60, 60, rates=(0.3, 0.4), taste=0.12)
    early = served(60, 60, rates=(0.3, 0.3), taste=0.12, seed=2, begin_ms=BEGIN_MS - day, begin_id="early-")
    for record in early.records:
        if "arm" in record:
            record["arm"] = None
    alone = report(log, tmp_path / "alone")
    both = Served([*early.records, *log.records])
    found = report(both, tmp_path / "both", f"experiment.start_ms={BEGIN_MS - day // 2}")
    ar = found["difference"]["acceptance_rate"]
    assert ar["estimate"] == alone["difference"]["acceptance_rate"]["estimate"]
    assert ar["cuped"]["variance_reduction"] > 0.3
    assert alone["difference"]["acceptance_rate"]["cuped"] is None
    asked = sum(r["record"] == "request" for r in early.records)
    assert asked == found["accounts"]["requests"]["before_start"]
    ended = report(both, tmp_path / "end", f"experiment.end_ms={BEGIN_MS + day}")
    assert asked == ended["accounts"]["requests"]["no_arm"]


def test_arms_that_were_not_served_together_claim_nothing(tmp_path: Path) -> None:
    log = served(40, 30, rates=(0.2, 0.6), events=False)
    week = 7 * 86_400_000
    for record in log.records:
        record["ts_ms"] += week * (int(record["user"][1:]) % 2)
    found = report(log, tmp_path / "apart")
    assert ("no_claim", ["arms_not_concurrent"]) == tuple(
        found["decision"][name] for name in ("outcome", "invalid")
    )
    # A control that was served long before is told, with the span to compare.
    early = served(20, 30, names=("old", "old"), begin_ms=BEGIN_MS - week, begin_id="early-", events=False)
    for record in early.records:
        record["user"] = f"early-{record['user']}"
    near = served(40, 30, rates=(0.2, 0.6), events=False)
    found = report(
        Served([*early.records, *near.records]), tmp_path / "near", "experiment.weights={old: 2, new: 1}"
    )
    assert found["concurrent"]["share"] < 0.01
    span = [found["concurrent"][name] for name in ("start_ms", "end_ms")]
    assert f"set experiment.start_ms={span[0]} and experiment.end_ms={span[1]}" in found["reasons"][0]
    assert BEGIN_MS <= span[0] < span[1]


def test_names_from_a_log_cannot_break_the_page_or_the_terminal(tmp_path: Path, capsys: Any) -> None:
    names = ("<script>alert(1)</script>: a", "neu\x1b[31m\n新しい🚀")
    log = served(24, 30, rates=(0.1, 0.7), names=names, languages=("<b>python", "go"))
    found = report(log, tmp_path, control=names[0], treatment=names[1])
    assert found["arms"]["treatment"]["name"] == names[1]
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.startswith("Ship neu [31m 新しい🚀: with neu")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<b>python" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("silence", [None, ""])
def test_an_arm_that_never_answers_is_told_and_no_error(tmp_path: Path, silence: str | None) -> None:
    log = served(20, 30)
    for record in log.records:
        if record.get("arm") == "new":
            record["proposal"] = silence
    log.records = [r for r in log.records if r["record"] == "request" or int(r["user"][1:]) % 2 == 0]
    found = report(log, tmp_path)
    assert found["decision"]["outcome"] == "too_few_data"
    assert found["difference"]["acceptance_rate"]["estimate"] is None
    assert {"no_exposure"} == {flag["reason"] for flag in found["flags"]}
    told = found["arms"]["treatment"]
    assert (told["silent"], told["unanswered"]) == ((0, told["delivered"]) if silence is None else
                                                    (told["delivered"], 0))  # fmt: skip


def sentence(capsys: Any) -> str:
    text: str = capsys.readouterr().err
    assert text.startswith("echo-ray: ")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_a_store_is_read_as_it_is_and_damage_is_one_sentence(tmp_path: Path, capsys: Any) -> None:
    source = served(12, 20, rates=(0.2, 0.5)).write(tmp_path / "log")
    store = tmp_path / "store"
    partition(ImportConfig(partitions=3), source, store, "import.input", one_by_one)
    assert run(store, tmp_path / "a") == run(source, tmp_path / "b") == 0
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in "ab")
    assert figures(one) == figures(two)
    assert one["accounts"] == two["accounts"]
    capsys.readouterr()
    part = sorted(store.glob("part-*.parquet"))[1]
    part.write_bytes(part.read_bytes()[:-40])
    assert run(store, tmp_path / "c") == 2
    assert f"experiment.log: {part} cannot be read" in sentence(capsys)
    assert not (tmp_path / "c").exists()


def test_a_user_who_met_both_arms_is_flagged(tmp_path: Path) -> None:
    log = served(60, 20)
    for number, record in enumerate(r for r in log.records if r["user"] == "u0000" and "arm" in r):
        record["arm"] = "new" if number > 40 else "old"
    found = report(log, tmp_path)
    crossed = [(flag["arm"], flag["user"]) for flag in found["flags"] if flag["reason"] == "both_arms"]
    assert [("old", "u0000"), ("new", "u0000")] == crossed
    assert found["without_flagged"]["acceptance_rate"]["users"] == [29, 30]
    assert found["difference"]["acceptance_rate"]["users"] == [30, 31]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"control": "odl"}, "experiment.control=odl is no arm of the log: its arms are new ("),
        ({"treatment": "old"}, "are both old"),
        ({"extra": ["experiment.echo=somewhere"]}, "give one"),
        ({"extra": ["experiment.acceptance=events"]}, "set experiment.acceptance=stream"),
        ({"extra": ["experiment.start_ms=5", "experiment.end_ms=5"]}, "experiment.start_ms=5 is not before"),
        ({"extra": [f"experiment.start_ms={2 * BEGIN_MS}"]}, "no request of arm"),
        ({"extra": ["experiment.weights={other: 1}"]}, "experiment.weights names other"),
        ({"extra": ["experiment.acceptance=guess"]}, "experiment.acceptance"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, capsys: Any, words: dict[str, Any], wanted: str) -> None:
    source = served(4, 5, events=False).write(tmp_path / "log")
    extra = words.pop("extra", [])
    assert run(source, tmp_path / "out", *extra, **words) == 2
    assert wanted in sentence(capsys)
    assert not (tmp_path / "out" / "report.json").exists()


def test_logs_that_cannot_be_compared_are_one_sentence(tmp_path: Path, capsys: Any) -> None:
    one = served(4, 5, names=("old", "old")).write(tmp_path / "one")
    assert run(one, tmp_path / "out") == 2
    assert "has one arm only, old" in sentence(capsys)
    none = served(4, 5)
    for record in none.records:
        record.pop("arm", None)
    assert run(none.write(tmp_path / "none"), tmp_path / "out") == 2
    assert "names an arm" in sentence(capsys)
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "experiment.log=" in sentence(capsys)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "log.jsonl").write_text("no json\n" * 5, encoding="utf-8")
    assert run(tmp_path / "bad", tmp_path / "out") == 2
    assert "experiment.log" in sentence(capsys)
    assert run(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "experiment.log=" in sentence(capsys)
    lone = served(4, 1, events=False)
    first = {r["user"]: r for r in reversed(lone.records)}
    assert run(Served(list(first.values())).write(tmp_path / "lone"), tmp_path / "out") == 2
    assert "has no events, and no session with two requests" in sentence(capsys)
    crossed = served(20, 5)
    for number, record in enumerate(r for r in crossed.records if "arm" in r):
        record["arm"] = ("old", "new")[number % 2]
    assert run(crossed.write(tmp_path / "crossed"), tmp_path / "out") == 2
    assert "20 of 20 users met both arms" in sentence(capsys)
