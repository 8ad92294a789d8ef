"""The search for a mixture: its points, its metric against real greedy decoding, and Ray Tune for real."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray import config as settings_module
from echo_ray import models, schema
from echo_ray.errors import ConfigError, SchemaError, StageError
from echo_ray.stages.balance import BalanceConfig
from echo_ray.stages.pack import PackConfig
from echo_ray.train.attention import install
from echo_ray.train.config import TrainConfig
from jobs import search, search_trial
from jobs.search import split
from jobs.search_config import SearchConfig
from jobs.search_mixtures import mixture_file, points, summary
from jobs.search_trial import MIXTURE, Sample
from jobs.settings import RunConfig
from tests.refined import dealt
from tests.tiny import SAMPLE, write_model

PACK = PackConfig(cutoff_len=160, context_tokens=120)
SEARCH = SearchConfig(trials=4, steps=3, batch=8, rows=200, heldout_rows=30, threads=1, cpus=1)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "model")


def samples(count: int = 240, users: int = 12) -> pa.Table:
    draw = random.Random(count)
    rows = []
    for n in range(count):
        cut = draw.randrange(len(SAMPLE))
        target = draw.choice(
            ["", "", "x", "return first", "self.items.append(item)", "raise IndexError(first)\n" * 4]
        )
        row = {"sample_id": f"s{n:04d}", "user": f"u{n % users}", "session": "s", "file": "f", "ts_ms": n}
        row |= {"prefix": SAMPLE[:cut], "suffix": SAMPLE[cut:], "commit": target, "language": "python"}
        row |= {
            "target": target,
            "target_tokens": len(target) // 3,
            "perplexity": draw.lognormvariate(2, 1) + 1,
        }
        rows.append(row | {"drop": "select_gap" if n % 10 == 9 else None})
    return pa.Table.from_pylist(rows, schema=schema.SCORED)


@given(st.integers(3, 40), st.integers(0, 5))
def test_points_are_valid_mixtures_that_fill_their_ranges(trials: int, seed: int) -> None:
    config = SEARCH.updated(trials=trials, seed=seed)
    found = points(config, BalanceConfig())
    assert list(range(trials)) == [point["number"] for point in found]
    assert {name: getattr(BalanceConfig(), name) for name in MIXTURE} == {
        name: found[1][name] for name in MIXTURE
    }
    assert found[0]["seed"] != found[1]["seed"]
    fresh = found[2:]
    for point in fresh:
        BalanceConfig().updated(**{name: point[name] for name in MIXTURE})  # shares add up to 1
    low, high = config.max_copies
    parts = sorted(int((point["max_copies"] - low - 1e-4) / (high - low) * len(fresh)) for point in fresh)
    assert sum(part == n for n, part in enumerate(parts)) >= len(fresh) - 1  # one point in each part
    assert found == points(config, BalanceConfig())


def test_what_greedy_decoding_would_do_is_read_from_one_pass(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    draw = random.Random(3)
    end = 3
    rows, right, silent = [], 0, 0
    for n in range(24):
        prompt = [draw.randrange(5, 380) for _ in range(draw.randrange(3, 20))]
        ids = list(prompt)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            for _ in range(4):
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        answer = ids[len(prompt) :]
        if n % 3 == 0:  # what greedy decoding gives, up to a token that then counts as the end
            rows.append(Sample(f"r{n}", prompt + answer[: 1 + n % 4], len(prompt)))
        else:
            rows.append(Sample(f"r{n}", [*prompt, 7 + n, end] if n % 3 == 1 else [*prompt, end], len(prompt)))
        row = rows[-1]
        is_void = row.targets == 1
        right += not is_void and list(row.ids[row.prompt :]) == answer[: row.targets]
        silent += answer[0] == row.ids[-1]
    install(model)
    found = search_trial.measure(model, rows, 64, torch.device("cpu"))
    codes = sum(row.targets > 1 for row in rows)
    assert right > 0
    assert right / codes == found["exact_match"]
    voids = sum(row.targets == 1 for row in rows)
    both = sum(row.targets == 1 and row.key in ("r0", "r12") for row in rows)
    assert both / voids == found["silence_recall"]
    assert both / silent == found["silence_precision"]
    assert (len(rows), voids) == (found["rows"], found["voids"])
    assert found["loss"] == pytest.approx(
        (found["loss_code"] * sum(r.targets for r in rows if r.targets > 1) + found["loss_void"] * voids)
        / sum(r.targets for r in rows)
    )


def job_of(folder: Path, source: Path, model: Path, **changes: Any) -> dict[str, Any]:
    pack = PACK.updated(model=model)
    counts = split(source, folder, SEARCH, BalanceConfig(), pack)
    train = TrainConfig(batch=8, lr=3e-3)
    plain = {name: value.model_dump(mode="json") for name, value in (("pack", pack), ("train", train))}
    plain |= {"balance": BalanceConfig().model_dump(mode="json"), "counts": counts.model_dump(mode="json")}
    fixed = {
        "folder": str(folder),
        "model": str(model),
        "steps": 3,
        "threads": 1,
        "gpu": False,
        "metric": "loss",
    }
    return plain | fixed | changes


def test_held_out_users_are_never_trained_on_and_their_mixture_is_natural(
    tmp_path: Path, tiny_model: Path
) -> None:
    table = samples()
    source = dealt(table, tmp_path / "in", 3)
    counts = split(source, tmp_path / "work", SEARCH, BalanceConfig(), PACK.updated(model=tiny_model))
    train = pq.read_table(tmp_path / "work" / "train.parquet")
    heldout = pq.read_table(tmp_path / "work" / "heldout.parquet")
    measured = set(heldout["user"].to_pylist())
    assert measured.isdisjoint(train["user"].to_pylist())
    assert {1} == set(heldout["copy"].to_pylist()) or {0} == set(heldout["copy"].to_pylist())
    assert 30 == heldout.num_rows
    assert {None} == set(train["drop"].to_pylist())
    left = [r for r in table.to_pylist() if r["drop"] is None and r["user"] not in measured]
    assert len(left) == counts.void.rows + counts.non_void
    again = split(
        dealt(table, tmp_path / "one", 1),
        tmp_path / "w",
        SEARCH,
        BalanceConfig(),
        PACK.updated(model=tiny_model),
    )
    assert counts == again
    for name in ("train", "heldout"):
        one, three = (
            pq.read_table(tmp_path / f / f"{name}.parquet").sort_by("sample_id") for f in ("w", "work")
        )
        assert one.equals(three)


def test_a_trial_trains_on_its_mixture_and_is_repeatable(tmp_path: Path, tiny_model: Path) -> None:
    job = job_of(tmp_path / "work", dealt(samples(), tmp_path / "in", 1), tiny_model, steps=12)
    present = points(SEARCH, BalanceConfig())[0]
    rows, mixture = search_trial.mixed(present, job)
    assert 96 == len(rows) == sum(mixture.values())
    found = search_trial.run(present, job)
    untrained = search_trial.run(present, job | {"steps": 1, "train": job["train"] | {"lr": 1e-9}})
    assert found["loss"] < 0.9 * untrained["loss"]
    assert found == search_trial.run(present, job)
    silent = search_trial.mixed(present | {"void_ratio": 0.0}, job)[1]
    assert not [band for band in silent if band.startswith("void")]


def test_a_mixture_that_diverges_is_a_result(tmp_path: Path, tiny_model: Path) -> None:
    from echo_ray.errors import TrainingError

    job = job_of(tmp_path / "work", dealt(samples(), tmp_path / "in", 1), tiny_model, steps=6)
    job["train"]["lr"] = 1e30
    with pytest.raises(TrainingError, match=r"lower train.lr"):
        search_trial.run(points(SEARCH, BalanceConfig())[0], job)


@pytest.mark.parametrize(
    ("users", "changes", "message"),
    [
        (1, {"heldout_share": 0.01}, "to train on and 0 of users held out"),
        (1, {"heldout_share": 0.99}, "0 are of users to train on"),
    ],
)
def test_one_user_cannot_be_searched(
    users: int, changes: dict[str, float], message: str, tmp_path: Path, tiny_model: Path
) -> None:
    source = dealt(samples(users=users), tmp_path / "in", 1)
    with pytest.raises(SchemaError, match=message):
        split(
            source, tmp_path / "w", SEARCH.updated(**changes), BalanceConfig(), PACK.updated(model=tiny_model)
        )


def trial(number: int, loss: float | None, error: str | None = None) -> dict[str, Any]:
    point = points(SEARCH, BalanceConfig())[number]
    return point | {"error": error, "loss": loss, "silence_f1": None if loss is None else 1 / loss}


def test_the_best_and_what_it_gains_beside_the_noise() -> None:
    trials = [trial(0, 2.0), trial(1, 2.2), trial(2, 1.5), trial(3, None, "loss is nan")]
    found = summary(trials, "loss")
    assert (2, pytest.approx(2.1), pytest.approx(0.2), pytest.approx(0.6)) == (
        found["best"],
        found["present"],
        found["noise"],
        found["gain"],
    )
    assert 2 == summary(trials, "silence_f1")["best"]
    with pytest.raises(StageError, match=r"no trial of the search gave a result: loss is nan"):
        summary([trial(3, None, "loss is nan")], "loss")


def test_the_file_is_a_configuration_for_balance(tmp_path: Path) -> None:
    found = summary([trial(n, 2.0 - n / 10) for n in range(4)], "loss")
    path = tmp_path / "mixture.yaml"
    path.write_text(mixture_file(found, BalanceConfig(seed=9, input=tmp_path)))
    loaded = settings_module.load(RunConfig, path).balance
    best = points(SEARCH, BalanceConfig())[3]
    assert BalanceConfig(seed=9, **{name: best[name] for name in MIXTURE}) == loaded


@pytest.mark.parametrize(
    "changes", [{"void_ratio": [0.5, 0.1]}, {"short_share": [0.1, 0.9]}, {"max_copies": [0.5, 2]}]
)
def test_ranges_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be two rising numbers"):
        settings_module.build(SearchConfig, changes)


@pytest.mark.ray
def test_ray_tune_searches_and_goes_on_after_a_failure(
    tmp_path: Path, tiny_model: Path, cluster: None
) -> None:
    source = dealt(samples(), tmp_path / "in", 2)
    output = tmp_path / "out"
    sections = {
        "search": SEARCH.model_dump(),
        "pack": PACK.model_dump(),
        "train": {"lr": 3e-3, "model": tiny_model},
    }
    sections["search"]["trials"] = 3
    config = RunConfig(**sections)
    mixtures = points(config.search, BalanceConfig())
    # A search that is killed leaves its state behind: here every trial fails, for want of a model.
    job = job_of(output / "samples", source, tiny_model) | {"model": str(tmp_path / "missing")}
    state = output / "tune"
    failed = search.tuned(mixtures, job, SEARCH, state)
    assert all(trial["error"] for trial in failed)
    job["model"] = str(tiny_model)
    done = search.tuned(mixtures, job, SEARCH, state)
    assert [0, 1, 2] == [trial["number"] for trial in done]
    assert [None] * 3 == [trial["error"] for trial in done]
    here = search_trial.run(mixtures[2], job)
    assert here["loss"] == pytest.approx(done[2]["loss"], rel=1e-3)
    fresh = search.search_mixture(config, source, tmp_path / "search")
    written = json.loads((tmp_path / "search" / "search.json").read_text())
    assert 3 == len(written["trials"]) == fresh.notes["trials"]
    assert [trial["loss"] for trial in done] == pytest.approx(
        [t["loss"] for t in written["trials"]], rel=1e-3
    )
    assert models.version(tiny_model) == fresh.notes["model"]
    assert settings_module.load(RunConfig, tmp_path / "search" / "mixture.yaml").balance.void_ratio > 0
    assert {"search.json", "mixture.yaml", "manifest.json", ".running"} == {
        p.name for p in (tmp_path / "search").iterdir()
    }
    assert fresh == search.search_mixture(config, source, tmp_path / "search")
