"""Erasing a person: nothing of them is left in any byte, whatever is cut short; others lose nothing."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import accounts, folders, journal, people
from echo_ray.log import source
from echo_ray.log.segment import SegmentWriter
from echo_ray.manifest import MARKER, read_manifest
from echo_ray.privacy.pseudonyms import Pseudonyms, load_key
from echo_ray.registry import Registry
from echo_ray.stages.pack import PackConfig
from jobs import card, erase, erase_plan, explain, export
from jobs.erase_values import Plan
from jobs.ledger_config import CardConfig, EraseConfig, ExplainConfig, ExportConfig
from tests import ledger_runs, registries
from tests.ledger_runs import USERS

WHO = "person-alder"
FORMATS = ("hf", "axolotl", "llamafactory")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that can hold a person."""
    root = tmp_path_factory.mktemp("made") / "run"
    run = ledger_runs.make(root)
    raw = root / "log" / "segments"
    raw.mkdir()
    lines = [json.dumps({"record": "request"} | row).encode() + b"\n" for row in run.requests]
    lines += [json.dumps({"record": "event"} | event).encode() + b"\n" for event in run.events]
    torn = f'{{"record": "request", "user": "{WHO}", "prefix": "torn'.encode()
    (raw / "segment-a.jsonl").write_bytes(b"".join(lines[::3]) + torn)
    (raw / "segment-b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[1::3])))
    (raw / "segment-c.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines[2::3])))
    for form in FORMATS:
        for files in ("jsonl", "parquet"):
            config = ExportConfig(
                input=root / "balance", output=root / f"{form}-{files}", format=form, files=files
            )
            export.run(config, PackConfig())
    card.make(CardConfig(input=root / "balance", examples=20))
    tallies = "".join(json.dumps({"user": user, "shown": 3}) + "\n" for user in USERS)
    (root / "simulate").mkdir()
    (root / "simulate" / "tallies.jsonl").write_text(tallies)
    truth = root / "simulate" / "truth"
    truth.mkdir()
    (truth / "SEALED").write_text("sealed")
    (truth / f"{WHO}.jsonl").write_text(json.dumps({"user": WHO}) + "\n")
    return root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def everything(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file outside the seal, unpacked; of Parquet the raw bytes too."""
    for path in sorted(root.rglob("*")):
        if not path.is_file() or "truth" in path.parts:
            continue
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                yield path, repr(file.read().to_pylist()).encode() + repr(file.schema_arrow.metadata).encode()
        else:
            with source.opened(path) as stream:
                yield path, stream.read()
        yield path, path.read_bytes()


def holders(root: Path, *words: str) -> list[str]:
    return sorted({path.name for path, text in everything(root) for word in words if word.encode() in text})


def rows(root: Path) -> dict[str, list[dict[str, Any]]]:
    """All Parquet rows below `root` of everybody but WHO, by file."""
    found = {}
    for path in sorted(root.rglob("*.parquet")):
        table = pq.read_table(path).to_pylist()
        found[str(path.relative_to(root))] = [row for row in table if row.get("user") != WHO]
    return found


def packed(root: Path) -> int:
    """Packed rows of WHO."""
    return sum(
        pq.read_table(path, columns=["user"])["user"].to_pylist().count(WHO)
        for path in (root / "pack").glob("*.parquet")
    )


def clear(root: Path, **changes: Any) -> Plan:
    return erase.run(EraseConfig(user=WHO, **changes), root)


def test_nothing_of_the_person_is_left_in_any_byte_of_any_file(run: Path) -> None:
    ids = [row["request_id"] for row in ledger_runs.requests_of((WHO,))]
    before = holders(run, WHO, *ids)
    assert {
        "part-0000.parquet",
        "segment-b.jsonl.gz",
        "quarantine.jsonl",
        "card.json",
        "tallies.jsonl",
    } <= set(before)
    clear(run)
    assert [] == holders(run, WHO, *ids)
    assert not (run / journal.NAME).exists()
    assert (run / "simulate" / "truth" / f"{WHO}.jsonl").is_file()


def test_the_code_that_only_the_person_wrote_is_gone_too(run: Path) -> None:
    clear(run)
    assert [] == holders(run, f"# written by {WHO}")
    assert holders(run, "# written by person-birch")


def test_nobody_else_loses_anything(run: Path) -> None:
    before = rows(run)
    exported = {
        path: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(run.glob("*-jsonl/data/*.jsonl"))
    }
    clear(run)
    after = rows(run)
    for name, kept in before.items():
        if "owner" in (kept[0] if kept else {}):
            continue  # exports name nobody; they are looked at below
        for row in kept:
            if row.get("twin") == "r-00-000":
                row["twin"] = "erased"
        assert kept == after[name], name
    theirs = {row["request_id"] for row in ledger_runs.requests_of((WHO,))}
    for path, records in exported.items():
        left = [json.loads(line) for line in path.read_text().splitlines()]
        assert [record for record in records if record["sample_id"] not in theirs] == left
        assert len(left) < len(records) or "0001" in path.name
    tallies = [
        json.loads(line)["user"] for line in (run / "simulate" / "tallies.jsonl").read_text().splitlines()
    ]
    assert [user for user in USERS if user != WHO] == tallies


def test_raw_segments_keep_their_packing_and_the_lines_of_others_byte_by_byte(run: Path) -> None:
    folder = run / "log" / "segments"
    before = {path.name: lines(path) for path in sorted(folder.iterdir())}
    clear(run)
    for path in sorted(folder.iterdir()):
        assert [line for line in before[path.name] if WHO.encode() not in line] == lines(path)
    assert (folder / "segment-b.jsonl.gz").read_bytes().startswith(b"\x1f\x8b")
    assert (folder / "segment-c.jsonl.zst").read_bytes().startswith(b"\x28\xb5\x2f\xfd")


def lines(path: Path) -> list[bytes]:
    with source.opened(path) as stream:
        return stream.read().splitlines()


def test_quarantined_lines_that_could_be_theirs_lose_their_text(run: Path) -> None:
    clear(run)
    entries = [json.loads(line) for line in (run / "log" / "quarantine.jsonl").read_text().splitlines()]
    assert 4 == len(entries)
    assert ["", *3 * ["{"]] == sorted(entry["text"][:1] for entry in entries)
    (torn,) = [entry for entry in entries if not entry["text"]]
    assert "not JSON" == torn["reason"]


def test_manifests_and_ledger_agree_afterwards(run: Path) -> None:
    old = {one.path: one.manifest for one in folders.find(run).folders}
    assert [] == [p for a in accounts.audit(folders.find(run)) for p in a.problems]
    plan = clear(run)
    lineage = folders.find(run)
    assert [] == [p for a in accounts.audit(lineage) for p in a.problems]
    explain.run(ExplainConfig(), run)
    who = people.mark(WHO, plan.salt)
    for one in lineage.folders:
        before, after = old[one.path], one.manifest
        entry = after.notes["erased"][-1]
        assert (who, plan.salt, plan.at) == (entry["who"], entry["salt"], entry["at"])
        if one.stage == "train":
            assert (before.fingerprint, before.input_fingerprint) == (
                after.fingerprint,
                after.input_fingerprint,
            )
            assert (before.rows_in, before.rows_out) == (after.rows_in, after.rows_out)
            continue
        assert before.rows_out - after.rows_out == entry["rows"]
        assert entry["rows"] > 0
        assert before.fingerprint != after.fingerprint
        assert [before.fingerprint] == after.notes["was"]
        if one.stage != "export":
            assert after.fingerprint == (one.path / MARKER).read_text()
    chain = lineage.chain(lineage.of("train")[0])
    assert ["log", "mine", "distil", "verify", "select", "perplexity", "balance", "pack", "train"] == [
        one.stage for one in chain
    ]


def test_the_accounts_of_the_import_still_add_up(run: Path) -> None:
    clear(run)
    manifest = read_manifest(run / "log")
    assert manifest is not None
    for account in manifest.notes["accounts"].values():
        assert account["read"] == account["kept"] + account["merged"] + account["quarantined"]
    requests = sum(pq.read_metadata(path).num_rows for path in (run / "log").glob("*.parquet"))
    events = sum(pq.read_metadata(path).num_rows for path in (run / "log" / "events").glob("*.parquet"))
    accounts_ = manifest.notes["accounts"]
    assert (requests, events) == (accounts_["request"]["kept"], accounts_["event"]["kept"])
    assert (requests, events) == (manifest.rows_out, manifest.notes["events"])


def test_shards_tell_how_many_rows_their_input_has_now(run: Path) -> None:
    clear(run)
    chain = ("log", "mine", "distil", "verify", "select", "perplexity", "balance", "pack")
    for source_, stage in pairwise(chain):
        for path in (run / stage).glob("*.parquet"):
            told = int(pq.read_schema(path).metadata[b"rows_in"])
            assert pq.read_metadata(run / source_ / path.name).num_rows == told


def test_models_that_learned_from_the_person_are_named_with_how_much(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = packed(run)
    assert theirs > 20
    ledger_runs.training(run / "measured", run / "pack", heldout_share=0.999)
    plan = clear(run)
    models = {Path(model["model"]).parent.name: model for model in plan.models}
    assert (theirs, 0) == (models["train"]["rows"], models["train"]["measured_rows"])
    assert (0, theirs) == (models["measured"]["rows"], models["measured"]["measured_rows"])
    text = capsys.readouterr().out
    assert f"was trained on {theirs} rows of theirs in 2 epochs" in text
    assert "sealed truth of a simulation and is not touched" in text


def test_a_second_run_says_that_nothing_is_left_and_still_names_the_models(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = packed(run)
    clear(run)
    state = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    clear(run)
    text = capsys.readouterr().out
    assert f"nothing of {WHO} is left below {run}: erased on 20" in text
    assert f"was trained on {theirs} rows of theirs in 2 epochs (by the erasure of 20" in text
    assert state == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_model_whose_samples_are_gone_is_answered_by_the_list_that_it_kept_or_unknown(run: Path) -> None:
    ledger_runs.training(run / "listless", run / "pack", keep_users=False)
    theirs = packed(run)
    shutil.rmtree(run / "pack")
    models = {Path(model["model"]).parent.name: model for model in clear(run).models}
    assert theirs == models["train"]["rows"]
    assert None is models["listless"]["rows"]
    assert "are gone and it kept no list" in models["listless"]["by"]


def test_a_model_that_was_trained_further_from_one_of_theirs_is_named(run: Path) -> None:
    from echo_ray import models

    version = models.version(run / "train" / "model")
    others = ledger_runs.make(run / "others", ("person-elm",))
    manifest = run / "others" / "train" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("base-a477c622ba", version))
    found = {model["model"]: model for model in clear(run).models}
    later = found[str(others.root / "train" / "model")]
    assert (str(run / "train" / "model"), 0) == (later["built_on"], later["rows"])


def registered(root: Path, run: Path) -> Registry:
    """A registry: the run's training, one made from that, one that tells nothing, one of others."""
    shutil.rmtree(run / "train" / "model")
    registries.model(run / "train" / "model", 1)
    registry = Registry(root)
    base = registry.add(run / "train" / "model", run / "train")
    later = registries.training(root.parent / "later", 2, f"model-{base.content}", "somebody")
    registry.add(later / "model", later)
    registry.add(registries.model(root.parent / "bare", 3))
    other = registries.training(root.parent / "other", 4, user="somebody")
    registry.add(other / "model", other)
    return registry


@pytest.mark.parametrize("inside", [True, False])
def test_versions_of_a_registry_that_learned_from_the_person_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: bool
) -> None:
    theirs = packed(run)
    registry = registered((run if inside else tmp_path) / "registry", run)
    registry.promote("v1")
    before = {version.number: everything_of(version.folder) for version in registry.versions()}
    for _ in range(2):  # the second time nothing is left to erase
        erase.run(EraseConfig(user=WHO, input=run), run, None if inside else registry.root)
        text = capsys.readouterr().out
        named = {
            line.partition(f" of {registry.root}")[0].rpartition(" ")[2]: line
            for line in text.splitlines()
            if f" of {registry.root}" in line
        }
        assert {"v1", "v2"} == set(named)
        assert "champion" in named["v1"]
        assert f"was trained on {theirs} rows of theirs" in named["v1"]
        assert "was trained further from" in named["v2"]
    if not inside:
        after = {version.number: everything_of(version.folder) for version in registry.versions()}
        assert before == after
    for version in registry.versions():
        registry.verify(version)
    finished(run)
    explain.run(ExplainConfig(), run)


def everything_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_versions_are_named_when_the_run_is_gone_the_version_removed_or_its_training_unknown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = registered(tmp_path / "registry", run)
    copy = Registry(tmp_path / "copies")
    copy.add(registry.version("v1").model)
    registry.remove("v1")
    clear(run)
    erase.run(EraseConfig(user=WHO, input=run), run, registry.root)
    text = capsys.readouterr().out
    assert f"v1 of {registry.root} and removed) was trained on" in text
    erase.run(EraseConfig(user=WHO, input=run), run, copy.root)
    assert f"v1 of {copy.root}) is the same model as {run / 'train' / 'model'}" in capsys.readouterr().out
    shutil.rmtree(run)
    (run / "log").mkdir(parents=True)
    erase.run(EraseConfig(user=WHO, input=run), run, registry.root)
    text = capsys.readouterr().out
    assert f"nothing of {WHO} is left below {run}\n" in text
    assert f"v1 of {registry.root} and removed) was trained on" in text
    with pytest.raises(ConfigError, match=r"erase\.user=person-zzz: nobody of that name"):
        erase.run(EraseConfig(user="person-zzz", input=run), run, registry.root)


def test_pages_that_show_the_person_go_and_reports_are_named(run: Path) -> None:
    report = {"examples": [{"request_id": "r-00-003"}], "title": "t"}
    (run / "report.json").write_text(json.dumps(report))
    (run / "report.html").write_text("<html></html>")
    shutil.copytree(
        run / "balance", run / "elsewhere", ignore=shutil.ignore_patterns("*.parquet", "manifest.json", ".*")
    )
    other = {"kind": "echo_ray data card", "reasons": [{"examples": [{"sample_id": "r-10-003"}]}]}
    (run / "elsewhere" / "card.json").write_text(json.dumps(other))
    for place, sample in (("balance", "r-00-003"), ("elsewhere", "r-10-003")):
        (run / place / "evaluate.json").write_text(json.dumps({"examples": [{"sample_id": sample}]}))
        (run / place / "evaluate.html").write_text("<html></html>")
    plan = clear(run)
    assert not (run / "balance" / "card.html").exists()
    assert not (run / "balance" / "card.json").exists()
    assert not [*(run / "balance").glob("evaluate.*")]
    for page in ("card", "evaluate"):
        assert (run / "elsewhere" / f"{page}.html").exists()
        assert any(f"make it again with echo-ray {page}" in sentence for sentence in plan.told)
    assert any("report.html" in sentence and "1 of their samples" in sentence for sentence in plan.told)


def test_a_dry_run_changes_nothing_and_says_the_same_numbers(run: Path) -> None:
    state = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    planned = clear(run, dry_run=True)
    assert state == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = clear(run)
    assert planned.removed == done.removed
    assert {"requests": 96, "events": 36, "quarantined lines": 1} == done.removed["log"]
    assert sorted(planned.rewrite) == sorted(done.rewrite)


def finished(root: Path) -> None:
    """What must be true when an erasure is complete."""
    assert [] == holders(root, WHO)
    assert [] == [p for a in accounts.audit(folders.find(root)) for p in a.problems]
    assert not list(root.rglob("*.part"))
    assert not (root / journal.NAME).exists()


def test_cut_short_after_any_step_the_same_command_finishes(made: Path, tmp_path: Path) -> None:
    plan = erase_plan.scan(made, WHO, "salt", "2026-01-01T00:00:00Z")
    total = len(list(erase_plan.steps(plan, made)))
    expected: dict[str, bytes] | None = None
    for stop in range(0, total, 3):
        root = tmp_path / f"run{stop}"
        shutil.copytree(made, root)
        journal.write(root, erase._plain(plan))
        for number, (_, act) in enumerate(erase_plan.steps(plan, root)):
            if number == stop:
                break
            act()
        if stop % 2:  # the first half of a file that was being written
            (root / "mine" / ".part-0000.parquet.99.part").write_bytes(f"half {WHO}".encode())
        with pytest.raises(ConfigError, match="was cut short"):
            erase.run(EraseConfig(user=WHO, dry_run=True), root)
        clear(root)
        finished(root)
        state = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        state = {name: data.replace(str(root).encode(), b"") for name, data in state.items()}
        expected = expected or state
        assert expected == state
        shutil.rmtree(root)


def with_a_small_disk(run: Path, most_bytes: int) -> str:
    """What `erase` says where no file can be larger than `most_bytes`."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))\n"
        "from jobs import erase; from jobs.ledger_config import EraseConfig\n"
        "from echo_ray.errors import EchoError\n"
        "try: erase.run(EraseConfig(user=sys.argv[2]), Path(sys.argv[1]))\n"
        "except EchoError as error: print('SAID', error); sys.exit(2)"
    )
    command = [sys.executable, "-c", script, str(run), WHO, str(most_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 2 == done.returncode, done.stderr
    return done.stdout


def test_a_disk_that_is_full_is_one_sentence_and_the_same_command_finishes(run: Path) -> None:
    state = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "(File too large): nothing was changed" in with_a_small_disk(run, 2_000)
    assert state == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    large = [json.dumps({"user": user, "noise": os.urandom(200_000).hex()}) + "\n" for user in (*USERS, WHO)]
    (run / "mine" / "large.jsonl").write_text("".join(large))
    said = with_a_small_disk(run, 300_000)
    assert "large.jsonl cannot be replaced (File too large)" in said
    assert "give the same command again" in said
    assert (run / journal.NAME).exists()
    clear(run)
    finished(run)
    assert 3 == len(lines(run / "mine" / "large.jsonl"))


def test_killed_at_any_moment_the_same_command_finishes(made: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from jobs import erase; from jobs.ledger_config import EraseConfig\n"
        "print('ready', flush=True); erase.run(EraseConfig(user=sys.argv[2]), Path(sys.argv[1]))"
    )
    for round_ in range(4):
        root = tmp_path / f"run{round_}"
        shutil.copytree(made, root)
        command = [sys.executable, "-c", script, str(root), WHO]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + 60
            while (
                not (root / journal.NAME).exists() and process.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.001)
            time.sleep(0.015 * round_)
            os.kill(process.pid, signal.SIGKILL)
        clear(root)
        finished(root)


def test_an_erasure_of_somebody_else_that_was_cut_short_is_finished_first(run: Path) -> None:
    other = erase_plan.scan(run, "person-birch", "salt", "2026-01-01T00:00:00Z")
    journal.write(run, erase._plain(other))
    clear(run)
    assert [] == holders(run, WHO, "person-birch")
    assert [] == [p for a in accounts.audit(folders.find(run)) for p in a.problems]


def test_an_erasure_that_was_cut_short_shows_in_the_accounts(run: Path) -> None:
    plan = erase_plan.scan(run, WHO, "salt", "2026-01-01T00:00:00Z")
    journal.write(run, erase._plain(plan))
    for number, (_, act) in enumerate(erase_plan.steps(plan, run)):
        if number < 4:
            act()
    with pytest.raises(SchemaError, match="an erasure was cut short there"):
        explain.run(ExplainConfig(), run)


def test_everybody_can_be_erased_one_after_the_other(run: Path) -> None:
    theirs = packed(run)
    for user in USERS:
        erase.run(EraseConfig(user=user), run)
    lineage = folders.find(run)
    assert [] == [p for a in accounts.audit(lineage) for p in a.problems]
    for one in lineage.folders:
        if one.stage != "train":
            assert (0, {}) == (one.manifest.rows_out, one.manifest.drops)
            assert 4 == len(one.manifest.notes["was"])
    assert [] == holders(run, *USERS)
    again = erase_plan.scan(run, USERS[0], "s", "now")
    assert theirs == again.models[0]["rows"]


def test_a_person_who_is_nowhere_is_one_sentence(run: Path) -> None:
    with pytest.raises(ConfigError, match=f"nobody of that name below {run}; did you mean person-alder"):
        erase.run(EraseConfig(user="person-aldr"), run)
    with pytest.raises(ConfigError, match=r"erase\.user is not set: add --user PSEUDONYM"):
        erase.run(EraseConfig(), run)
    with pytest.raises(ConfigError, match=r"erase\.input=.* is no folder"):
        erase.run(EraseConfig(user=WHO, input=run / "nowhere"), run)
    with pytest.raises(ConfigError, match="sealed truth"):
        erase.run(EraseConfig(user=WHO, input=run / "simulate" / "truth"), run)


def test_a_raw_log_alone(tmp_path: Path) -> None:
    requests = ledger_runs.requests_of(("ann", "bob"))
    text = "".join(json.dumps(row) + "\n" for row in requests)
    (tmp_path / "log.jsonl").write_text(text)
    erase.run(EraseConfig(user="ann", input=tmp_path), tmp_path)
    left = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row for row in requests if row["user"] == "bob"] == left


def test_a_person_is_erased_by_the_name_that_their_editor_sends(tmp_path: Path) -> None:
    key = tmp_path / "log.key"
    pseudonym = Pseudonyms(load_key(key)).user("ann@example.com")
    log = tmp_path / "log"
    log.mkdir()
    rows = [{"record": "request", "user": user, "request_id": user} for user in (pseudonym, "other")]
    (log / "segment-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    erase.run(EraseConfig(user="ann@example.com", key_file=key, input=log), tmp_path)
    assert [rows[1]] == [json.loads(line) for line in (log / "segment-1.jsonl").read_text().splitlines()]
    with pytest.raises(ConfigError, match=r"erase\.key_file=.*is no file"):
        erase.run(EraseConfig(user="ann", key_file=tmp_path / "none", input=log), tmp_path)


def test_a_log_that_a_service_writes_is_not_touched(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path) as writer:
        writer.append({"record": "request", "user": "ann", "request_id": "r"})
        writer.flush()
        before = [path.read_bytes() for path in tmp_path.glob("*.jsonl")]
        with pytest.raises(ConfigError, match="a service that runs writes"):
            erase.run(EraseConfig(user="ann", input=tmp_path), tmp_path)
        assert before == [path.read_bytes() for path in tmp_path.glob("*.jsonl")]


def test_ids_that_two_people_share_take_nothing_from_the_other(tmp_path: Path) -> None:
    rows_ = [
        row | {"request_id": f"r{i % 48}"} for i, row in enumerate(ledger_runs.requests_of(("ann", "bob")))
    ]
    events = [
        {"record": "event", "request_id": "r3", "user": "bob", "type": "shown", "ts_ms": 1},
        {"record": "event", "request_id": "r3", "user": "ann", "type": "shown", "ts_ms": 1},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows_, *events]))
    erase.run(EraseConfig(user="ann", input=tmp_path), tmp_path)
    left = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row for row in rows_ if row["user"] == "bob"] == left[:-1]
    assert events[0] == left[-1]


def test_events_about_their_requests_under_another_name_go_too(tmp_path: Path) -> None:
    rows_ = ledger_runs.requests_of(("ann", "bob"))
    mine, other = rows_[0], next(row for row in rows_ if row["user"] == "bob")
    events = [
        {"request_id": row["request_id"], "user": "token-1", "type": "shown", "ts_ms": 1}
        for row in (mine, other)
    ]
    ledger_runs.log(tmp_path / "log", rows_, [event | {"user": "bob"} for event in events], parts=1)
    erase.run(EraseConfig(user="ann", input=tmp_path), tmp_path)
    (kept,) = pq.read_table(tmp_path / "log" / "events" / "part-0000.parquet").to_pylist()
    assert other["request_id"] == kept["request_id"]


def test_links_that_lead_elsewhere_are_told_and_not_followed(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(run / "mine", outside)
    (run / "link").symlink_to(outside)
    (run / "link.parquet").symlink_to(outside / "part-0000.parquet")
    before = {path: path.read_bytes() for path in outside.iterdir()}
    plan = clear(run)
    assert before == {path: path.read_bytes() for path in outside.iterdir()}
    assert 2 == sum("leads elsewhere" in sentence for sentence in plan.told)


def test_a_source_outside_of_the_folder_is_named(run: Path) -> None:
    plan = erase.run(EraseConfig(user=WHO, input=run / "mine"), run)
    assert any("which lies outside" in sentence for sentence in plan.told)
    assert holders(run / "log", WHO)
    assert [] == holders(run / "mine", WHO)


def test_settings_that_name_the_person_name_their_mark(run: Path) -> None:
    path = run / "select" / "manifest.json"
    value = json.loads(path.read_text())
    value["config"]["holdout_users"] = [WHO, "person-birch"]
    path.write_text(json.dumps(value))
    plan = clear(run)
    assert [f"erased:{people.mark(WHO, plan.salt)}", "person-birch"] == json.loads(path.read_text())[
        "config"
    ]["holdout_users"]


def test_foreign_logs_lose_the_lines_of_the_person_and_documents_are_named(tmp_path: Path) -> None:
    def line(user: str, number: int) -> dict[str, Any]:
        segments = {"prefix": "a = ", "suffix": "", "filepath": "a.py", "git_url": "g"}
        body = {"completion_id": f"c{number}", "language": "python", "segments": segments, "choices": []}
        return {"user": user, "ts": 1000 + number, "event": {"completion": body}}

    events = [line("real name", 1), line("other", 2), line("real name", 3)]
    (tmp_path / "2026-01-01.json").write_text("".join(json.dumps(event) + "\n" for event in events))
    pseudonym = source.pseudonym("user", "real name")
    erase.run(EraseConfig(user=pseudonym, input=tmp_path), tmp_path)
    left = [json.loads(text) for text in (tmp_path / "2026-01-01.json").read_text().splitlines()]
    assert [events[1]] == left
    entry = {
        "startedDateTime": "2026-01-01T00:00:00Z", "time": 5,
        "request": {
            "url": "http://h/infill?user=real+name", "headers": [], "method": "POST",
            "postData": {"text": json.dumps({"input_prefix": "a", "input_suffix": "b"})},
        },
        "response": {"status": 200, "content": {"text": '{"content": "x"}'}},
    }  # fmt: skip
    (tmp_path / "capture.har").write_text(json.dumps({"log": {"creator": {}, "entries": [entry]}}))
    (tmp_path / "2026-01-01.json").write_text(json.dumps(events[0]) + "\n")
    plan = erase.run(EraseConfig(user=pseudonym, input=tmp_path), tmp_path)
    assert any("capture.har" in sentence and "remove it yourself" in sentence for sentence in plan.told)


def test_a_file_that_nobody_can_read_is_told_and_stays(run: Path) -> None:
    (run / "mine" / "broken.parquet").write_bytes(b"PAR1 no")
    plan = clear(run)
    assert any("broken.parquet cannot be read" in sentence for sentence in plan.told)
    assert b"PAR1 no" == (run / "mine" / "broken.parquet").read_bytes()
