"""The model registry: what it promises, against a simple model of it, killed, crowded, and without room."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from echo_ray import models
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import people
from echo_ray.registry import Registry, register_training, resolve
from echo_ray.registry.files import check_weights
from echo_ray.registry.journal import HISTORY
from tests import registries, tiny


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registries.registry(tmp_path)


@pytest.mark.parametrize("name", ["model", "m\u00f6del with blanks", "a@v1"])
def test_a_version_holds_the_files_unchanged_and_is_named_by_them(tmp_path: Path, name: str) -> None:
    folder = registries.model(tmp_path / name, 5)
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "optimizer.pt").write_bytes(b"big")
    (folder / ".cache").write_text("x")
    version = Registry(tmp_path / "registry").add(folder, note="because")
    wanted = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."
    }
    assert wanted == {path.name: path.read_bytes() for path in version.model.iterdir()}
    assert models.version(folder).endswith(f"-{version.content}")
    assert f"model-{version.content}" == models.version(version.model)
    assert (1, "v1", "echo", "because") == (version.number, version.name, version.family, version.note)
    assert sum(map(len, wanted.values())) == version.bytes
    assert version == Registry(tmp_path / "registry").version("v1")


def test_files_are_read_only_and_shared_as_the_registry_is(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    root.mkdir(mode=0o750)
    root.chmod(0o750)
    version = Registry(root).add(registries.model(tmp_path / "model"))
    for path in version.folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert (
            0o750 if path.is_dir() else stat.S_IMODE((root / "registry.json").stat().st_mode) & 0o444
        ) == mode


def test_weights_of_a_training_are_linked_and_everything_else_is_copied(tmp_path: Path) -> None:
    output = registries.training(tmp_path / "train", 1)
    version = register_training(tmp_path / "registry", output)
    for path in version.model.iterdir():
        same = path.samefile(output / "model" / path.name)
        assert (path.suffix == ".safetensors") == same, path.name
    (output / "model" / "README.md").write_text("other")
    other = Registry(tmp_path / "registry").add(registries.model(tmp_path / "model", 2))
    assert not any(path.samefile(tmp_path / "model" / path.name) for path in other.model.iterdir())
    Registry(tmp_path / "registry").verify(version)


def test_a_training_tells_its_data_losses_people_and_parents(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    base = Registry(root).add(registries.model(tmp_path / "base", 0))
    first = register_training(root, registries.training(tmp_path / "a", 1, f"base-{base.content}"), "first")
    second = register_training(root, registries.training(tmp_path / "b", 2, f"model-{first.content}"))
    assert ("data1", "run1", 1, 1) == (first.data, first.training, first.parent, first.base)
    assert (2, 1) == (second.parent, second.base)
    assert ["v1", "v2", "v3"] == [one.name for one in Registry(root).lineage(second)]
    assert 1 == people.rows_of(second.folder, "ann")
    assert 0 == people.rows_of(second.folder, "bob")
    assert first == register_training(root, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"train\.output=.* is no finished training"):
        register_training(root, tmp_path / "base")


def test_a_base_that_is_added_after_its_child_is_found(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    folder = registries.model(tmp_path / "base", 0)
    child = register_training(root, registries.training(tmp_path / "a", 1, models.version(folder)))
    assert (None, [child]) == (child.parent, Registry(root).lineage(child))
    base = Registry(root).add(folder)
    assert [base, child] == Registry(root).lineage(child)


def test_the_same_content_is_one_version_until_it_is_removed(registry: Registry, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "model3", tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("another card")
    before = registries.everything(registry.root)
    assert registry.version("v3") == registry.add(tmp_path / "copy")
    assert before == registries.everything(registry.root)
    registry.remove("v3")
    assert "v4" == registry.add(tmp_path / "copy").name


def test_references(registry: Registry, tmp_path: Path) -> None:
    two = registry.version("v2").model
    content = registry.version("v2").content
    for name in ("champion", "v2", "2", "v0002", content, f"base-{content}"):
        assert two == resolve(Path(f"{registry.root}@{name}"), "serve.model")
    assert two == resolve(two, "serve.model")
    odd = tmp_path / "registry@champion"
    odd.mkdir()
    assert odd == resolve(odd, "serve.model")
    at = tmp_path / "team@work" / "registry"
    shutil.copytree(registry.root, at)
    assert at / "versions" / "v0002" / "model" == resolve(Path(f"{at}@champion"), "serve.model")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nowhere", r"model folder .*nowhere does not exist: change serve\.model"),
        ("nowhere@champion", r"serve\.model=.*nowhere@champion is no folder, and .*nowhere is no registry"),
        ("registry@v9", r"serve\.model=.*registry@v9 is not in .*registry: it has champion, v1, v2, v3"),
        ("registry@challenger", r"serve\.model=.* is not in .*: it has champion, v1"),
        ("registry@", r"serve\.model=.*registry@ is not in"),
        ("registry@0123456789", r"serve\.model=.* is not in"),
        ("registry@v1", r"serve\.model=.*registry@v1: v1 was removed on 20"),
    ],
)
def test_a_wrong_reference_is_one_sentence(
    registry: Registry, tmp_path: Path, reference: str, sentence: str
) -> None:
    registry.remove("v1")
    if reference.endswith("v9"):
        sentence = sentence.replace("v1, ", "")
    elif reference.endswith("challenger"):
        sentence = sentence.replace("v1", "v2")
    with pytest.raises(ConfigError, match=sentence) as caught:
        resolve(tmp_path / reference, "serve.model")
    assert "\n" not in str(caught.value)


def test_rollback_goes_back_step_by_step_and_over_what_is_gone(registry: Registry) -> None:
    registry.promote("v3")
    registry.remove("v2")
    assert "v1" == registry.rollback().name
    with pytest.raises(ConfigError, match=r"champion points to v1, and nothing that it pointed to before"):
        registry.rollback()
    registry.promote("v3")
    registry.unset("champion")
    assert {} == registry.aliases()
    assert "v3" == registry.rollback().name
    with pytest.raises(ConfigError, match=r"points nowhere; the aliases of .*: champion"):
        registry.rollback("challenger")


def test_two_who_see_the_same_fault_go_back_once(registry: Registry) -> None:
    registry.promote("v3")
    assert "v2" == registry.rollback(bad="v3").name
    with pytest.raises(ConfigError, match=r"champion points to v2, not to models\.version=v3: nothing was"):
        registry.rollback(bad="v3")
    assert {"champion": 2} == registry.aliases()


@pytest.mark.parametrize(
    "alias", ["Champion", "v3", "3", "", "a b", "0123456789", "x-0123456789", "a" * 65, "-a"]
)
def test_words_that_mean_something_else_are_no_aliases(registry: Registry, alias: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.alias="):
        registry.promote("v3", alias)


def test_what_an_alias_points_to_is_not_removed(registry: Registry) -> None:
    registry.promote("v2", "challenger")
    with pytest.raises(ConfigError, match="v2 is challenger and champion: promote another version"):
        registry.remove("champion")
    registry.remove("v1", "too old")
    assert ["v2", "v3"] == [one.name for one in registry.versions()]
    assert not registry._shelf.at(1).model.exists()
    assert ("v1", "too old") == (registry.version("v1", removed=True).name, registry.history()[-1].note)
    with pytest.raises(ConfigError, match="v1 was removed on"):
        registry.remove("v1")


@pytest.mark.parametrize("what", ["weights", "card", "lost", "more"])
def test_a_changed_version_is_refused(registry: Registry, what: str) -> None:
    folder = registry.version("v1").model
    if what == "weights":
        path = folder / "model.safetensors"
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif what == "card":
        (folder / "README.md").chmod(0o644)
        (folder / "README.md").write_text("better than it is")
    elif what == "lost":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "model-2.safetensors").write_bytes(b"")
    registry.verify(registry.version("v2"))
    for refused in (
        lambda: registry.verify(registry.version("v1")),
        registry.rollback,
        lambda: registry.promote("v1"),
    ):
        with pytest.raises(
            SchemaError, match=r"registry@v1 has changed since 20.* [(](other bytes in|lost|got) [\w.-]+[)]:"
        ):
            refused()
    assert {"champion": 2} == registry.aliases()
    assert "v1" == registry.rollback(verify=False).name


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.safetensors", registries.weights(b"x" * 9)[:-1], "is damaged"),
        ("model.safetensors", b"", "is no safetensors file"),
        ("model.safetensors", b"\xff" * 20, "is no safetensors file"),
        ("model.safetensors", b"\x02" + b"\0" * 7 + b"[]", "is no safetensors file"),
        ("model.safetensors", None, r"holds no \*.safetensors"),
        ("tokenizer.json", b"{}", "cannot be read"),
        ("config.json", None, "has no config.json"),
        (INDEX, b'{"weight_map": {"a": "model-9.safetensors"}}', r"lacks model-9\.safetensors, one of 1"),
        (INDEX, b"[]", "is no index of weights"),
    ],
    ids=["cut short", "empty", "too long", "other", "none", "tokenizer", "config", "index", "no index"],
)
def test_what_no_engine_could_load_is_not_taken_and_makes_no_registry(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    folder = registries.model(tmp_path / "model")
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SchemaError, match=sentence) as caught:
        Registry(tmp_path / "registry").add(folder)
    assert "models.folder" in str(caught.value)
    assert not (tmp_path / "registry").exists()


def test_real_weights_pass_the_check() -> None:
    check_weights(models.BASE, "models.folder")


def test_a_folder_with_other_things_does_not_become_a_registry(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"models\.registry=.*runs holds other files and is no registry"):
        Registry(tmp_path / "runs").add(registries.model(tmp_path / "model"))
    assert ["notes.txt"] == os.listdir(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot take"):
        Registry(tmp_path / "file" / "registry").add(tmp_path / "model")


def test_figures_are_attached_once(registry: Registry) -> None:
    registry.attach("v1", {"exact_match": 0.5})
    registry.attach("v1", {"exact_match": 0.5})
    registry.attach("v1", {"exact_match": 0.25}, "longer gaps")
    assert [{"exact_match": 0.5}, {"exact_match": 0.25}] == registry.figures(registry.version("v1"))
    assert [] == registry.figures(registry.version("v2"))
    registry.verify(registry.version("v1"))


def test_what_became_of_a_version_is_noted_once(registry: Registry) -> None:
    for note in ("taken back", "taken back", "tried again"):
        assert "v2" == registry.note("v2", note).name
    told = [(entry.what, entry.version, entry.note) for entry in registry.history() if entry.what == "note"]
    assert [("note", 2, "taken back"), ("note", 2, "tried again")] == told
    before = registry.aliases()
    registry.remove("v3")
    registry.note("v3", "was no good")
    assert before == registry.aliases()
    with pytest.raises(ConfigError, match="is not in"):
        registry.note("v9", "nobody")


def test_notes_in_any_characters_are_kept(registry: Registry) -> None:
    for note in ("a\nb", "\u2028", "\udc80", '"}', "\U0001f600"):
        registry.promote("v3", note=note)
        registry.rollback(note=note)
        assert [note, note] == [entry.note for entry in registry.history()[-2:]]


def test_a_history_that_somebody_broke_is_named_by_its_line(registry: Registry) -> None:
    path = registry.root / HISTORY
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "what?", *lines[1:]]) + "\n")
    with pytest.raises(SchemaError, match=r"line 2 of .*history\.jsonl is no line"):
        registry.aliases()


# A simple model of the registry.


class Registries(RuleBasedStateMachine):
    """Any order of changes, with processes that come and go, against lists in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.root = Path(self.place.name)
        self.registry = Registry(self.root / "registry")
        self.seeds: list[int] = []  # of version 1, 2, ...
        self.gone: set[int] = set()
        self.past: dict[str, list[int | None]] = {}

    def teardown(self) -> None:
        self.place.cleanup()

    def there(self, number: int) -> bool:
        return 1 <= number <= len(self.seeds) and number not in self.gone

    @rule(seed=st.integers(0, 4))
    def add(self, seed: int) -> None:
        folder = self.root / f"model{seed}"
        if not folder.exists():
            registries.model(folder, seed)
        version = self.registry.add(folder)
        same = [n for n, known in enumerate(self.seeds, 1) if known == seed and n not in self.gone]
        if not same:
            self.seeds.append(seed)
        assert (same or [len(self.seeds)]) == [version.number]

    @rule(number=st.integers(1, 6), alias=st.sampled_from(["champion", "challenger"]))
    def promote(self, number: int, alias: str) -> None:
        if not self.there(number):
            with pytest.raises(ConfigError):
                self.registry.promote(f"v{number}", alias)
            return
        self.registry.promote(f"v{number}", alias)
        past = self.past.setdefault(alias, [])
        if not past or past[-1] != number:
            past.append(number)

    @rule(alias=st.sampled_from(["champion", "challenger"]))
    def unset(self, alias: str) -> None:
        if not self.past.get(alias) or self.past[alias][-1] is None:
            with pytest.raises(ConfigError):
                self.registry.unset(alias)
        else:
            self.registry.unset(alias)
            self.past[alias].append(None)

    @rule(alias=st.sampled_from(["champion", "challenger"]))
    def rollback(self, alias: str) -> None:
        past = list(self.past.get(alias, []))
        now = past.pop() if past else None
        while past and (past[-1] in (None, now) or past[-1] in self.gone):
            past.pop()
        if not past:
            with pytest.raises(ConfigError):
                self.registry.rollback(alias)
        else:
            assert past[-1] == self.registry.rollback(alias).number
            self.past[alias] = past

    @rule(number=st.integers(1, 6))
    def remove(self, number: int) -> None:
        held = any(past and past[-1] == number for past in self.past.values())
        if not self.there(number) or held:
            with pytest.raises(ConfigError):
                self.registry.remove(f"v{number}")
        else:
            self.registry.remove(f"v{number}")
            self.gone.add(number)

    @rule(
        torn=st.sampled_from(
            [b"", b'{"at": "2026', b'{"what": "promote", "version": 1, "alias": "champion"}']
        )
    )
    def another_process_after_one_that_was_killed(self, torn: bytes) -> None:
        if self.registry.exists:
            with (self.registry.root / HISTORY).open("ab") as file:
                file.write(torn)
        self.registry = Registry(self.root / "registry")

    @invariant()
    def agrees(self) -> None:
        left = [number for number in range(1, len(self.seeds) + 1) if number not in self.gone]
        assert left == [version.number for version in self.registry.versions()]
        pointing = {alias: past[-1] for alias, past in self.past.items() if past and past[-1] is not None}
        assert pointing == self.registry.aliases()
        for version in self.registry.versions():
            card = f"# Model {self.seeds[version.number - 1]}\n"
            assert card == (version.model / "README.md").read_text()


Registries.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestRegistries = Registries.TestCase


def test_a_version_loads_in_plain_transformers_and_says_the_same(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny.write_model(tmp_path / "train" / "model", seed=3)
    version = Registry(tmp_path / "registry").add(folder)
    texts = []
    for place in (folder, resolve(Path(f"{tmp_path / 'registry'}@v1"), "serve.model")):
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModelForCausalLM.from_pretrained(place)
        ids = tokenizer("def add(first, second):\n    return", return_tensors="pt")
        with torch.no_grad():
            said = model.generate(**ids, max_new_tokens=12, do_sample=False)
        texts.append(tokenizer.decode(said[0]))
    assert texts[0] == texts[1]
    Registry(tmp_path / "registry").verify(version)
