"""`echo-ray models` as a person meets it: what it prints, what machines read, mistakes in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from echo_ray.errors import ConfigError, SchemaError
from echo_ray.manifest import MARKER
from echo_ray.registry import Registry
from jobs.__main__ import VERBS, main, named
from jobs.evaluate_scores import figures
from jobs.models import figures_of
from jobs.models_config import ModelsConfig
from jobs.models_text import table
from jobs.report import plain
from tests import registries


class Typed:
    """A shell with one registry."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys

    def __call__(self, *words: object) -> str:
        """What is printed; the command must succeed."""
        assert 0 == main(["models", *map(str, words), f"models.registry={self.root}"])
        return self.capsys.readouterr().out

    def value(self, *words: object) -> Any:
        """The same as JSON."""
        return json.loads(self(*words, "models.format=json"))

    def refused(self, *words: object) -> str:
        """The one sentence of a command that must fail."""
        assert 2 == main(["models", *map(str, words), f"models.registry={self.root}"])
        captured = self.capsys.readouterr()
        assert "" == captured.out
        assert 1 == captured.err.count("\n")
        assert "Traceback" not in captured.err
        return captured.err


@pytest.fixture
def models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(tmp_path / "registry", capsys)


@pytest.fixture
def filled(models: Typed, tmp_path: Path) -> Typed:
    """A base (v1), a training from it (v2), and another one (v3)."""
    base = models.value("add", registries.model(tmp_path / "base", 0))
    models("add", registries.training(tmp_path / "a", 1, f"base-{base['content']}"))
    models("add", registries.training(tmp_path / "b", 2))
    return models


def test_a_newcomer_is_told_how_to_begin(models: Typed, tmp_path: Path) -> None:
    assert "registry holds no model yet: echo-ray models add FOLDER adds one" in models()
    assert {"registry": str(models.root), "versions": [], "removed": []} == models.value("list")
    for words in (["show", "v1"], ["promote", "v1"], ["rollback"], ["unset"], ["verify"], ["remove", "v1"]):
        assert "is no registry yet: echo-ray models add FOLDER makes one" in models.refused(*words)
    assert not models.root.exists()
    said = models("add", registries.training(tmp_path / "train", 1))
    assert "v1 is" in said
    assert "echo-ray models promote v1 makes it the champion" in said


@pytest.mark.parametrize("word", ["train", "train/model"])
def test_a_training_is_added_by_its_folder_or_by_its_model(models: Typed, tmp_path: Path, word: str) -> None:
    registries.training(tmp_path / "train", 1)
    added = models.value("add", tmp_path / word)
    assert ("v1", "data1", "run1", True) == tuple(
        added[key] for key in ("version", "data", "training", "new")
    )
    assert {"steps": 7, "first_loss": 3.5, "last_loss": 2.25, "heldout_loss": 2.5} == added["metrics"]
    assert "v1 has the same content already" in models("add", tmp_path / word)


def test_list_is_a_table(filled: Typed) -> None:
    filled("promote", "v2")
    filled("promote", "v3", "challenger")
    head, *rows = filled("list").splitlines()
    assert [
        "version",
        "aliases",
        "added",
        "(UTC)",
        "from",
        "data",
        "loss",
        "held",
        "out",
        "size",
        "prompt",
    ] == (head.split())
    assert ["v1", "v2", "v3"] == [row.split()[0] for row in rows]
    assert ["v2", "champion", "v1", "data1", "2.25", "2.5"] == [
        word for place, word in enumerate(rows[1].split()) if place in (0, 1, 4, 5, 6, 7)
    ]
    assert rows[2].split()[1] == "challenger"
    assert 1 == len({row.rindex(" echo") for row in (*rows, head.replace("prompt", "echo"))})
    filled("remove", "v1")
    assert "removed: v1" == filled().splitlines()[-1]


def test_the_table_leaves_out_empty_columns_and_aligns() -> None:
    assert "a   cc\nbb   1" == table(("a", "x", "cc"), [("bb", "", "1")], right=(2,))


def test_promote_rollback_unset_and_remove_say_where_things_are(filled: Typed) -> None:
    two = filled.root / "versions" / "v0002" / "model"
    assert f"models     champion is v2 now: {two}\n" == filled("promote", "v2")
    assert f"models     champion is v2 already: {two}\n" == filled("promote", "champion")
    assert "champion is v3 now (it was v2)" in filled("promote", "v3", "models.note=better by two points")
    assert f"models     champion is v2 now (it was v3): {two}\n" == filled("rollback", "models.version=v3")
    assert "not to models.version=v3: nothing was rolled back" in filled.refused(
        "rollback", "models.version=v3"
    )
    assert "challenger is v3 now" in filled("promote", "v3", "challenger")
    assert "challenger points nowhere now (it was v3)" in filled("unset", "challenger")
    assert "v3 is removed" in filled("remove", "v3")
    text = filled("show", "v3")
    assert text.startswith("v3 (removed)\n")
    for line in (
        "champion from v2 to v3",
        "better by two points",
        "champion back from v3 to v2",
        "to nothing",
    ):
        assert line in text
    assert {"champion": 2} == Registry(filled.root).aliases()


def test_show_tells_everything_to_people_and_machines(filled: Typed, tmp_path: Path) -> None:
    text = filled("show", "v2")
    for part in (
        "lineage    v1 -> v2",
        "data1 (9 rows)",
        "run1, test",
        "heldout_loss 2.5",
        "lr 0.1, epochs 2",
    ):
        assert part in text
    assert f"card       {filled.root / 'versions' / 'v0002' / 'model' / 'README.md'}" in text
    assert "lineage    base-0000000000 (not in this registry) -> v3" in filled("show", "v3")
    assert "lineage    none known" in filled("show", "v1")
    value = filled.value("show", "v2")
    assert set(registries.FILES) | {"README.md"} == set(value["files"])
    assert ["v1", "v2"] == [one["version"] for one in value["lineage"]]
    assert {"lr": 0.1, "epochs": 2} == value["settings"]


def test_verify_names_what_has_changed(filled: Typed) -> None:
    assert "every byte is as it was added: v1, v2, v3" in filled("verify")
    for number in ("v0001", "v0003"):
        path = filled.root / "versions" / number / "model" / "config.json"
        path.chmod(0o644)
        path.write_text("{}")
    said = filled.refused("verify")
    assert "@v1 has changed since" in said
    assert "other bytes in config.json" in said
    assert "and 1 more version that is not what was added" in said
    assert "every byte" in filled("verify", "v2")
    assert "@v3 has changed" in filled.refused("promote", "v3")
    assert "champion is v3 now" in filled("promote", "v3", "models.verify=false")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["premote", "v1"],
            "is not one of list, show, add, promote, rollback, unset, attach, verify, remove; did",
        ),
        (["models.action=premote"], "models.action = 'premote' is refused: Input should be 'list', 'show'"),
        (["list", "v1"], "'v1' is one word too many: list takes no further word"),
        (["promote", "v1", "champion", "now"], "'now' is one word too many: promote takes VERSION ALIAS"),
        (["show"], "models.version is not set: echo-ray models show VERSION, of v1, v2, v3"),
        (["show", "v9"], "models.version=v9 is not in"),
        (["promote", "challenger"], "models.version=challenger is not in"),
        (["promote", "v1", "V-1"], "models.alias=V-1 is no alias: champion, challenger, or another word"),
        (["promote", "champion", "v1"], "models.alias=v1 would be taken for a version"),
        (["rollback"], "models.alias=champion points nowhere"),
        (["rollback", "v1"], "models.alias=v1 would be taken for a version"),
        (["add"], "models.folder is not set: echo-ray models add FOLDER"),
        (["add", "{tmp}/none"], "models.folder={tmp}/none is no folder"),
        (["add", "{tmp}"], "has no config.json, so it is not a Hugging Face model: change models.folder"),
        (["add", "{tmp}/short"], "models.folder={tmp}/short is a training that was cut short"),
        (["attach", "v1"], "models.figures is not set: echo-ray models attach VERSION evaluate.json"),
        (["attach", "v1", "{tmp}/none"], "models.figures={tmp}/none cannot be read"),
        (["remove", "v7"], "models.version=v7 is not in"),
        (["--force"], "unknown option --force"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    filled: Typed, tmp_path: Path, words: list[str], sentence: str
) -> None:
    registries.model(tmp_path / "short" / "model", 5)
    (tmp_path / "short" / MARKER).write_text("mark")
    before = {path: path.read_bytes() for path in filled.root.rglob("*") if path.is_file()}
    assert sentence.format(tmp=tmp_path) in filled.refused(*(word.format(tmp=tmp_path) for word in words))
    after = {path: path.read_bytes() for path in filled.root.rglob("*") if path.is_file()}
    assert before == after


def test_a_registry_that_cannot_be_read_is_one_sentence(filled: Typed) -> None:
    (filled.root / "versions" / "v0002" / "version.json").unlink()
    (filled.root / "versions" / "v0002" / "version.json").write_text('{"number": 2}')
    assert "version.json is no record of a version" in filled.refused("list")
    assert Registry(filled.root).version("v1").model.is_dir()


def evaluated(labels: dict[str, str]) -> dict[str, Any]:
    """An `evaluate.json` about models by label, with their content; its figures by the real rules."""
    rows = [
        {
            "model": label,
            "sample_id": str(number),
            "user": f"u{number % 3}",
            "language": "python",
            "prefix": "",
            "suffix": "",
            "target": "return a",
            "answer": "return a" if number <= place else "pass",
        }
        for place, label in enumerate(labels)
        for number in range(4)
    ]
    found = figures(rows, resamples=100)
    models = [{"label": label, "content": content, "reference": "x"} for label, content in labels.items()]
    told = {"version": "0", "input": "in", "input_fingerprint": "f1f2", "rows": 4, "settings": {}}
    return told | {"models": models, "groups": found["groups"], "examples": ["code of somebody"]}


def test_figures_of_evaluate_are_found_by_content(filled: Typed, tmp_path: Path) -> None:
    content = {one["version"]: one["content"] for one in filled.value("list")["versions"]}
    value = evaluated({"base": content["v1"], "model": content["v2"]})
    (tmp_path / "evaluate.json").write_text(json.dumps(plain(value)))
    assert "v2 has 1 set of figures" in filled("attach", "v2", tmp_path)
    assert "v2 has 1 set of figures" in filled("attach", "v2", tmp_path / "evaluate.json")
    text = filled("show", "v2")
    assert "measured   all: 4 samples of 3 users of f1f2\n             exact_match 0.5" in text
    assert "python: 4 samples" in text
    shown = filled.value("show", "v2")
    assert (0.5, content["v1"]) == (shown["measured"]["exact_match"], shown["figures"][0]["against"])
    assert "code of somebody" not in json.dumps(shown)
    head, _, row, *_ = filled().splitlines()
    assert "0.5" == row[head.index("exact") : head.index("exact") + 5].strip()
    assert "measures no model with the content" in filled.refused("attach", "v3", tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": 3}', '{"models": [3]}', "\udcff"])
def test_a_file_without_figures_is_one_sentence(filled: Typed, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    version = Registry(filled.root).version("v1")
    with pytest.raises(SchemaError, match=r"x\.json holds no figures of echo-ray evaluate"):
        figures_of(version, tmp_path / "x.json")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        figures_of(version, tmp_path / "y.json")


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["promote", "v3", "challenger"], {"version": "v3", "alias": "challenger"}),
        (["rollback", "challenger"], {"alias": "challenger"}),
        (["add", "runs/a", "models.note=x=y"], {"folder": "runs/a"}),
        (["mine.yaml", "show", "v1"], {"version": "v1"}),
    ],
)
def test_words_after_the_action_mean_what_it_takes(words: list[str], given: dict[str, str]) -> None:
    action = next(word for word in words if not word.endswith(".yaml"))
    expected = {"models.action": action} | {f"models.{key}": value for key, value in given.items()}
    assert expected == named(VERBS["models"], words)[1]


def test_every_action_has_its_words() -> None:
    annotation = ModelsConfig.model_fields["action"].annotation
    assert set(VERBS["models"].after) == set(annotation.__args__)
