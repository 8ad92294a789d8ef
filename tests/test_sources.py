"""Source files of pretraining: which count, which never, and on which side of the split they stand."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import sealed
from echo_ray.errors import ConfigError
from echo_ray.pretrain import sources
from echo_ray.pretrain.config import WORK_REPOSITORIES
from echo_ray.pretrain.sources import SourceFile

CODE = "value = 1\n" * 40


def corpus(folder: Path, *rows: tuple[str | None, str | None, str | None]) -> str:
    columns = zip(*rows, strict=True)
    table = {
        name: pa.array(column, pa.string())
        for name, column in zip(("repo", "path", "content"), columns, strict=True)
    }
    path = folder / "corpus.parquet"
    pq.write_table(pa.table(table), path)
    return str(path)


@pytest.mark.parametrize(
    ("repo", "path"),
    [
        ("encode/httpx", "httpx/_api.py"),
        ("Encode/HTTPX", "httpx/_api.py"),
        ("encode/httpx.git", "httpx/_api.py"),
        ("someone/else", "vendor/github.com/encode/httpx/_api.py"),
    ],
)
def test_an_excluded_repository_never_appears(tmp_path: Path, repo: str, path: str) -> None:
    source = corpus(
        tmp_path, (repo, path, CODE), ("encode/httpx-auth", "a.py", CODE), ("my/httpx", "b.py", CODE)
    )
    for spelling in ("encode/httpx", "ENCODE/httpx.git", "https://github.com/encode/httpx/"):
        found = sources.read([source], ["python"], [spelling])
        assert ["encode/httpx-auth/a.py", "my/httpx/b.py"] == [file.name for file in found]
    assert 3 == len(sources.read([source], ["python"]))


def test_work_repositories_are_left_out_of_a_folder_of_clones(tmp_path: Path) -> None:
    for repository in (*WORK_REPOSITORIES, "other/project"):
        (tmp_path / repository).mkdir(parents=True)
        (tmp_path / repository / "main.go").write_text(CODE)
    found = sources.read([str(tmp_path)], ["go"], WORK_REPOSITORIES)
    assert [f"{tmp_path}/other/project/main.go"] == [file.place for file in found]


def test_the_split_does_not_depend_on_where_a_folder_lies(tmp_path: Path) -> None:
    for place in ("here", "there/deeper"):
        folder = tmp_path / place / "code"
        folder.mkdir(parents=True)
        for number in range(60):
            (folder / f"m{number}.py").write_text(f"number = {number}\n" + CODE)
    splits = []
    for place in ("here", "there/deeper"):
        files = sources.read([str(tmp_path / place / "code")], ["python"])
        splits.append([[file.name for file in part] for part in sources.split(files, 0.2, 0)])
    assert splits[0] == splits[1]
    assert all(splits[0])
    both = [str(tmp_path / place / "code") for place in ("here", "there/deeper")]
    assert 120 == len(sources.read(both, ["python"]))


def test_every_language_by_its_endings_and_others_left_out(tmp_path: Path) -> None:
    kept = ("a.py", "b.mjs", "c.tsx", "d.vue", "e.java", "f.go", "g.hpp", "h.c")
    left = ("i.rs", "test_j.py", "tests/k.py", "Makefile")
    source = corpus(tmp_path, *(("own/er", name, CODE) for name in kept + left))
    found = sources.read([source], list(sources.ENDINGS))
    assert [f"own/er/{name}" for name in kept] == [file.name for file in found]
    expected = Counter(dict.fromkeys(sources.ENDINGS, 1) | {"cpp": 2})
    assert expected == Counter(file.language for file in found)
    assert {"go"} == {file.language for file in sources.read([source], ["go"])}


def test_rows_without_repository_path_or_text_are_no_files(tmp_path: Path) -> None:
    source = corpus(
        tmp_path,
        (None, "a.py", CODE),
        ("o/r", None, CODE),
        ("o/r", "c.py", None),
        ("o/r", "d.py", ""),
        ("o/r", "e.py", CODE),
    )
    assert ["o/r/e.py"] == [file.name for file in sources.read([source], ["python"])]


def test_a_file_that_two_sources_name_counts_once(tmp_path: Path) -> None:
    source = corpus(tmp_path, ("o/r", "a.py", CODE))
    assert 1 == len(sources.read([source, source], ["python"]))


@pytest.mark.parametrize("source", ["none", ".", "text.parquet", "other.parquet", "empty.parquet"])
def test_a_source_that_cannot_be_used_is_one_sentence(tmp_path: Path, source: str) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"repo": [], "path": [], "content": []}), tmp_path / "empty.parquet")
    with pytest.raises(ConfigError, match=r"^pretrain\.sources: [^\n]*$"):
        sources.read([str(tmp_path / source)], ["python"])


def test_names_that_mean_nothing_are_one_sentence(tmp_path: Path) -> None:
    source = corpus(tmp_path, ("o/r", "a.py", CODE))
    with pytest.raises(ConfigError, match=r"pretrain\.shares: cobol is not one of python"):
        sources.read([source], ["python", "cobol"])
    for name in ("httpx", "", "/httpx"):
        with pytest.raises(ConfigError, match=r"pretrain\.exclude"):
            sources.read([source], ["python"], [name])


def test_the_truth_of_a_simulation_is_no_source(tmp_path: Path) -> None:
    (tmp_path / sealed.SEALED).touch()
    for source in (corpus(tmp_path, ("o/r", "a.py", CODE)), str(tmp_path)):
        with pytest.raises(ConfigError, match="sealed truth"):
            sources.read([source], ["python"])


def test_adding_files_moves_no_other_file_between_the_splits() -> None:
    files = [SourceFile(f"f{i}", "python", "x") for i in range(300)]
    training, heldout = sources.split(files, 0.1, 0)
    assert sorted(map(id, files)) == sorted(map(id, training + heldout))
    assert 10 < len(heldout) < 60
    fewer, fewer_heldout = sources.split(files[:150], 0.1, 0)
    assert set(fewer_heldout) <= set(heldout)
    assert set(fewer) <= set(training)
    assert heldout != sources.split(files, 0.1, 1)[1]
