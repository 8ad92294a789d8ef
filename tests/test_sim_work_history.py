import random
import subprocess
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from echo_ray.errors import ConfigError
from simulator.config import SimulateConfig
from simulator.draws import Draws
from simulator.work import mix, screen, style
from simulator.work.edits import document
from simulator.work.items import ItemKind
from simulator.work.plan import plan
from simulator.work.sources import Corpus, load
from simulator.work.tasks import tasks
from tests.test_sim_work import config, module, write_files

REPOS = Path(__file__).parents[2] / "shared" / "data" / "repos"
LANGUAGES = {
    "pallets__flask": ["python"],
    "encode__httpx": ["python"],
    "expressjs__express": ["javascript"],
    "vuejs__pinia": ["typescript", "vue"],
    "elk-zone__elk": ["typescript", "vue"],
    "spf13__cobra": ["go"],
    "square__javapoet": ["java"],
    "google__leveldb": ["cpp"],
    "open-source-parsers__jsoncpp": ["cpp"],
}
BUNDLES = [name for name in LANGUAGES if (REPOS / f"{name}.bundle").exists()]


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(repo, **files):
    """Write files (None removes one) and commit them; `__` in names stands for a slash, `_py` for `.py`."""
    for name, text in files.items():
        path = repo / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "x")


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def commits(source, **changes):
    """All commits: lists of (path, parent, child), newest first."""
    everything = config(source, heldout_share=1e-9, **changes)
    return [
        [(change.path.partition("/")[2], change.parent, change.child) for change in one.changes]
        for one in load(everything, "train").commits
    ]


def test_git_sources_hold_the_tracked_files_and_their_history(tmp_path, repo):
    write_files(repo, 10)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "x")
    commit(repo, m3_py=module(3) + "\n\nz = 1\n", a_txt="no code")
    (repo / "untracked.py").write_text(module(77))
    git(tmp_path, "clone", "-q", "--bare", "repo", "bare.git")
    git(repo, "bundle", "create", "-q", str(tmp_path / "packed.bundle"), "HEAD")
    git(repo, "bundle", "create", "-q", str(tmp_path / "headless.bundle"), "main")
    for source, name in (
        ("repo", "repo"),
        ("bare.git", "bare"),
        ("packed.bundle", "packed"),
        ("headless.bundle", "headless"),
    ):
        settings = config(tmp_path / source)
        paths = {file.path for split in ("train", "heldout") for file in load(settings, split).files}
        assert paths == {f"{name}/m{number}.py" for number in range(10)}
        assert [[("m3.py", module(3), module(3) + "\n\nz = 1\n")]] == commits(tmp_path / source)
    assert [] == commits(repo, history_share=0.0)


def test_only_changes_that_somebody_wrote_are_work(repo):
    commit(repo, a_py=module(1))
    git(repo, "mv", "a.py", "b.py")
    git(repo, "commit", "-q", "-m", "rename only")
    (repo / "b.py").chmod(0o755)
    git(repo, "commit", "-q", "-a", "-m", "mode only")
    commit(repo, b_py=module(1).replace("\n", "  \r\n"))  # white space only
    commit(repo, c_py=b"\0" * 500, d_py=b"x = '\xe9'\n" * 100)
    commit(repo, c_py=None, d_py=None)
    (repo / "link.py").symlink_to("b.py")
    commit(repo, b_py=module(1) + "y = 1\n")
    commit(repo, node_modules__x_py=module(5), **{".hidden__x_py": module(6)})
    found = commits(repo)
    assert [[("b.py", module(1), module(1) + "y = 1\n")], [("b.py", "", module(1))]] == found


def test_a_renamed_file_stays_on_its_side(repo):
    text = module(1)
    commit(repo, first_py=text)
    for number, name in enumerate(["second", "third", "fourth"]):
        git(repo, "rm", "-q", "--cached", "-r", ".")
        for path in repo.glob("*.py"):
            path.unlink()
        text += f"v{number} = w{number}(x{number}, y{number})\n"
        commit(repo, **{f"{name}_py": text})
    assert 4 == len(commits(repo))
    for split in ("train", "heldout"):
        try:
            corpus = load(config(repo, heldout_share=0.5), split)
        except ConfigError:
            continue
        assert {"repo/fourth.py"} == {change.path for one in corpus.commits for change in one.changes}
        assert 4 == len(corpus.commits)


def test_large_commits_are_no_work(repo):
    lines = [f"value_{number} = compute_{number}(source_{number})" for number in range(150)]
    commit(repo, a_py="\n".join(lines) + "\n")
    many = [line + "  # seen" if number % 10 == 0 else line for number, line in enumerate(lines)][:85]
    commit(repo, a_py="\n".join(many + lines[85:]) + "\n")  # nine hunks
    eight = [line + "  # eight" if number % 10 == 0 else line for number, line in enumerate(many)][:75]
    commit(repo, a_py="\n".join(eight + many[75:] + lines[85:]) + "\n")
    commit(repo, b_py="\n".join(f"{line}.b" for line in lines), c_py="\n".join(f"{line}.c" for line in lines))
    commit(repo, **{f"d{number}_py": module(number) for number in range(9)})
    assert [["a.py"], ["a.py"]] == [[path for path, _, _ in one] for one in commits(repo, max_line_chars=80)]


def test_near_duplicates_and_credentials_are_left_out(repo):
    commit(repo, a_py=module(1), b_py=module(2), c_py=module(3))
    new = "\n\ndef helper(one, two, three):\n    return one + two * three - helper(two, three, one) ** two\n"
    commit(repo, a_py=module(1) + new)
    commit(repo, b_py=module(2) + new + "pass\n")
    key = "AKIA" + "Q3EGRIVZ7UXD4FHT"
    commit(
        repo,
        b_py=module(2) + new + "pass\n" + f'key = "{key}"\n',
        c_py=module(3) + "\n\ndef other(a):\n    return a\n",
    )
    found = [change for one in commits(repo) for change in one if change[1]]
    assert {"b.py", "c.py"} == {path for path, _, _ in found}
    assert not any(key in child for _, _, child in found)


def test_merged_branches_count_and_the_newest_come_first(repo):
    commit(repo, a_py=module(1))
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, a_py=module(1) + "side_of(1)\n")
    git(repo, "checkout", "-q", "main")
    commit(repo, b_py=module(2))
    git(repo, "merge", "-q", "--no-ff", "side", "-m", "merge")
    commit(repo, a_py=module(1) + "side_of(1)\nafter_merge(2)\n")
    assert 4 == len(commits(repo))
    (newest,) = commits(repo, max_commits=1)
    assert newest[0][2].endswith("after_merge(2)\n")


def test_git_sources_without_work_are_one_sentence(tmp_path, repo):
    (tmp_path / "fake.bundle").write_text("no")
    sentences = [(repo, "is empty, it has no commit"), (tmp_path / "fake.bundle", "no readable git bundle")]
    for source, message in sentences:
        with pytest.raises(ConfigError, match=message) as caught:
            load(config(source), "train")
        assert "\n" not in str(caught.value)
    commit(repo, a_py=b"\0" * 500, b_txt="text")
    with pytest.raises(ConfigError, match=r"hold no python file .* not UTF-8"):
        load(config(repo), "train")


def test_near_duplicates_are_found_near_the_threshold():
    words = [f"w{number}" for number in range(400)]

    def text(shared):
        return " ".join(words[:shared] + [f"x{shared}_{number}" for number in range(400 - shared)])

    again = {}
    for shared in range(300, 400, 5):
        seen = screen.Seen()
        assert not seen.again(text(400))
        again[shared] = seen.again(text(shared))
    jaccard = {shared: (shared - 4) / (796 - shared) if shared < 400 else 1 for shared in again}
    assert all(not found for shared, found in again.items() if jaccard[shared] < 0.7)
    assert all(found for shared, found in again.items() if jaccard[shared] > 0.8)
    assert not screen.Seen().again("")


def test_weights_reach_the_mix_where_it_can_be_reached():
    kinds = [
        [ItemKind.MODIFY] * 5,
        [ItemKind.BLOCK, ItemKind.MODIFY, ItemKind.IMPORT],
        [ItemKind.NEW_FILE] * 2,
        [ItemKind.TEST] * 3 + [ItemKind.BLOCK],
        [ItemKind.DELETE, ItemKind.MODIFY],
        [ItemKind.BLOCK] * 2,
    ] * 10
    chances = mix.weights(kinds, 0.7, np.array([1.8, 0.0, 0.0, 0.2, 0.0]))
    expected = 0.7 * sum(c * mix.shares(k) for c, k in zip(chances, kinds, strict=True)) + 0.3 * np.array(
        [1.8, 0, 0, 0.2, 0]
    )
    assert 1 == pytest.approx(chances.sum())
    assert list(mix.TARGET) == pytest.approx((expected / expected.sum()).tolist(), abs=0.02)
    # No test anywhere: the rest keeps its proportions as far as it can, and nothing breaks.
    rest = mix.weights(kinds[:3], 1.0, np.zeros(5))
    assert 1 == pytest.approx(rest.sum())
    assert min(rest) > 0


@pytest.fixture(scope="module")
def corpora():
    cache = {}

    def corpus(name, split="train"):
        if (name, split) not in cache:
            settings = SimulateConfig(
                sources=[str(REPOS / f"{name}.bundle")], languages=LANGUAGES[name], max_commits=200
            )
            cache[name, split] = load(settings, split)
        return cache[name, split]

    return corpus


@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("name", BUNDLES)
def test_a_replayed_commit_ends_at_the_restyled_child(corpora, name, styled):
    settings = config("x", history_share=1.0)
    found = list(corpora(name).commits)
    random.Random(name).shuffle(found)
    for number, one in enumerate(found[:12]):
        draws = Draws(number, name)
        mine = style.style(draws)

        def restyle(text, language, mine=mine):
            return style.restyle(text, language, mine) if styled else text

        wanted = {
            change.pseudonym: document(restyle(change.child, change.language)) for change in one.changes
        }
        begun = {
            change.pseudonym: document(restyle(change.parent, change.language) if change.parent else "")
            for change in one.changes
        }
        changed = {file for file in wanted if wanted[file] != begun[file]}
        if not changed:
            continue
        items = next(tasks(settings, Corpus((), (one,)), draws, restyle))
        assert changed == {item.file for item in items}
        for file, visit in groupby(items, key=lambda item: item.file):
            text = begun[file]
            for item in visit:
                assert text == item.before + item.removed + item.after
                assert item.removed or item.intent
                assert not item.removed or item.removed[:1] != item.intent[:1]
                assert not item.removed or item.removed[-1:] != item.intent[-1:]
                text = item.before + item.intent + item.after
            assert wanted[file] == text


@pytest.mark.parametrize("name", BUNDLES)
def test_histories_give_commits_within_the_limits_and_splits_share_no_file(corpora, name):
    train, heldout = corpora(name, "train"), corpora(name, "heldout")
    assert len(train.commits) > 30
    paths = [
        {file.path for file in corpus.files} | {c.path for one in corpus.commits for c in one.changes}
        for corpus in (train, heldout)
    ]
    assert set() == paths[0] & paths[1]
    for one in (*train.commits, *heldout.commits):
        assert 1 <= len(one.changes) <= 8
        assert {change.language for change in one.changes} <= set(LANGUAGES[name])
        assert all(change.parent != change.child for change in one.changes)
    assert len({one.name for one in train.commits}) == len(train.commits)


@pytest.mark.parametrize("name", BUNDLES)
def test_modified_lines_are_not_typed_again(corpora, name):
    settings = config("x", history_share=1.0, days=5)
    items = [item for number in range(4) for item in plan(settings, corpora(name), f"u{number}").items]
    changed = [item for item in items if item.kind is ItemKind.MODIFY]
    assert len(changed) > 10
    assert 60 > sorted(len(item.intent) for item in changed)[len(changed) // 2]


@pytest.mark.parametrize("name", BUNDLES)
def test_the_mix_is_nearer_to_the_target_than_the_history_is(corpora, name):
    settings = config("x", history_share=1.0)
    items = [item for number in range(60) for item in plan(settings, corpora(name), f"u{number}").items]
    kinds = [kind for one in corpora(name).commits for change in one.changes for kind in change.kinds]

    def away(found):
        shares = mix.shares(found) / len(found)
        return float(np.abs(shares - np.array(mix.TARGET)).sum() / 2)

    assert away([item.kind for item in items]) < 0.8 * away(kinds)


def test_a_hook_of_another_repository_does_not_mislead_git(repo, monkeypatch):
    commit(repo, a_py=module(1))
    monkeypatch.setenv("GIT_DIR", str(repo / "nowhere"))
    assert 1 == len(commits(repo))
