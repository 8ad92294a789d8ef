"""The verb `simulate`: its two outputs for any workers and any engine, killed and resumed, and the seal."""

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from echo_ray import data, schema, sealed
from echo_ray.data import read_manifest
from echo_ray.errors import ConfigError, StageError
from echo_ray.log import reader
from echo_ray.pretrain import sources
from jobs import fleet
from jobs.__main__ import main
from jobs.settings import RunConfig
from jobs.simulate import corpus, who_answers
from simulator import doubles, engines
from simulator.config import SimulateConfig
from simulator.engines import Material
from simulator.fleet import ledger
from simulator.fleet.team import Job, names
from simulator.truth import Tally
from tests.typist import Typist, simulated

ROOT = Path(__file__).parent.parent
SMALL = [
    "simulate.users=6",
    "simulate.sources=[json, asyncio, email]",
    "simulate.active_minutes=40",
    "simulate.seed=3",
    "cluster.min_memory_gb=2",
    "import.partitions=2",
]
"""A few developers on two packages of the standard library."""
JUDGES = ("rules/[a-z]*", "engines", "desk/[a-z]*", "work/[a-z]*")
"""What decides about suggestions, makes them, or writes."""


# The seal.


def modules(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", modules("echo_ray/**/*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_the_stages_and_trainers_names_the_truth(path: Path) -> None:
    """Docstrings may speak of it. Code has neither its folder nor the modules that read it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            imported = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not any(name.split(".")[0] in ("simulator", "jobs") for name in imported), imported
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            named = "truth" in node.value.lower()
            assert not named or path.name == "sealed.py", node.value


@pytest.mark.parametrize(
    "path",
    modules(*(f"simulator/{name}.py" for name in JUDGES)),
    ids=lambda path: path.name,
)  # fmt: skip
def test_no_policy_and_no_engine_can_open_the_truth(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    readers = {"ledger", "witness", "oracle", "crew", "fleet", "observed"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            parts = {part for alias in node.names for part in alias.name.split(".")}
            parts |= set((getattr(node, "module", None) or "").split("."))
            assert not readers & parts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a simulation leaves: `truth/` and `.work/`, and a log beside them."""
    folder = tmp_path_factory.mktemp("run")
    simulated(folder, [Typist("u")], "oracle")
    (folder / "log").mkdir()
    for path in reader.files(ledger.log_folder(folder), "import.input"):
        (folder / "log" / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(
    "verb", ["mine", "import", "distil", "verify", "balance", "pack", "train", "compare"]
)
@pytest.mark.parametrize("place", ["truth", ".", "truth/SEALED", "truth/u.jsonl.zst"])
def test_no_verb_opens_the_truth(
    verb: str, place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = run / place
    assert 2 == main([verb, f"{verb}.input={source}", f"{verb}.output={tmp_path / 'out'}"])
    told = capsys.readouterr().err
    assert f"{verb}.input={source} " in told
    assert "sealed truth of a simulation" in told
    assert 1 == told.count("\n")
    assert not (tmp_path / "out").exists()


def test_links_and_relative_names_do_not_lead_to_the_truth(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "innocent").symlink_to(run / "truth")
    monkeypatch.chdir(run / "truth")
    for path in (tmp_path / "innocent", Path(), Path(".."), run / "log" / ".." / "truth"):
        with pytest.raises(ConfigError, match="sealed truth"):
            reader.files(path, "mine.input")
    for opens in (data.units_of, data.input_fingerprint, lambda path: sources.read([str(path)], ["python"])):
        with pytest.raises(ConfigError, match="sealed truth"):
            opens(run / "truth")
    assert reader.files(run / "log", "mine.input")
    sealed.refuse(run / "log", "mine.input")


# The two outputs.


def simulate(output: Path, *words: str) -> int:
    return main(["simulate", f"simulate.output={output}", *SMALL, *words])


def contents(folder: Path) -> dict[str, bytes]:
    """Every byte of the log and the truth; not the manifest of the log, which tells times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for place in (folder / "log", folder / "truth")
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".running")
    }


@pytest.fixture(scope="module")
def line_above(tmp_path_factory: pytest.TempPathFactory, cluster: None) -> Path:
    """A run of a stand-in that looks at the prefix only, by one worker."""
    folder = tmp_path_factory.mktemp("simulate") / "one"
    assert 0 == simulate(folder, "simulate.engine=line_above", "simulate.workers=1")
    return folder


@pytest.mark.ray
def test_a_run_leaves_a_log_and_its_truth(line_above: Path) -> None:
    assert {"log", "truth", "tallies.jsonl", "manifest.json", ".running"} == {
        path.name for path in line_above.iterdir()
    }
    tables = [pq.read_table(path) for path in sorted((line_above / "log").glob("part-*.parquet"))]
    assert all(schema.LOGGED.names == table.schema.names for table in tables)
    rows = [row for table in tables for row in table.to_pylist()]
    tallies = [Tally(**json.loads(line)) for line in (line_above / "tallies.jsonl").read_text().splitlines()]
    assert names("train", 6) == [tally.user for tally in tallies]
    assert sum(tally.requests + tally.speculative for tally in tallies) == len(rows) > 20
    assert sum(tally.cancelled for tally in tallies) == sum(not row["delivered"] for row in rows)
    assert {"stand-in-line_above-1"} == {row["model"] for row in rows if row["delivered"]}
    told = {user: list(ledger.rows(line_above / "truth" / f"{user}.jsonl.zst")) for user in names("train", 6)}
    asked = {row["request_id"] for own in told.values() for row in own if row["kind"] == "request"}
    assert asked == {row["request_id"] for row in rows}
    headers = [own[0] for own in told.values()]
    assert {("run", None, 3)} == {(row["kind"], row["arm"], row["seed"]) for row in headers}
    assert list(told) == [row["user"] for row in headers]
    assert {"p1"} == {row["policy"] for row in headers}
    manifest = read_manifest(line_above)
    assert manifest is not None
    assert len(rows) == manifest.rows_in == manifest.rows_out
    assert 0 == manifest.notes["quarantined"] == manifest.notes["failures"]
    shown = sum(tally.shown_750 for tally in tallies)
    assert sum(tally.accepted for tally in tallies) / shown == manifest.notes["acceptance_rate"]
    assert manifest.notes["requests_per_s"] > 0
    assert 0 < manifest.notes["simulator_cpu_share"] <= 1.1


@pytest.mark.ray
def test_the_edits_of_the_truth_replay_to_the_requests_of_the_log(line_above: Path) -> None:
    tables = [pq.read_table(path) for path in sorted((line_above / "log").glob("part-*.parquet"))]
    rows = {row["request_id"]: row for table in tables for row in table.to_pylist()}
    compared = 0
    for user in names("train", 6):
        text: str | None = None  # of the open document, once a request has shown it
        for row in ledger.rows(line_above / "truth" / f"{user}.jsonl.zst"):
            if row["kind"] == "file_switch":
                text = None
            elif row["kind"] == "edit" and text is not None:
                end = row["at"] + len(row["removed"])
                assert row["removed"] == text[row["at"] : end]
                text = text[: row["at"]] + row["inserted"] + text[end:]
            elif row["kind"] == "request":
                logged = rows[row["request_id"]]
                assert len(logged["prefix"]) == row["cursor"]
                assert text in (None, logged["prefix"] + logged["suffix"])
                compared += text is not None
                text = logged["prefix"] + logged["suffix"]
    assert compared > len(rows) / 2


@pytest.mark.ray
def test_any_number_of_workers_leaves_the_same_bytes(line_above: Path, tmp_path: Path) -> None:
    assert 0 == simulate(tmp_path / "two", "simulate.engine=line_above", "simulate.workers=2")
    assert contents(line_above) == contents(tmp_path / "two")
    assert (line_above / "tallies.jsonl").read_bytes() == (tmp_path / "two" / "tallies.jsonl").read_bytes()


@pytest.mark.ray
def test_a_service_leaves_the_same_bytes(line_above: Path, tmp_path: Path) -> None:
    with doubles.serving(engines.engine("line_above", Material(())), delay_s=0.002) as double:
        assert 0 == simulate(tmp_path / "http", f"simulate.engine={double.url}", "simulate.workers=2")
    assert contents(line_above) == contents(tmp_path / "http")
    assert (line_above / "tallies.jsonl").read_bytes() == (tmp_path / "http" / "tallies.jsonl").read_bytes()


@pytest.mark.ray
def test_a_finished_run_is_not_done_again(line_above: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in line_above.rglob("*") if path.suffix}
    assert 0 == simulate(line_above, "simulate.engine=line_above", "simulate.workers=2")
    assert before == {path: path.stat().st_mtime_ns for path in line_above.rglob("*") if path.suffix}


@pytest.mark.ray
def test_the_miner_is_scored_against_the_truth_in_one_command(
    line_above: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"compare.input={line_above / 'log'}", f"compare.truth={line_above / 'truth'}"]
    assert 0 == main(["compare", *words, f"compare.output={tmp_path / 'out'}"])
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert 0 == summary["requests_without_truth"]
    rows = {(row["density"], row["policy"]): row for row in summary["rows"]}
    best = rows["every request", "contextual_break"]
    assert best["truth_known"] == best["requests"] == summary["requests"]
    # The default client asks rarely, so much is typed after a gap's last request.
    assert best["exact"] > 0.3
    assert best["recall"] + best["cut_short"] > 0.6
    assert best["recall"] > rows["every 5th request", "contextual_break"]["recall"]
    assert 1.0 == rows["every request", "oracle"]["exact"]
    assert "## By client" in capsys.readouterr().out


@pytest.mark.ray
def test_a_killed_run_goes_on_where_it_stopped(line_above: Path, tmp_path: Path) -> None:
    """Killed with everything it had started, while some developers were done and others were not."""
    output = tmp_path / "killed"
    words = [sys.executable, "-m", "jobs", "simulate", f"simulate.output={output}", *SMALL]
    words += ["simulate.engine=line_above", "simulate.workers=1"]
    log = (tmp_path / "first.log").open("wb")
    first = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
    done = output / ledger.WORK / "tallies"
    try:
        while not list(done.glob("*.json")):
            assert first.poll() is None, (tmp_path / "first.log").read_text()
            time.sleep(0.005)
    finally:
        os.killpg(first.pid, signal.SIGSTOP)
        children = psutil.Process(first.pid).children(recursive=True)
        os.killpg(first.pid, signal.SIGKILL)
        for child in children:
            if child.is_running():
                child.kill()
        first.wait()
        log.close()
    before = {path.name: path.stat().st_mtime_ns for path in done.glob("*.json")}
    assert 1 <= len(before) < 6
    truth = {path.name: path.stat().st_mtime_ns for path in (output / "truth").glob("*.zst")}
    assert 0 == simulate(output, "simulate.engine=line_above")
    assert contents(line_above) == contents(output)
    after = {path.name: path.stat().st_mtime_ns for path in (output / "truth").glob("*.zst")}
    kept = {f"{Path(name).stem}.jsonl.zst" for name in before}
    assert {name: truth[name] for name in kept} == {name: after[name] for name in kept}


def job(folder: Path, users: int, days: int = 1) -> tuple[Job, list[str]]:
    ledger.prepare(folder, "mark")
    config = SimulateConfig(sources=["json", "asyncio", "email"], active_minutes=40, seed=3, days=days)
    return Job(config, "train", "line_above", None, folder), names("train", users)


def workers() -> Iterator[psutil.Process]:
    """The processes of the actors."""
    for process in psutil.Process().children(recursive=True):
        # A process may end while we look at it; then it is none that could be killed.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ray::Worker" in " ".join(process.cmdline() or [process.name()]):
                yield process


@pytest.mark.ray
def test_users_of_a_dead_worker_are_given_to_another(line_above: Path, tmp_path: Path, cluster: None) -> None:
    own, users = job(tmp_path / "run", 6)
    killed: list[int] = []

    def kill_once(done: int, requests: int) -> None:
        if not killed:
            for process in workers():
                process.kill()
                killed.append(process.pid)

    fleet.run([own], {"train": corpus(own.config, "train")}, [users], 1, kill_once)
    assert 1 == len(killed)
    assert [] == ledger.left(own.folder, users)
    for user in users:
        name = f"{user}.jsonl.zst"
        assert (line_above / "truth" / name).read_bytes() == (own.folder / "truth" / name).read_bytes()


@pytest.mark.ray
def test_workers_that_die_again_are_one_sentence(tmp_path: Path, cluster: None) -> None:
    own, users = job(tmp_path / "run", 2, days=400)  # nobody is done before the driver looks again

    def kill(done: int, requests: int) -> None:
        for process in workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    with pytest.raises(StageError, match="workers died 2 times while t0000") as caught:
        fleet.run([own], {"train": corpus(own.config, "train")}, [users], 1, kill)
    assert "simulate.workers" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.ray
def test_nobody_at_the_address_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: None
) -> None:
    assert 2 == simulate(tmp_path / "out", "simulate.engine=http://127.0.0.1:9", "simulate.workers=1")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("echo-ray:")]
    assert 1 == len(told)
    assert "http://127.0.0.1:9 (simulate.engine) did not answer" in told[0]


# What answers.


def settings(**section: object) -> RunConfig:
    return RunConfig.model_validate({"simulate": section})


def test_an_engine_is_an_address_a_stand_in_or_a_model() -> None:
    assert "http://h:1" == who_answers(settings(engine="http://h:1")).engine
    assert "oracle" == who_answers(settings(engine="oracle")).engine
    base, named = who_answers(settings()), who_answers(settings(engine=str(ROOT / "echo_ray/assets/base")))
    assert base.serve is not None
    assert base.identity == named.identity
    identities = [who_answers(settings(engine=name)).identity for name in ("oracle", "empty", "http://h:1")]
    assert 4 == len({json.dumps(identity) for identity in [*identities, base.identity]})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["simulate.engine=orcale"], "simulate.engine=orcale is neither an address"),
        (["simulate.engine=orcale"], "did you mean oracle?"),
        (["simulate.engine={tmp}"], "has no config.json"),
        (["simulate.workers=0"], "simulate.workers = 0 is refused"),
        (["simulate.policy=p9"], "simulate.policy"),
        (["simulate.engine=oracle", "simulate.clients={{vim: 1}}"], "simulate.clients: 'vim' is not one of"),
        (["simulate.engine=oracle", "simulate.sources=[no_such_package]"], "simulate.sources"),
        (["simulate.output={tmp}", "simulate.engine=oracle"], "holds files that no stage wrote"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    given = [word.format(tmp=tmp_path) for word in words]
    output = [] if "simulate.output" in "".join(given) else [f"simulate.output={tmp_path / 'out'}"]
    assert 2 == main(["simulate", *SMALL, *output, *given])
    told = capsys.readouterr().err
    assert sentence in told
    assert 1 == told.count("\n")
    assert {"thesis.txt"} == {path.name for path in tmp_path.iterdir()}


def test_batches_keep_connections_busy_and_let_everybody_finish_together(tmp_path: Path) -> None:
    plain, _ = job(tmp_path, 1)
    http = Job(plain.config, "train", "http://h:1", None, tmp_path)
    assert 1 == fleet.batch_size(plain, 4, 2)
    assert 13 == fleet.batch_size(plain, 100, 2)
    assert fleet.LARGEST_BATCH == fleet.batch_size(plain, 10_000, 2)
    assert http.config.concurrency == fleet.batch_size(http, 10_000, 2)
    assert 2 == fleet.batch_size(http, 4, 2)


@pytest.mark.ray
def test_twins_with_equal_answers_are_equal(tmp_path: Path, cluster: None) -> None:
    from jobs import gather, report
    from jobs.experiment import simulated
    from tests.tiny import write_model

    with doubles.serving(engines.engine("line_above", Material(()))) as double:
        plain = dict(
            word.removeprefix("simulate.").split("=") for word in SMALL if word.startswith("simulate.")
        )
        section = {"sources": ["json", "logging"], "active_minutes": 12, "seed": int(plain["seed"])}
        config = RunConfig.model_validate(
            {
                "simulate": section | {"engine": double.url, "workers": 2},
                "experiment": {"users": 3},
                "import": {"partitions": 2},
            }
        )
        manifest = simulated(config, write_model(tmp_path / "echo"), tmp_path / "twins")
        own = config.updated(experiment={"users": 3, "design": "parallel"})
        parallel = simulated(own, tmp_path / "echo", tmp_path / "parallel")
    base, echo = ((tmp_path / "twins" / f"{arm}.jsonl").read_bytes() for arm in ("base", "echo"))
    assert base == echo
    assert 6 == manifest.rows_out
    assert {"base", "echo"} == {row["arm"] for row in double.records}
    for arm in ("base", "echo"):
        assert (tmp_path / "twins" / arm / "truth" / sealed.SEALED).is_file()
        table = pq.read_table(sorted((tmp_path / "twins" / arm / "log").glob("part-*.parquet")))
        assert {arm} == set(table["arm"].to_pylist())
    before = (tmp_path / "twins" / "manifest.json").stat().st_mtime_ns
    simulated(config, tmp_path / "echo", tmp_path / "twins")
    assert before == (tmp_path / "twins" / "manifest.json").stat().st_mtime_ns
    # With developers of their own nobody is in both arms, and nobody's time can be compared with a twin's.
    assert "parallel" == parallel.notes["design"]
    users = [
        {
            json.loads(line)["user"]
            for line in (tmp_path / "parallel" / f"{arm}.jsonl").read_text().splitlines()
        }
        for arm in ("base", "echo")
    ]
    assert [3, 3] == [len(own) for own in users]
    assert not users[0] & users[1]
    for name, settings in (("twins", config), ("parallel", own)):
        built = report.build(gather.inputs(settings, {"experiment": tmp_path / name}))
        assert (name == "twins") is built["design"]["twins"] is ("time_saved" in built["difference"])
        assert "too_few_data" == built["outcome"]
