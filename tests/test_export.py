"""Exports: their text gives the ids that `pack` makes, with the tokenizer itself, special tokens parsed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import models, prompts, schema
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import accounts, folders
from echo_ray.manifest import read_manifest, write_table
from echo_ray.schema import Drop
from echo_ray.stages.pack import PackConfig, encode
from jobs import export
from jobs.export_prompts import EDGE_TOKENS, Left, Renderer, Text
from jobs.ledger_config import ExportConfig
from tests import ledger_runs, tiny

FORMATS = ("hf", "axolotl", "llamafactory")
FAMILIES = [family.name for family in prompts.FAMILIES if not tiny.SPACES.get(family.name)]
NASTY = st.text(st.sampled_from("ab \n\té漢🙂(){}=_.") | st.characters(codec="utf-8"), max_size=300)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger_runs.make(tmp_path_factory.mktemp("made") / "run").root


def exported(run: Path, output: Path, form: str, **changes: Any) -> list[dict[str, Any]]:
    config = ExportConfig.model_validate(
        {"input": run / "balance", "output": output, "format": form} | changes
    )
    export.run(config, PackConfig())
    return records(output)


def records(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted((output / "data").iterdir()):
        if path.suffix == ".parquet":
            found += pq.read_table(path).to_pylist()
        else:
            found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def parts(record: dict[str, Any], form: str) -> tuple[str, str]:
    if form == "hf":
        return record["prompt"], record["completion"]
    if form == "axolotl":
        before, after = record["segments"]
        assert (False, True) == (before["label"], after["label"])
        return before["text"], after["text"]
    assert "" == record["input"]
    return record["instruction"], record["output"]


def packed(run: Path) -> list[tuple[str, list[int], int]]:
    rows = [
        row for path in sorted((run / "pack").glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    return [(row["sample_id"], row["input_ids"], row["prompt_tokens"]) for row in rows if row["drop"] is None]


def transformers_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("files", ["jsonl", "parquet"])
def test_the_text_of_every_record_gives_the_ids_of_pack(
    form: str, files: str, run: Path, tmp_path: Path
) -> None:
    tokenizer = transformers_tokenizer(models.BASE)
    rows = exported(run, tmp_path / "out", form, files=files)
    expected = packed(run)
    assert len(expected) == len(rows)
    for (sample, ids, prompt), record in zip(expected, rows, strict=True):
        before, after = parts(record, form)
        assert sample == record["sample_id"]
        assert ids[:prompt] == tokenizer(before, add_special_tokens=False)["input_ids"]
        assert ids[prompt:] == tokenizer(after, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer(before + after, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module", params=FAMILIES)
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """A small vocabulary, whose merges are cut often, with the sentinels of a known family."""
    folder = tiny.write_family(tmp_path_factory.mktemp("tokenizer"), request.param)
    return Renderer(folder, PackConfig(cutoff_len=160, context_tokens=128))


@pytest.mark.parametrize("name", sorted(name for name, before in tiny.SPACES.items() if before))
def test_a_tokenizer_that_puts_spaces_before_texts_is_refused(name: str, tmp_path: Path) -> None:
    tiny.write_family(tmp_path, name)
    with pytest.raises(SchemaError, match=r"puts a space before every text.*change export\.model$"):
        Renderer(tmp_path, PackConfig())


@settings(max_examples=150, deadline=None)
@given(prefix=NASTY, suffix=NASTY, target=NASTY)
def test_any_text_is_exact_or_says_why_not(renderer: Renderer, prefix: str, suffix: str, target: str) -> None:
    check(renderer, prefix * 4, suffix * 2, target[:40])


def check(renderer: Renderer, prefix: str, suffix: str, target: str) -> Text | Left:
    text = renderer.render(prefix, suffix, target)
    wanted = encode(prefix, suffix, target, renderer.tokenizer, renderer.template, renderer._config)
    if text is Left.NO_ROOM:
        assert wanted is Drop.NO_ROOM
        return text
    assert not isinstance(wanted, Drop)
    ids, size = wanted
    if isinstance(text, Left):
        return text
    assert target == text.target
    assert ids[size:] == renderer.ids(text.target + renderer.end)
    found = renderer.ids(text.prompt)
    if not text.moved:
        assert ids[:size] == found
        return text
    # Only tokens far from the cursor are gone: at the start of the prefix, at the end of the suffix.
    assert 0 < size - len(found) <= 2 * EDGE_TOKENS
    (left, right), (all_left, all_right) = windows(renderer, found), windows(renderer, ids[:size])
    assert all_left[len(all_left) - len(left) :] == left
    assert all_right[: len(right)] == right
    return text


def windows(renderer: Renderer, ids: list[int]) -> tuple[list[int], list[int]]:
    """(prefix, suffix) ids of a prompt with a middle sentinel."""
    template = renderer.template
    first, second = ids.index(template.prefix), ids.index(template.suffix)
    if first < second:
        return ids[first + 1 : second], ids[second + 1 : -1]
    return ids[first + 1 : -1], ids[second + 1 : first]


def test_a_window_that_was_cut_inside_a_character_moves_its_edge(renderer: Renderer) -> None:
    found = [check(renderer, "漢字" * 50 + "x" * k, "é" * 60, "return") for k in range(12)]
    assert all(isinstance(text, Text) for text in found)
    assert any(text.moved for text in found if isinstance(text, Text))


def test_a_sentinel_in_somebodys_code_is_left_out_and_never_becomes_a_command(renderer: Renderer) -> None:
    assert renderer.template.middle is not None
    mark = renderer.sentinels[renderer.template.middle]
    assert Left.NOT_TEXT is renderer.render(f"text = '{mark}'\n", "", "x = 1")
    assert Left.NOT_TEXT is renderer.render("", f"\n# {renderer.end}", "x = 1")
    assert Left.NOT_TEXT is renderer.render("a = ", "", renderer.end)
    assert isinstance(renderer.render("a = ", "", "1"), Text)


def test_copies_are_honoured_and_dropped_rows_are_counted(run: Path, tmp_path: Path) -> None:
    rows = exported(run, tmp_path / "out", "hf")
    balanced = [r for p in sorted((run / "balance").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]
    expected = [row["sample_id"] for row in balanced for _ in range(row["copies"])]
    assert expected == [row["sample_id"] for row in rows]
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert {"dropped": sum(row["drop"] is not None for row in balanced)} == manifest.notes["left_out"]
    assert (len(balanced), len(rows)) == (manifest.rows_in, manifest.rows_out)
    assert len({row["owner"] for row in rows}) == len({row["user"] for row in balanced if row["copies"]})
    assert not any(user in json.dumps([row["owner"] for row in rows]) for user in ledger_runs.USERS)


def test_samples_that_do_not_fit_or_are_no_text_are_counted(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "run" / "balance"
    shutil.copytree(run, tmp_path / "run")
    path = source / "part-0000.parquet"
    table = pq.read_table(path)
    kept = [i for i, copies in enumerate(table["copies"].to_pylist()) if copies]
    targets = table["target"].to_pylist()
    targets[kept[0]], targets[kept[1]] = "value " * 3000, "x = '<|fim_middle|>'"
    place = table.column_names.index("target")
    write_table(table.set_column(place, "target", pa.array(targets, pa.large_string())), path)
    rows = exported(tmp_path / "run", tmp_path / "out", "axolotl")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert (1, 1) == (manifest.notes["left_out"]["no_room"], manifest.notes["left_out"]["not_text"])
    gone = {table["sample_id"][i].as_py() for i in kept[:2]}
    assert not gone & {row["sample_id"] for row in rows}
    assert "1 no_room; 1 not_text" in (tmp_path / "out" / "README.md").read_text()


def state(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_equal_input_gives_equal_bytes_and_a_finished_export_is_not_made_again(
    run: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        exported(run, tmp_path / name, "llamafactory")
    first, second = state(tmp_path / "one"), state(tmp_path / "two")
    assert {k: v for k, v in first.items() if k != "manifest.json"} == {
        k: v for k, v in second.items() if k != "manifest.json"
    }
    exported(run, tmp_path / "one", "llamafactory")
    assert first == state(tmp_path / "one")


def test_a_cut_short_export_goes_on_with_the_missing_shards(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    exported(run, output, "hf")
    whole = state(output)
    (output / "manifest.json").unlink()
    (output / ".counts").mkdir()
    kept = output / "data" / "part-0000.jsonl"
    half = (output / "data" / "part-0001.jsonl").read_bytes()[:500]
    (output / "data" / ".part-0001.jsonl.part").write_bytes(half)
    (output / "data" / "part-0001.jsonl").unlink()
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    samples = len({row["sample_id"] for row in rows})
    table = pq.read_table(run / "balance" / "part-0000.parquet", columns=["copies"])
    dropped = table["copies"].to_pylist().count(0)
    renderer = Renderer(models.BASE, PackConfig(model=models.BASE))
    sizes = [len(renderer.ids(row["prompt"] + row["completion"])) for row in rows]
    counts = {"rows": table.num_rows, "records": len(rows), "samples": samples, "dropped": dropped}
    counts |= {"edge_moved": 0, "tokens": sum(sizes), "longest": max(sizes)}
    (output / ".counts" / "part-0000.json").write_text(json.dumps(counts))
    before = kept.stat().st_mtime_ns
    exported(run, output, "hf")
    assert before == kept.stat().st_mtime_ns
    again = state(output)
    for name in whole.keys() - {"manifest.json"}:
        assert whole[name] == again[name], name
    old, new = json.loads(whole["manifest.json"]), json.loads(again["manifest.json"])
    assert old | {"seconds": 0} == new | {"seconds": 0}


def test_other_settings_replace_what_lay_there(run: Path, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", "axolotl", files="parquet")
    exported(run, tmp_path / "out", "hf")
    assert {"README.md", ".running", "manifest.json", "data/part-0000.jsonl", "data/part-0001.jsonl"} == set(
        state(tmp_path / "out")
    )


def test_companion_files_say_what_the_trainers_need(run: Path, tmp_path: Path) -> None:
    exported(run, tmp_path / "axolotl", "axolotl")
    config = yaml.safe_load((tmp_path / "axolotl" / "axolotl.yaml").read_text())
    assert ("input_output", False) == (config["datasets"][0]["type"], config["train_on_inputs"])
    exported(run, tmp_path / "llama", "llamafactory")
    info = json.loads((tmp_path / "llama" / "dataset_info.json").read_text())
    assert {"prompt": "instruction", "query": "input", "response": "output"} == info["echo"]["columns"]
    assert (tmp_path / "llama" / info["echo"]["file_name"]).is_dir()
    settings_ = yaml.safe_load((tmp_path / "llama" / "llamafactory.yaml").read_text())
    assert ("empty", "echo") == (settings_["template"], settings_["dataset"])
    longest = max(len(ids) for _, ids, _ in packed(run))
    assert min(config["sequence_len"], settings_["cutoff_len"]) >= longest
    for name in ("axolotl", "llama"):
        text = (tmp_path / name / "README.md").read_text()
        assert "echo-ray explain" in text
        assert "READER" not in text
    exported(run, tmp_path / "hf", "hf")
    assert 'load_dataset("json", data_files="data/*.jsonl"' in (tmp_path / "hf" / "README.md").read_text()


def test_a_tokenizer_that_begins_every_text_with_a_token_is_told_about(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tiny.write_tokenizer(tmp_path)
    core = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    end = core.token_to_id(prompts.OWN_END)
    core.post_processor = TemplateProcessing(
        single=f"{prompts.OWN_END} $A", special_tokens=[(prompts.OWN_END, end)]
    )
    core.save(str(tmp_path / "tokenizer.json"))
    assert [end] == Renderer(tmp_path, PackConfig()).begins
    assert [] == Renderer(models.BASE, PackConfig()).begins


def test_exports_are_in_the_accounts(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    exported(tmp_path / "run", tmp_path / "run" / "export", "hf")
    lineage = folders.find(tmp_path / "run")
    assert "balance" == lineage.chain(lineage.of("export")[0])[-2].stage
    assert [] == [p for a in accounts.audit(lineage) for p in a.problems]
    path = tmp_path / "run" / "export" / "data" / "part-0000.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    (found,) = [a for a in accounts.audit(lineage) if a.problems]
    assert "export" == found.folder.stage


def test_what_cannot_be_exported_is_one_sentence(run: Path, tmp_path: Path) -> None:
    pack = PackConfig()
    with pytest.raises(ConfigError, match=r"export\.output is not set"):
        export.run(ExportConfig(input=run / "balance"), pack)
    with pytest.raises(ConfigError, match="does not exist"):
        export.run(ExportConfig(input=run / "nowhere", output=tmp_path / "o"), pack)
    with pytest.raises(SchemaError, match="lacks the columns copies: export needs balanced samples"):
        export.run(ExportConfig(input=run / "verify", output=tmp_path / "o"), pack)
    with pytest.raises(ConfigError, match=r"change export\.model"):
        export.run(ExportConfig(input=run / "balance", output=tmp_path / "o", model=tmp_path / "no"), pack)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that no stage wrote"):
        export.run(ExportConfig(input=run / "balance", output=tmp_path / "mine"), pack)


def test_an_empty_shard_is_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_table(schema.BALANCED.empty_table(), tmp_path / "in" / "part-0000.parquet")
    for files in ("jsonl", "parquet"):
        config = ExportConfig.model_validate(
            {"input": tmp_path / "in", "output": tmp_path / files, "files": files}
        )
        assert 0 == export.run(config, PackConfig()).rows_out
        assert [] == records(tmp_path / files)
