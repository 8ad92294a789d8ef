"""The comparison of termination policies: densities, delays, whole runs, mistakes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import schema
from echo_ray.data import Manifest, write_manifest
from echo_ray.link_table import link_table
from echo_ray.log import reader
from echo_ray.schema import EndReason
from echo_ray.stages.mine import MineConfig, mine
from jobs.__main__ import main
from jobs.compare_inputs import EVENTS, TRUTH, Piece, client_type
from jobs.compare_rules import EVERY, Comparison, densities, mined, windows
from jobs.settings import CompareConfig
from simulator.fleet import ledger
from simulator.judge.oracle import Gap
from simulator.judge.scores import Agreement
from tests.typist import Typist, simulated

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"


def request(number: int, ts_ms: int, prefix: str, suffix: str = "", **changes: Any) -> dict[str, Any]:
    identity = {"request_id": f"r{number:03d}", "user": "u", "session": "s", "file": "f"}
    texts = {"ts_ms": ts_ms, "prefix": prefix, "suffix": suffix}
    return schema.REQUEST_DEFAULTS | identity | texts | changes


def table_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema.REQUEST)


def test_windows_keep_whole_lines_and_say_what_they_cut() -> None:
    lines = "a\nb\nc\nd"
    rows = [request(0, 0, lines, lines), request(1, 1, "c\nd", "a\n"), request(2, 2, "", "")]
    cut = windows(table_of(*rows), 2).to_pylist()
    assert [("c\nd", False), ("c\nd", True), ("", True)] == [(r["prefix"], r["prefix_complete"]) for r in cut]
    assert [("a\nb\n", False), ("a\n", True), ("", True)] == [
        (r["suffix"], r["suffix_complete"]) for r in cut
    ]
    assert schema.REQUEST == windows(table_of(*rows), 2).schema


@pytest.mark.parametrize("stored", [False, True])
def test_densities_thin_each_session_by_itself(stored: bool) -> None:
    rows = [request(n, n, "x" * n, session="s" if n < 7 else "t") for n in range(12)]
    table = table_of(*rows)
    piece = Piece("log", link_table(table) if stored else table, frozenset({"r001", "r008"}))
    found = {
        name: thinned["request_id"].to_pylist()
        for name, thinned in densities(piece, CompareConfig(every=[1, 3, 22]))
    }
    ids = [row["request_id"] for row in rows]
    assert {
        EVERY: ids,
        "every 3rd request": ["r000", "r003", "r006", "r007", "r010"],
        "every 22nd request": ["r000", "r007"],
        "uncancelled requests": ["r001", "r008"],
        "windows of 20 + 20 lines": ids,
    } == found
    only = CompareConfig(every=[3], uncancelled_ms=None, window_lines=None)
    assert ["every 3rd request"] == [name for name, _ in densities(piece, only)]


def test_when_a_commit_is_known() -> None:
    """Typing at 0 to 2 s, a break at 5 s, then silence: each policy waits as long as its rule says."""
    rows = [request(n, 1000 * n, "x" + "ab"[:n], ";") for n in range(3)]
    table = link_table(table_of(*rows, request(3, 5000, "#xab", ";")))
    expected = {
        "contextual_break": [(2.0, 5.0), (1.0, 4.0), (0.0, 3.0), (0.0, 300.0)],
        "quiescence": [(2.0, 4.0), (1.0, 3.0), (0.0, 2.0), (0.0, 2.0)],
        "ttl": [(1.0, 1.5), (1.0, 1.5), (0.0, 1.5), (0.0, 1.5)],
    }
    for termination, delays in expected.items():
        config = MineConfig(termination=termination, quiescence_s=2, ttl_s=1.5)
        found = [sample for _, sample in mined(mine(table, config), config)]
        assert delays == [(sample.last_look_s, sample.known_s) for sample in found]


def test_acceptances_and_the_oracle_are_counted_once() -> None:
    """Two proposals: the first is taken at once, the second typed over."""
    rows = [
        request(0, 0, "x = ", "\n", proposal="compute(1)"),
        request(1, 3000, "x = compute(1)", "\n", proposal=" + 2"),
        request(2, 6000, "x = compute(1);", "\n"),
    ]
    gaps = {
        "r000": Gap("compute(1);", EndReason.SESSION_END, 6000, 306_000),
        "r001": Gap(";", EndReason.SESSION_END, 6000, 306_000),
    }
    accepted = {EVENTS: {"r000": True, "r001": False}}
    piece = Piece("log", table_of(*rows), frozenset(), gaps, {"r001": ";"}, accepted)
    comparison = Comparison()
    comparison.add(piece, CompareConfig(), MineConfig())
    assert Agreement(both=1, neither=1) == comparison.agreements[EVENTS]
    scores = comparison.pooled()
    assert 2 == scores[EVERY, "oracle"].requests
    best = scores[EVERY, "contextual_break"].figures()
    assert (3, 2, 1.0, 1.0) == tuple(
        best[name] for name in ("requests", "truth_known", "exact", "intent_equal")
    )


def recording(path: Path) -> None:
    """A recording in which `value` is typed at 1 s a key, and a bracket far away ends it."""
    log: list[dict[str, Any]] = [
        {"kind": "header", "repoRootUri": "file:///home/somebody/project", "uuid": "x"},
        {"kind": "documentEncountered", "id": 0, "relativePath": "a.ts", "time": 0},
        {"kind": "setContent", "id": 0, "v": 1, "content": "let a = ;\n}", "time": 0},
    ]
    edits = [*([8 + n, 8 + n, char] for n, char in enumerate("value")), [15, 15, "}"]]
    log += [
        {"kind": "changed", "id": 0, "v": 2 + n, "edit": [edit], "time": 1000 * (n + 1)}
        for n, edit in enumerate(edits)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"log": log}))


def test_a_recording_becomes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording(tmp_path / "in" / "typing.json")
    words = ["compare", f"compare.input={tmp_path / 'in'}", f"compare.output={tmp_path / 'out'}"]
    assert 0 == main([*words, "compare.every=[1,2]"])
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    rows = {(row["density"], row["policy"]): row for row in summary["rows"]}
    best = rows[EVERY, "contextual_break"]
    assert (6, 1.0, 4 / 6) == (best["requests"], best["exact"], best["yield"])
    assert {"oracle", "contextual_break", "quiescence", "ttl"} == {policy for _, policy in rows}
    assert 4 * 4 == len(rows) == len(summary["rows"])
    assert {"idle_s": 300.0, "quiescence_s": 10.0, "ttl_s": 30.0}.items() <= summary["settings"].items()
    page = (tmp_path / "out" / "compare.md").read_text()
    assert page in printed
    assert "# Mining policies compared on 6 requests of the recording typing.json" in page
    assert "Nobody reported" in page
    assert "somebody" not in page + json.dumps(summary)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert 1 == len({len(line) for line in table})
    assert len(table[0]) <= 150

    written = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert 0 == main([*words, "compare.every=[1,2]"])  # shown again, not done again
    assert page in capsys.readouterr().out
    assert written == (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert 0 == main([*words, "compare.every=[1]"])
    assert written < (tmp_path / "out" / "manifest.json").stat().st_mtime_ns


def partitioned(folder: Path, requests: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    """A log as `import` leaves it, without a cluster; events lie in another part than their requests."""
    (folder / "events").mkdir(parents=True)
    pq.write_table(link_table(table_of(*requests)), folder / "part-0000.parquet")
    pq.write_table(link_table(table_of()), folder / "part-0001.parquet")
    pq.write_table(pa.Table.from_pylist(events, schema=schema.EVENT), folder / "events" / "part-0001.parquet")
    blank: dict[str, Any] = {"config": {}, "columns": {}, "drops": {}, "seconds": 0, "engine": ""}
    counts = {"rows_in": len(requests), "rows_out": len(requests)}
    write_manifest(
        folder, Manifest(stage="log", fingerprint="1", input="", input_fingerprint="", **counts, **blank)
    )


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`log/` and `truth/` of three developers with two types of client, who report what they accept."""
    folder = tmp_path_factory.mktemp("simulation")
    typists = [Typist("one"), Typist("two", "llama.vim/2"), Typist("three", "llama.vim/1", every=3)]
    simulated(folder, typists, "oracle")
    records = [reader.read(path) for path in reader.files(ledger.log_folder(folder), "import.input")]
    requests = [row for piece in records for row in piece.requests.to_pylist()]
    partitioned(folder / "log", requests, [row for piece in records for row in piece.events.to_pylist()])
    return folder


def test_a_simulated_log_against_its_truth(
    simulation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"compare.input={simulation / 'log'}", f"compare.truth={simulation / 'truth'}"]
    assert 0 == main(["compare", *words, f"compare.output={tmp_path / 'out'}"])
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    rows = {(row["density"], row["policy"]): row for row in summary["rows"]}
    assert (0, ["log"]) == (summary["requests_without_truth"], summary["sources"])
    best, oracle = rows[EVERY, "contextual_break"], rows[EVERY, "oracle"]
    assert summary["requests"] == best["requests"] == best["truth_known"] == oracle["requests"]
    assert 1.0 == oracle["exact"] == oracle["precision"] == oracle["recall"]
    assert best["exact"] > 0.9
    for row in summary["rows"]:
        assert (row["exact_of_yield"], row["exact_with_text"]) == (row["precision"], row["recall"])
    for policy in ("quiescence", "ttl"):
        assert rows[EVERY, policy]["exact"] <= best["exact"]
        assert rows[EVERY, policy]["known_p90_s"] <= best["known_p90_s"]
    by_events, by_truth = summary["acceptance"][EVENTS], summary["acceptance"][TRUTH]
    assert by_events == by_truth  # the client reported what really happened
    assert by_truth["true_positives"] > 10
    assert "developer meant to write" in printed
    assert "Cohen's kappa" in printed

    clients = {(row["client"], row["density"], row["policy"]): row for row in summary["clients"]}
    assert {"copilot", "llama.vim"} == {client for client, _, _ in clients}
    assert len(clients) == len(summary["clients"]) == 2 * len(rows)
    counts = ("requests", "yielded", "truth_known", "truth_with_text")
    for (density, policy), row in rows.items():
        parts = [clients[client, density, policy] for client in ("copilot", "llama.vim")]
        assert [row[name] for name in counts] == [sum(part[name] for part in parts) for name in counts]
        hits = sum((part["recall"] or 0) * part["truth_with_text"] for part in parts)
        assert hits == pytest.approx((row["recall"] or 0) * row["truth_with_text"])
    table = page_table(printed, "## By client")
    assert ["copilot", EVERY] == table[2][:2]
    best_copilot = clients["copilot", EVERY, "contextual_break"]
    assert f"{100 * best_copilot['precision']:.1f}" == table[2][table[0].index("precision")]
    assert f"{100 * best_copilot['recall']:.1f}" == table[2][table[0].index("recall")]
    assert 2 + 2 * 5 == len(table)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("copilot/1.57", "copilot"),
        ("echo-sim llama.vim", "echo-sim llama.vim"),
        ("tabby-agent/1.9.1 (linux; x64) vscode/1.90", "tabby-agent vscode"),
        ("curl", "curl"),
        ("/1", "/1"),
    ],
)
def test_clients_of_one_type_differ_in_versions(agent: str, expected: str) -> None:
    assert expected == client_type(agent)


def page_table(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below `heading`."""
    lines = page[page.index(heading) :].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_another_truth_is_compared_anew(simulation: Path, tmp_path: Path) -> None:
    shutil.copytree(simulation / "truth", tmp_path / "truth")
    words = ["compare", f"compare.input={simulation / 'log'}", f"compare.truth={tmp_path / 'truth'}"]
    words += [f"compare.output={tmp_path / 'out'}", "compare.every=[1]"]
    assert 0 == main(words)
    written = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert 0 == main(words)
    assert written == (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    (tmp_path / "truth" / "three.jsonl.zst").unlink()
    assert 0 == main(words)
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert summary["requests_without_truth"] > 0
    every = {row["density"]: row for row in summary["rows"] if row["policy"] == "contextual_break"}[EVERY]
    assert summary["requests"] - summary["requests_without_truth"] == every["truth_known"]


def test_a_log_without_truth_has_no_matches(
    simulation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"compare.input={simulation / 'log'}", f"compare.output={tmp_path / 'out'}"]
    assert 0 == main(["compare", *words, "compare.every=[1]"])
    printed = capsys.readouterr().out
    assert "What was really left is not known" in printed
    assert "exact" not in printed.splitlines()[4 + 2]
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {"contextual_break", "quiescence", "ttl"} == {row["policy"] for row in summary["rows"]}
    assert {(0, None)} == {(row["truth_known"], row["exact"]) for row in summary["rows"]}
    assert [EVENTS] == list(summary["acceptance"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["compare.output={tmp}/out"], "compare.input is not set"),
        (["compare.input={tmp}/none", "compare.output={tmp}/out"], "compare.input={tmp}/none does not exist"),
        (["compare.input={tmp}/log"], "compare.output is not set"),
        (["compare.input={tmp}/log", "compare.output={tmp}/log/out"], "lies in compare.input={tmp}/log"),
        (["compare.input={tmp}/empty", "compare.output={tmp}/out"], "compare.input={tmp}/empty holds no log"),
        (["compare.input={tmp}/rec/a.json", "compare.output={tmp}/out"], "is a file: name the folder"),
        (["compare.input={tmp}/both", "compare.output={tmp}/out"], "holds recordings and also b.jsonl"),
        (
            ["compare.input={tmp}/log", "compare.output={tmp}/out", "compare.truth={tmp}/no"],
            "compare.truth={tmp}/no does not exist",
        ),
        (
            ["compare.input={tmp}/rec", "compare.output={tmp}/out", "compare.truth={tmp}/truth"],
            "which are their own truth: leave one out",
        ),
        (
            ["compare.input={tmp}/log", "compare.output={tmp}/out", "compare.truth={tmp}/truth"],
            "compare.truth={tmp}/truth knows none of the 1 requests of compare.input={tmp}/log",
        ),
        (
            ["compare.input={tmp}/log", "compare.output={tmp}/out", "compare.truth={tmp}/log"],
            "compare.truth={tmp}/log is not the truth of a simulation",
        ),
        (
            ["compare.input={tmp}/truth", "compare.output={tmp}/out"],
            "compare.input={tmp}/truth is the sealed truth of a simulation",
        ),
        (["compare.input={tmp}/rec", "compare.output={tmp}/log"], "holds the results of log"),
        (["compare.every=[0]"], "compare.every.0 = 0 is refused"),
        (["compare.every=[]"], "compare.every = [] is refused"),
        (["compare.evry=[1]"], "did you mean compare.every?"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partitioned(tmp_path / "log", [request(0, 0, "a")], [])
    (tmp_path / "empty").mkdir()
    recording(tmp_path / "rec" / "a.json")
    recording(tmp_path / "both" / "a.json")
    (tmp_path / "both" / "b.jsonl").write_text("{}\n")
    simulated(tmp_path, [Typist("one")], "empty")
    assert 2 == main(["compare", *(word.format(tmp=tmp_path) for word in words)])
    captured = capsys.readouterr()
    assert sentence.format(tmp=tmp_path) in captured.err
    assert 1 == captured.err.count("\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_a_plain_log_is_partitioned_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: None
) -> None:
    rows = [request(n, 1000 * n, "x = value"[: 4 + n], "\n") for n in range(6)]
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"record": "request", **row}) + "\n" for row in rows]
    (tmp_path / "in" / "a.jsonl").write_text("".join(lines))
    assert 0 == main(["compare", f"compare.input={tmp_path / 'in'}", f"compare.output={tmp_path / 'out'}"])
    assert "6 requests of one log" in capsys.readouterr().out
    assert (tmp_path / "out" / "log" / "part-0000.parquet").is_file()


@pytest.mark.parametrize("path", sorted(TRACES.glob("vscode-recordings")), ids=lambda path: path.name)
def test_the_real_recordings(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["compare", f"compare.input={path}", f"compare.output={tmp_path / 'out'}"])
    assert "| contextual_break |" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert 15 == len(summary["sources"])
    assert 16 * 5 * 4 == len(summary["rows"])
    rows = {(row["source"], row["density"], row["policy"]): row for row in summary["rows"]}
    best = rows["all", EVERY, "contextual_break"]
    assert best["truth_known"] == best["requests"] == summary["requests"]
    assert best["exact"] > 0.98
    assert best["exact_with_text"] > 0.98
