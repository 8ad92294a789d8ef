"""The ledger: the life of a request of every fate, and accounts that find every row that went astray."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import models, schema
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import accounts, folders, reasons
from echo_ray.manifest import read_manifest, write_manifest, write_table
from echo_ray.schema import Drop
from echo_ray.stages import pack
from jobs import erase, explain, explain_text, stages
from jobs.balance import balance_samples
from jobs.ledger_config import EraseConfig, ExplainConfig
from jobs.perplexity import perplexity_samples
from jobs.select import select_samples
from jobs.settings import RunConfig
from tests import ledger_runs
from tests.ledger_runs import MAIL, SECRET


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger_runs.make(tmp_path_factory.mktemp("made") / "run").root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def life(root: Path, request_id: str) -> dict[str, Any]:
    story = explain.life(folders.find(root), request_id)
    (own,) = story["lives"]
    return own


def fates(root: Path) -> dict[str | None, str]:
    """One sample id for every reason (None: trained on) of the balanced samples."""
    found: dict[str | None, str] = {}
    for path in sorted((root / "balance").glob("*.parquet")):
        table = pq.read_table(path, columns=["sample_id", "drop"])
        for sample, drop in zip(table["sample_id"].to_pylist(), table["drop"].to_pylist(), strict=True):
            found.setdefault(drop, sample)
    return found


def test_a_request_of_every_fate_is_followed_to_where_it_left(made: Path) -> None:
    every = fates(made)
    assert {drop for drop in ledger_runs.DEALT if drop} < set(every)
    for drop, sample in every.items():
        own = life(made, sample)
        stages = [step["stage"] for step in own["steps"]]
        if drop is None:
            assert [
                "log",
                "mine",
                "distil",
                "verify",
                "select",
                "perplexity",
                "balance",
                "pack",
                "train",
            ] == stages
            assert not any(step["left"] for step in own["steps"] if step["stage"] != "log")
        else:
            left = own["steps"][-1]["left"]
            assert (drop, reasons.meaning(drop)) == (left["reason"], left["meaning"])
            assert reasons.stage_of(drop) == stages[-1]
            assert all(step.get("left") is None for step in own["steps"][:-1])


def test_every_reason_has_a_meaning_and_a_stage_of_the_pipeline() -> None:
    for drop in Drop:
        assert reasons.meaning(drop.value).endswith(".")
        assert reasons.stage_of(drop.value) in folders.ORDER
    assert ("", None) == (reasons.meaning("dropped_by_hand"), reasons.stage_of("dropped_by_hand"))


def test_the_steps_say_what_the_files_say(made: Path) -> None:
    sample = fates(made)[None]
    own = life(made, sample)
    steps = {step["stage"]: step for step in own["steps"]}
    row = next(
        row
        for path in (made / "balance").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
        if row["sample_id"] == sample
    )
    packed = [
        one
        for path in (made / "pack").glob("*.parquet")
        for one in pq.read_table(path).to_pylist()
        if one["sample_id"] == sample
    ]
    commit = row["commit"].replace(SECRET, "***").replace(MAIL, "***")
    assert (commit, row["end_reason"]) == (steps["mine"]["commit"], steps["mine"]["end_reason"])
    assert row["user"] == own["user"]
    assert [cut["rule"] for cut in row["cuts"]] == [cut["rule"] for cut in steps["distil"]["candidates"]]
    chosen = [cut["text"] for cut in steps["distil"]["candidates"] if cut["chosen"]]
    assert row["target"] in chosen
    assert row["copies"] == steps["balance"]["copies"] == len(packed) == steps["pack"]["rows"]
    assert [len(packed[0]["input_ids"])] == steps["pack"]["tokens"]
    assert row["perplexity"] == steps["perplexity"]["perplexity"]
    train = read_manifest(made / "train")
    assert train is not None
    assert train.input_fingerprint == steps["train"]["made_from"] == steps["pack"]["data_set"]
    assert models.version(made / "train" / "model") == steps["train"]["version"]
    assert (len(packed), 2) == (steps["train"]["rows"], steps["train"]["epochs"])


def test_events_of_the_request_are_told_with_what_was_accepted(made: Path) -> None:
    (logged, *_) = life(made, "r-10-008")["steps"]
    told = [(event["type"], event["accepted_chars"], event["visible_ms"]) for event in logged["events"]]
    assert [("accepted", 5, None), ("shown", None, 800)] == told


def test_what_is_shown_holds_no_secret_and_no_personal_data(made: Path) -> None:
    ids = [row["request_id"] for row in ledger_runs.requests_of(ledger_runs.USERS[:1])]
    lineage = folders.find(made)
    stories = [explain.life(lineage, name) for name in ids]
    text = json.dumps(stories) + "\n".join(map(explain_text.life, stories))
    for hidden in (SECRET, SECRET[4:30], MAIL, MAIL.partition("@")[0]):
        assert hidden not in text
    assert '"***' in text.replace("\\", "")


def test_a_terminal_tells_the_same_story_in_words(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = fates(made)[Drop.NAME_UNDEFINED.value]
    explain.run(ExplainConfig(request_id=sample), made)
    text = capsys.readouterr().out
    assert f"request {sample} of person-" in text
    assert "LEFT HERE: name_undefined \N{EN DASH} the target uses a name that nothing defines." in text
    assert "dealt, by hand" in text
    explain.run(ExplainConfig(request_id=fates(made)[None]), made)
    text = capsys.readouterr().out
    assert "trained" in text
    assert "model-" in text


def test_json_is_for_machines(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain.run(ExplainConfig.model_validate({"request_id": "r-00-000", "json": True}), made)
    assert "r-00-000" == json.loads(capsys.readouterr().out)["request_id"]
    explain.run(ExplainConfig.model_validate({"json": True}), made)
    value = json.loads(capsys.readouterr().out)
    assert value["agree"]
    assert ["log", *folders.ORDER[1:7], "pack", "train"] == [item["stage"] for item in value["folders"]]


def test_an_unknown_request_is_one_sentence_with_its_neighbours(made: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"knows the request r-00-01x; near it are r-00-0\d\d and r-00-0\d\d"
    ):
        explain.run(ExplainConfig(request_id="r-00-01x"), made)
    with pytest.raises(ConfigError, match=r"explain\.input=.* is no folder"):
        explain.run(ExplainConfig(request_id="r", input=made / "nowhere"), made)


def test_missing_stages_are_not_printed(run: Path) -> None:
    sample = fates(run)[None]
    shutil.rmtree(run / "distil")
    shutil.rmtree(run / "log")
    stages = [step["stage"] for step in life(run, sample)["steps"]]
    assert ["mine", "verify", "select", "perplexity", "balance", "pack", "train"] == stages


def test_several_data_sets_and_models_are_branches(run: Path) -> None:
    sample = fates(run)[None]

    def all_dropped(table: pa.Table) -> pa.Table:
        balanced = ledger_runs.balanced(table)
        drops = [drop or Drop.LENGTH_BAND.value for drop in balanced["drop"].to_pylist()]
        place = balanced.column_names.index("drop")
        return balanced.set_column(place, schema.BALANCED.field("drop"), pa.array(drops, pa.string()))

    ledger_runs.stage("balance", run, "perplexity", all_dropped, schema.BALANCED, folder="strict")
    ledger_runs.training(run / "again", run / "pack")
    steps = life(run, sample)["steps"]
    assert 2 == sum(step["stage"] == "balance" for step in steps)
    assert {str(run / "train" / "model"), str(run / "again" / "model")} == {
        step["model"] for step in steps if step["stage"] == "train"
    }
    (strict,) = [step for step in steps if step["folder"] == str(run / "strict")]
    assert "length_band" == strict["left"]["reason"]
    text = explain_text.life(explain.life(folders.find(run), sample))
    assert f"in {run / 'strict'}" in text


def test_one_id_of_two_people_is_two_lives(tmp_path: Path) -> None:
    requests = [
        row | {"request_id": f"r{i % 48}"} for i, row in enumerate(ledger_runs.requests_of(("ann", "bob")))
    ]
    ledger_runs.log(tmp_path / "log", requests, ledger_runs.events_of(requests), parts=1)
    story = explain.life(folders.find(tmp_path), "r3")
    assert [("ann", 2), ("bob", 2)] == [
        (user, sum(own["user"] == user for own in story["lives"])) for user in ("ann", "bob")
    ]


def test_a_log_that_nobody_imported_yet_is_found_too(tmp_path: Path) -> None:
    row = ledger_runs.requests_of(("ann",))[3]
    event = {"record": "event", "request_id": row["request_id"], "user": "ann", "type": "shown", "ts_ms": 5}
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"record": "request"} | row) + "\n" + json.dumps(event) + "\n"
    )
    own = life(tmp_path, row["request_id"])
    assert ["log"] == [step["stage"] for step in own["steps"]]
    assert ["shown"] == [event["type"] for event in own["steps"][0]["events"]]


def test_held_out_people_are_measured_and_not_trained_on(run: Path) -> None:
    sample = fates(run)[None]
    ledger_runs.training(run / "held", run / "pack", heldout_share=0.999)
    (step,) = [one for one in life(run, sample)["steps"] if one["folder"] == str(run / "held")]
    assert (0, step["measured_rows"]) == (step["rows"], step["measured_rows"])
    assert step["measured_rows"] > 0
    assert "NOT on it" in explain_text.life(explain.life(folders.find(run), sample))


def test_the_accounts_of_a_whole_run_agree(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for account in accounts.audit(folders.find(made)):
        assert [] == account.problems
        if account.folder.stage not in ("log", "train"):
            counted = [
                drop
                for path in account.folder.files()
                for drop in pq.read_table(path, columns=["drop"])["drop"].drop_null().to_pylist()
            ]
            assert {drop: counted.count(drop) for drop in set(counted)} == account.folder.manifest.drops
    explain.run(ExplainConfig(), made)
    text = capsys.readouterr().out
    assert "The ledger and the manifests agree: 9 folders" in text
    assert "secret_token 32" in text


def changed(path: Path, **columns: list[Any]) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(
            place, table.schema.field(name), pa.array(values, table.schema.field(name).type)
        )
    write_table(table, path)


def test_accounts_find_a_row_that_disappeared_a_reason_that_changed_and_a_copy_that_is_missing(
    run: Path,
) -> None:
    part = run / "verify" / "part-0000.parquet"
    table = pq.read_table(part)
    write_table(table.slice(1), part)
    problems = {a.folder.stage: a.problems for a in accounts.audit(folders.find(run)) if a.problems}
    assert {"verify", "select"} == set(problems)
    with pytest.raises(SchemaError, match="the ledger and the manifests disagree in 2 of 9 folders"):
        explain.run(ExplainConfig(), run)
    drops = table["drop"].to_pylist()
    place = next(i for i, drop in enumerate(drops) if drop is not None)
    write_table(table, part)
    changed(part, drop=[None if i == place else drop for i, drop in enumerate(drops)])
    (verify, *_) = [a for a in accounts.audit(folders.find(run)) if a.folder.stage == "verify"]
    assert any("its manifest says" in problem for problem in verify.problems)
    write_table(table, part)
    packed = run / "pack" / "part-0001.parquet"
    write_table(pq.read_table(packed).slice(2), packed)
    (pack_account, *_) = [a for a in accounts.audit(folders.find(run)) if a.folder.stage == "pack"]
    assert any("packed rows" in problem for problem in pack_account.problems)


def test_a_reason_that_a_later_stage_took_back_is_a_problem(run: Path) -> None:
    part = run / "select" / "part-0000.parquet"
    drops = pq.read_table(part)["drop"].to_pylist()
    place = next(i for i, drop in enumerate(drops) if drop == Drop.PII_EMAIL.value)
    drops[place] = Drop.SELECT_GAP.value
    changed(part, drop=drops)
    manifest = read_manifest(run / "select")
    assert manifest is not None
    counts = dict(manifest.drops)
    counts[Drop.PII_EMAIL.value] -= 1
    counts[Drop.SELECT_GAP.value] += 1
    write_manifest(run / "select", replace(manifest, drops=counts))
    problems = [
        p for a in accounts.audit(folders.find(run)) if a.folder.stage == "select" for p in a.problems
    ]
    assert 1 == len(problems)
    assert "was dropped as pii_email and is now select_gap" in problems[0]


def test_a_sealed_truth_is_never_entered(run: Path) -> None:
    truth = run / "simulate" / "truth"
    shutil.copytree(run / "log", truth)
    (truth / "SEALED").write_text("no")
    assert 1 == len(folders.find(run).of("log"))
    assert (truth,) == folders.walk(run).sealed
    with pytest.raises(ConfigError, match="sealed truth"):
        explain.run(ExplainConfig(request_id="r-00-000", input=truth), run)


def test_a_run_that_moved_is_still_chained(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "elsewhere")
    for name in ("manifest.json",):
        for path in (tmp_path / "elsewhere").rglob(name):
            path.write_text(path.read_text().replace(str(made), "/gone"))
    lineage = folders.find(tmp_path / "elsewhere")
    (train,) = lineage.of("train")
    assert [*folders.ORDER[:7], "pack", "train"] == [one.stage for one in lineage.chain(train)]


def test_a_folder_of_an_older_version_tells_less_and_does_not_fail(run: Path) -> None:
    for stage, gone in (("verify", "checks"), ("distil", "cuts"), ("mine", "confidence"), ("select", "twin")):
        for path in (run / stage).glob("*.parquet"):
            table = pq.read_table(path)
            write_table(table.drop_columns([gone]), path)
    for sample in fates(run).values():
        explain_text.life(explain.life(folders.find(run), sample))


def test_the_packed_step_counts_a_sample_that_does_not_fit(run: Path) -> None:
    tight = pack.PackConfig(model=models.BASE, cutoff_len=64, context_tokens=16)

    def huge(table: pa.Table) -> pa.Table:
        place = table.column_names.index("target")
        texts = pa.array(["value " * 200] * table.num_rows, pa.large_string())
        return pack.pack(table.set_column(place, schema.BALANCED.field("target"), texts), tight)

    ledger_runs.stage("pack", run, "balance", huge, pack.PACKED, folder="tight")
    steps = life(run, fates(run)[None])["steps"]
    (step,) = [one for one in steps if one["folder"] == str(run / "tight")]
    assert "no_room" == step["left"]["reason"]
    assert [] == [p for a in accounts.audit(folders.find(run)) for p in a.problems]


@pytest.mark.ray
def test_the_real_pipeline_leaves_a_ledger_that_agrees_also_when_a_person_was_erased_and_it_ran_again(
    tmp_path: Path, cluster: None
) -> None:
    config = RunConfig.model_validate({"perplexity": {"backend": "none"}})
    requests = ledger_runs.requests_of(ledger_runs.USERS)
    ledger_runs.log(tmp_path / "log", requests, ledger_runs.events_of(requests))

    def pipeline() -> None:
        source = tmp_path / "log"
        for name, stage in (
            ("mine", stages.mine_log),
            ("distil", stages.distil_samples),
            ("verify", stages.verify_samples),
            ("select", select_samples),
            ("perplexity", perplexity_samples),
            ("balance", balance_samples),
            ("pack", stages.pack_samples),
        ):
            stage(config, source, tmp_path / name)
            source = tmp_path / name

    def agree() -> list[accounts.Account]:
        found = accounts.audit(folders.find(tmp_path))
        assert [] == [problem for account in found for problem in account.problems]
        assert [*folders.ORDER[:7], "pack"] == [account.folder.stage for account in found]
        return found

    pipeline()
    before = agree()
    for row in requests[::37]:
        assert life(tmp_path, row["request_id"])["steps"]
    erase.run(EraseConfig(user="person-birch"), tmp_path)
    erased = agree()
    pipeline()
    again = agree()
    assert [len(requests), *2 * [len(requests) * 3 // 4]] == [
        found[1].rows for found in (before, erased, again)
    ]
    for account in again:
        for path in account.folder.files():
            assert "person-birch" not in pq.read_table(path, columns=["user"])["user"].to_pylist()
