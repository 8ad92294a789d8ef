"""The command line as a person meets it: help, shipped settings, mistakes."""

import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import config
from jobs.__main__ import VERBS, demo_file, main, manual, named
from jobs.settings import RunConfig
from tests.tiny import write_tokenizer

CONFIGS = sorted(Path(__file__).parent.parent.glob("configs/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config.load(RunConfig, path)


def test_the_demo_configuration_is_where_the_verb_looks_for_it() -> None:
    assert demo_file() in [path.resolve() for path in CONFIGS]


def test_every_setting_is_described_and_belongs_to_a_verb() -> None:
    sections = {section for verb in VERBS.values() for section in verb.sections}
    for key, _, _, text in config.fields(RunConfig):
        assert text, f"{key} has no description"
        assert key.split(".")[0] in sections, f"no verb reads {key}"


@pytest.mark.parametrize("name", list(VERBS))
def test_help_of_a_verb_lists_its_settings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main([name, "--help"])
    printed = capsys.readouterr().out
    assert manual(name, VERBS[name]) in printed
    for section in VERBS[name].sections:
        assert f"  {section}." in printed


def test_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in VERBS)


@pytest.fixture
def log_without_a_request(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").write_text("not json\n[1]\n")
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mien"], "did you mean mine?"),
        (["mine"], "mine.input is not set"),
        (["mine", "mine.input={tmp}/none", "mine.output={tmp}/out"], "mine.input={tmp}/none does not exist"),
        (["mine", "mine.input={tmp}", "mine.output={tmp}-out"], "mine.input={tmp} holds no log file"),
        (["mine", "mine.inptu=x"], "did you mean mine.input?"),
        (["loop", "{tmp}/none.yaml"], "none.yaml does not exist"),
        (["loop", "a.yaml", "b.yaml"], "two configuration files"),
        (["mine", "--fast"], "unknown option --fast"),
        (["train", "train.input={tmp}", "train.output={tmp}-out"], "holds no Parquet file"),
        (["serve", "serve.model={tmp}"], "change serve.model"),
        (["loop", "run.output={tmp}/out", "simulate.sources=[nosuchpackage]"], "simulate.sources"),
        (["demo", "run.output={tmp}/out", "cluster.min_memory_gb=100000"], "lower cluster.min_memory_gb"),
        (["pretrain", "pretrain.sources=[{tmp}/no]", "pretrain.output={tmp}/out"], "pretrain.sources"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main([word.format(tmp=tmp_path) for word in words])
    captured = capsys.readouterr()
    assert sentence.format(tmp=tmp_path) in captured.err
    assert 1 == captured.err.count("\n")
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_a_folder_with_somebody_elses_files_is_never_emptied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: None
) -> None:
    log, taken = tmp_path / "log", tmp_path / "taken"
    log.mkdir()
    taken.mkdir()
    (log / "a.jsonl").write_text('{"request_id": "r"}')
    (taken / "part-0000.parquet").write_bytes(b"mine, not yours")
    for words in (
        ["mine", f"mine.input={log}", f"mine.output={taken}"],
        ["import", f"import.input={log}", f"import.output={taken}"],
        ["mine", f"mine.input={log}", f"mine.output={log}"],
        ["mine", f"mine.input={log}", f"mine.output={log / 'out'}"],
    ):
        assert 2 == main(words)
        assert 1 == capsys.readouterr().err.count("\n")
    assert [b"mine, not yours"] == [path.read_bytes() for path in taken.iterdir()]
    assert ["a.jsonl"] == [path.name for path in log.iterdir()]


@pytest.mark.ray
def test_a_malformed_log_is_one_sentence_and_leaves_nothing(
    log_without_a_request: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: None
) -> None:
    words = ["mine", f"mine.input={log_without_a_request}", f"mine.output={tmp_path / 'out'}"]
    assert 2 == main(words)
    captured = capsys.readouterr()
    assert "holds no valid request: 2 lines refused, the first in a.jsonl:1: not JSON" in captured.err
    assert not (tmp_path / "out").exists()


def test_a_busy_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert 2 == main(["serve", f"serve.port={port}"])
    captured = capsys.readouterr()
    assert f"port {port} is busy" in captured.err
    assert "change serve.port" in captured.err
    assert 1 == captured.err.count("\n")


@pytest.mark.parametrize("verb", ["serve", "loop"])
def test_a_model_without_fim_tokens_is_one_sentence(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    write_tokenizer(model, sentinels=("<s>",))
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (model / "model.safetensors").write_bytes(b"")
    words = [verb, f"serve.model={model}", f"run.output={tmp_path / 'out'}"]
    assert 2 == main([*words, "simulate.sources=[json]"])
    captured = capsys.readouterr()
    assert "no known fill-in-the-middle tokens" in captured.err
    assert "change serve.model" in captured.err
    assert 1 == captured.err.count("\n")
    assert not (tmp_path / "out").exists()


def test_nobody_has_to_read_to_the_end() -> None:
    command = [sys.executable, "-m", "jobs", "loop", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"" == process.stderr.read()
        assert 141 == process.wait(60)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["007", "explain.json=true"], {"explain.request_id": "007"}),
        (["run.yaml", "a/b"], {"explain.request_id": "a/b"}),
        ([], {}),
    ],
)
def test_a_plain_word_is_the_request_to_explain(words: list[str], given: dict[str, str]) -> None:
    left, found = named(VERBS["explain"], words)
    assert given == found
    assert [word for word in words if word not in given.values()] == left


@pytest.mark.parametrize("words", [["--user", "ann"], ["--user=ann"]])
def test_a_person_to_erase_may_be_named_by_an_option(words: list[str]) -> None:
    assert ([], {"erase.user": "ann"}) == named(VERBS["erase"], words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["erase", "--user"], "--user needs a value"),
        (["erase", "--usr", "ann"], "unknown option --usr"),
        (["explain", "one", "two"], "two of explain.request_id, one and two"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(words)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        ("distil", "commit, prefix, suffix"),
        ("verify", "prefix, suffix, target"),
        ("train", "copies, prefix, suffix, target"),
    ],
)
def test_samples_without_their_columns_are_one_sentence_before_anything_starts(
    verb: str, missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"sample_id": ["1"]}), tmp_path / "in" / "a.parquet")
    words = [verb, f"{verb}.input={tmp_path / 'in'}", f"{verb}.output={tmp_path / 'out'}"]
    assert 2 == main([*words, "cluster.min_memory_gb=100000"])  # Ray would not start
    assert f"a.parquet lacks the columns {missing}\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
