"""Evaluation: what is asked, figures by hand and by property, engines, and the verb end to end."""

import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema, scores
from echo_ray.errors import ConfigError, SchemaError
from echo_ray.ledger import people
from echo_ray.models import BASE
from echo_ray.prompts import FastTokenizer, template_for
from echo_ray.stages.pack import PackConfig
from jobs import evaluate_page
from jobs.__main__ import main
from jobs.evaluate_config import EvaluateConfig
from jobs.evaluate_engines import Asked, TorchEngine, Written, predict
from jobs.evaluate_examples import examples
from jobs.evaluate_samples import SAMPLES, choose, trained_on
from jobs.evaluate_scores import METRICS, figures, interval
from tests.refined import dealt
from tests.tiny import SAMPLE, write_model, write_tokenizer

WINDOW = PackConfig(cutoff_len=200, context_tokens=150)


def line(number: int, **changes: Any) -> dict[str, Any]:
    row = {"sample_id": f"s{number:03d}", "user": f"u{number % 5}", "language": "python", "prefix": "a = 1\n"}
    return row | {"suffix": "\nprint(a)\n", "target": f"b = {number}"} | changes


def nobody(user: str) -> bool:
    return False


def write_lines(folder: Path, rows: Sequence[Any], name: str = "some.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def mined(count: int) -> pa.Table:
    """Rows as `distil` leaves them: some dropped, some void."""
    rows = []
    for n in range(count):
        row: dict[str, Any] = {"sample_id": f"m{n:03d}", "user": f"u{n % 7}", "ts_ms": n}
        row |= {
            "language": ("python", "go")[n % 2],
            "prefix": "x = ",
            "suffix": "\n",
            "commit": f"f({n})\nmore",
        }
        drop = "syntax_error" if n % 4 == 3 else None
        rows.append(row | {"target": None if drop else "" if n % 5 == 0 else f"f({n})", "drop": drop})
    return pa.Table.from_pylist(rows, schema=schema.DISTILLED)


# --- samples


def test_dropped_rows_are_counted_and_voids_stay(tmp_path: Path) -> None:
    found = choose(dealt(mined(40), tmp_path / "in", 3), EvaluateConfig(), nobody)
    assert (40, {"syntax_error": 10}) == (found.rows, found.left_out)
    assert SAMPLES == found.table.schema
    rows = found.table.to_pylist()
    assert sorted(row["sample_id"] for row in rows) == [row["sample_id"] for row in rows]
    assert 6 == sum(row["target"] == "" for row in rows)
    kept = choose(tmp_path / "in", EvaluateConfig(keep=["syntax_error"]), nobody)
    assert (40, {}) == (kept.table.num_rows, kept.left_out)
    assert {"f(3)\nmore"} == {row["target"] for row in kept.table.to_pylist() if row["sample_id"] == "m003"}


def test_mined_rows_without_targets_are_asked_for_their_commits(tmp_path: Path) -> None:
    table = mined(8).drop_columns(["target", "cut_by", "cuts"])
    found = choose(dealt(table, tmp_path / "in", 1), EvaluateConfig(), nobody)
    assert {"f(0)\nmore", "f(1)\nmore"} <= {row["target"] for row in found.table.to_pylist()}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**31))
def test_the_draw_depends_on_ids_alone(shards: int, most: int, seed: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        table = mined(60).take(pa.array(random.Random(seed).sample(range(60), 60)))
        wanted = EvaluateConfig(max_samples=most, seed=7)
        one = choose(dealt(mined(60), Path(place) / "one", 1), wanted, nobody)
        many = choose(dealt(table, Path(place) / "many", shards), wanted, nobody)
    assert one.table.equals(many.table)
    assert one.left_out == many.left_out
    assert 60 == one.table.num_rows + sum(one.left_out.values())
    for language in ("python", "go"):
        there = sum(row["language"] == language for row in one.table.to_pylist())
        assert min(most, 30 if language == "python" else 15) == there


def test_a_larger_draw_holds_the_smaller_one(tmp_path: Path) -> None:
    source = dealt(mined(60), tmp_path / "in", 2)
    ids = [
        {row["sample_id"] for row in choose(source, EvaluateConfig(max_samples=n), nobody).table.to_pylist()}
        for n in (3, 9, 60)
    ]
    assert ids[0] < ids[1] < ids[2]


def test_users_of_a_training_are_left_out(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in", [line(n) for n in range(20)])
    people.write_users(tmp_path, ["u1", "u1", "u3"], "salt")
    trained = trained_on([tmp_path / "elsewhere", tmp_path / "model"])
    found = choose(source, EvaluateConfig(), trained)
    assert {"trained_user": 8} == found.left_out
    assert {"u0", "u2", "u4"} == set(found.table["user"].to_pylist())
    assert 20 == choose(source, EvaluateConfig(trained_users=True), trained).table.num_rows
    write_lines(tmp_path / "all", [line(n, user="u1") for n in range(3)])
    with pytest.raises(ConfigError, match=r"3 trained_user.*evaluate.trained_users=true"):
        choose(tmp_path / "all", EvaluateConfig(), trained)


def test_lines_that_people_write(tmp_path: Path) -> None:
    bare = {"prefix": "a", "suffix": "b", "commit": "c"}
    odd = {
        "prefix": "\ud83d",
        "suffix": "日本",
        "target": "x" * 200_000,
        "language": None,
        "user": None,
        "extra": [1],
    }
    rows = [bare, bare, "", odd, line(1), line(1, target="other"), line(2, suffix=None), line(3, target=None)]
    found = choose(write_lines(tmp_path / "in", rows), EvaluateConfig(), nobody)
    assert {"duplicate": 2, "incomplete": 2} == found.left_out
    told = {row["target"]: row for row in found.table.to_pylist()}
    assert {"c", "x" * 200_000, "b = 1"} == set(told)
    assert ("plaintext", "", "a") == (told["c"]["language"], told["c"]["user"], told["c"]["prefix"])
    assert all(row["sample_id"] for row in told.values())
    again = choose(tmp_path / "in" / "some.jsonl", EvaluateConfig(), nobody)
    assert again.table.equals(found.table)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "line 1 is not JSON"),
        ([line(1), "[1]"], "line 2 is no JSON object"),
        ([line(1), {"prefix": "a", "target": "b"}], "line 2 lacks suffix"),
        ([{"prefix": "a", "suffix": "b"}], r"lacks target \(or commit\)"),
        ([line(1, prefix=5)], "prefix is int, not a string"),
        ([line(1, language=["python"])], "language is list, not a string"),
        ([], r"evaluate.input=.* holds no row"),
        ([line(1, drop="void_quota")], r"all 1 rows are left out \(1 void_quota\).*evaluate.keep"),
    ],
)
def test_bad_lines_are_one_sentence(rows: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, SchemaError), match=message) as caught:
        choose(write_lines(tmp_path / "in", rows), EvaluateConfig(), nobody)
    assert "evaluate.input" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_tables_are_one_sentence(tmp_path: Path) -> None:
    tables = {
        "packed": (pa.table({"sample_id": ["a"], "input_ids": [[1]]}), "lacks prefix, suffix, target"),
        "numbers": (pa.table({"prefix": [1.5], "suffix": [[1]], "target": ["a"]}), "column suffix cannot be"),
        "empty": (schema.BALANCED.empty_table(), "holds no row"),
    }
    for name, (table, message) in tables.items():
        with pytest.raises((ConfigError, SchemaError), match=message):
            choose(dealt(table, tmp_path / name, 1), EvaluateConfig(), nobody)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "part.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(SchemaError, match="cannot be read"):
        choose(tmp_path / "broken", EvaluateConfig(), nobody)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SchemaError, match="neither Parquet nor JSON Lines"):
        choose(tmp_path / "nothing", EvaluateConfig(), nobody)


# --- figures


def answered(model: str, rows: Sequence[tuple[str, str, str]], **changes: Any) -> list[dict[str, Any]]:
    """Rows of (user, target, answer)."""
    return [
        {"model": model, "sample_id": f"s{n}", "user": user, "language": "python", "prefix": "x = 0\n"}
        | {"suffix": "\nresult = finish(value)\n", "target": target, "answer": answer, "special_tokens": 0}
        | {"nats": 2.0, "target_tokens": 4}
        | changes
        for n, (user, target, answer) in enumerate(rows)
    ]


def test_figures_by_hand() -> None:
    rows = [
        ("a", "x = 1", "x = 1\n"),
        ("a", "y = f(x)", "y = g(x)"),
        ("b", "z", ""),
        ("b", "", " \n"),
        ("c", "", "noise"),
        ("c", "if a:\n    b", "if a:\n    c<|fim_prefix|>"),
        ("d", "w = 1", "w = 1\nresult = finish(value)"),
    ]
    group = figures(answered("m", rows), 200, 0)["groups"]["all"]
    assert (7, 2, 4, None) == (group["samples"], group["voids"], group["users"], group["reason"])
    found = {name: figure["value"] for name, figure in group["models"]["m"].items()}
    targets, answers = [target for _, target, _ in rows], [answer for _, _, answer in rows]
    expected = scores.summary(targets, answers, ["python"] * 7) | {
        "exact_match": 1 / 5,
        "first_line_match": 3 / 5,
        "void_precision": 1 / 2,
        "void_recall": 1 / 2,
        "suffix_repetition": 1 / 5,
        "sentinel_leaks": 1,
        "perplexity": math.exp(0.5),
        "perplexity_all": math.exp(0.5),
        "bits_per_byte": 10 / math.log(2) / sum(len(target) for target in targets),
        "answer_chars": sum(map(len, answers)) / 7,
    }
    assert expected == pytest.approx(found)
    assert set(METRICS) == set(found)
    assert 5 == group["models"]["m"]["exact_match"]["of"]
    assert 2 == group["models"]["m"]["void_recall"]["of"]


def mixed(model: str, count: int, users: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(f"{model} {seed}")
    languages = ("python", "go", "vue")
    rows = answered(
        model,
        [
            (
                f"u{n % users}",
                "" if n % 6 == 0 else f"v{n} = f({n})",
                draw.choice(["", f"v{n} = f({n})", f"v{n} = g()"]),
            )
            for n in range(count)
        ],
    )
    return [row | {"language": languages[n % 3], "nats": draw.uniform(1, 9)} for n, row in enumerate(rows)]


def test_order_of_rows_and_models_beside_do_not_matter() -> None:
    one, two = mixed("one", 60, 6), mixed("two", 60, 6)
    alone = figures(one, 200, 3)["groups"]
    both = figures(one + two, 200, 3)["groups"]
    shuffled = one + two
    random.Random(1).shuffle(shuffled)
    again = figures([row for row in shuffled if row["model"] == "one"] + two, 200, 3)["groups"]
    assert ["all", "go", "python", "vue"] == sorted(both)
    for group in both:
        assert alone[group]["models"]["one"] == both[group]["models"]["one"] == again[group]["models"]["one"]
        assert both[group]["models"]["two"] == again[group]["models"]["two"]
    assert both["vue"]["models"]["one"]["code_bleu"]["value"] is None
    assert both["go"]["models"]["one"]["code_bleu"]["value"] is not None


def test_differences_are_paired_and_exact() -> None:
    one, two = mixed("one", 90, 9), mixed("two", 90, 9)
    group = figures(one + two, 500, 0)["groups"]["all"]["models"]
    back = figures(two + one, 500, 0)["groups"]["all"]["models"]
    for metric in METRICS:
        assert group["one"][metric]["difference"] is None
        change = group["two"][metric]["difference"]
        assert group["two"][metric]["value"] - group["one"][metric]["value"] == pytest.approx(change["value"])
        assert -change["value"] == pytest.approx(back["one"][metric]["difference"]["value"])
        if change["ci95"] is not None:
            assert change["ci95"][0] <= change["ci95"][1]
    same = figures(one + [row | {"model": "two"} for row in one], 200, 0)["groups"]["all"]["models"]["two"]
    assert {(0.0, None)} == {
        (same[name]["difference"]["value"], same[name]["difference"]["ci95"]) for name in METRICS
    }


def test_pairing_makes_a_small_change_visible() -> None:
    """Users differ a lot and the second model is a bit better for every one of them."""
    rows: dict[str, list[tuple[str, str, str]]] = {"one": [], "two": []}
    for user in range(12):
        for n in range(20):
            right = n < user + 4
            rows["one"].append((f"u{user}", "abc", "abc" if right else "xyz"))
            rows["two"].append((f"u{user}", "abc", "abc" if right or n >= 19 - user % 2 else "xyz"))
    found = figures([*answered("one", rows["one"]), *answered("two", rows["two"])], 1000, 0)
    models = found["groups"]["all"]["models"]
    alone, change = models["one"]["exact_match"]["ci95"], models["two"]["exact_match"]["difference"]
    assert alone[1] - alone[0] > 0.2
    assert change["ci95"][0] > 0
    assert change["ci95"][1] - change["ci95"][0] < 0.05


@pytest.mark.parametrize("users", [1, 0])
def test_one_user_has_no_interval(users: int) -> None:
    rows = [row | {"user": "u" if users else ""} for row in mixed("one", 20, 4)]
    group = figures(rows, 100, 0)["groups"]["all"]
    assert ("fewer than two users", users) == (group["reason"], group["users"])
    assert group["models"]["one"]["exact_match"]["value"] is not None
    assert {None} == {
        figure["ci95"] if figure["ci95"] is None else 1 for figure in group["models"]["one"].values()
    }


def test_what_does_not_exist_is_none() -> None:
    voids = figures(answered("m", [("a", "", ""), ("b", " ", "")], nats=None), 100, 0)["groups"]["all"]
    values = {name: figure["value"] for name, figure in voids["models"]["m"].items()}
    assert {"void_precision": 1.0, "void_recall": 1.0, "sentinel_leaks": 0.0, "answer_chars": 0.0} == {
        name: value for name, value in values.items() if value is not None
    }
    assert {"models": [], "scored": 0} == {key: figures([], 100, 0)[key] for key in ("models", "scored")}
    with pytest.raises(ValueError, match="different samples"):
        figures(mixed("one", 5, 2) + mixed("two", 6, 2), 100, 0)


def test_perplexity_is_over_what_every_model_could_score() -> None:
    one = answered("one", [("a", "x", "x"), ("b", "yy", "y")])
    two = answered("two", [("a", "x", "x"), ("b", "yy", "y")])
    two[1]["nats"] = None
    one[1]["nats"] = 1000.0
    found = figures(one + two, 100, 0)
    assert 1 == found["scored"]
    assert math.exp(0.5) == pytest.approx(found["groups"]["all"]["models"]["one"]["perplexity"]["value"])


def test_bleu_of_resampled_users_is_recomputed() -> None:
    """Two users: a resample has the first one twice, the second twice, or both, and nothing between."""
    rows = [("a", "x = f(1, 2)", "x = f(1, 2)"), ("b", "y = g(3)", "nothing like it at all")]
    found = figures(answered("m", rows), 400, 0)["groups"]["all"]["models"]["m"]["bleu"]
    assert scores.bleu([rows[0][1]], [rows[0][2]]) == 1.0
    ends = {scores.bleu([target], [answer]) for _, target, answer in rows}
    assert pytest.approx([min(ends), max(ends)]) == found["ci95"]


def test_intervals_cover_the_truth() -> None:
    """Clustered data: users differ, and busy users are better. Percentiles of all samples would cover 60%."""
    random_ = np.random.default_rng(5)
    everybody = random_.beta(2, 5, 200_000)
    work = 1 + random_.poisson(20 * everybody)
    truth = float((work * everybody).sum() / work.sum())
    hits, total, users = 0, 400, 16
    for _ in range(total):
        p = random_.beta(2, 5, users)
        n = 1.0 + random_.poisson(20 * p)
        y = random_.binomial(n.astype(int), p).astype(float)
        drawn = random_.integers(0, users, (400, users))
        draws = y[drawn].sum(axis=1) / n[drawn].sum(axis=1)
        found = interval(y.sum() / n.sum(), draws, (y.sum() - y) / (n.sum() - n))
        assert found is not None
        hits += found[0] <= truth <= found[1]
    assert 0.90 <= hits / total <= 0.985


# --- engines


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "one")


def gaps(count: int) -> pa.Table:
    draw = random.Random(count)
    rows = []
    for n in range(count):
        cut = draw.randrange(len(SAMPLE))
        row = {"sample_id": f"s{n:04d}", "user": f"u{n % 9}", "language": ("python", "go")[n % 2]}
        row |= {"prefix": SAMPLE[:cut] * draw.randrange(1, 4), "suffix": SAMPLE[cut:]}
        rows.append(row | {"target": "" if n % 5 == 0 else SAMPLE[cut : cut + n % 30 + 1]})
    return pa.Table.from_pylist(rows, schema=SAMPLES)


class Scripted:
    """Writes the same ids for every prompt and finds every token equally likely."""

    def __init__(self, ids: list[int], finished: bool) -> None:
        self.ids, self.finished = ids, finished
        self.prompts: list[list[int]] = []

    def write(self, prompts: Sequence[list[int]], most: int, ends: Sequence[int]) -> list[Written]:
        self.prompts += prompts
        return [Written(self.ids[:most], self.finished) for _ in prompts]

    def surprisal(self, samples: Sequence[tuple[Sequence[int], int]]) -> list[float]:
        return [math.log(2) * (len(ids) - prompt) for ids, prompt in samples]


def asked(**changes: Any) -> Asked:
    values = {"engine": "transformers", "dtype": "float32", "max_tokens": 24, "perplexity": True}
    return Asked.model_validate(values | {"window": WINDOW} | changes)


def test_special_tokens_are_seen_counted_and_end_the_answer(tiny_model: Path) -> None:
    tokenizer = FastTokenizer(tiny_model)
    template = template_for(tokenizer)
    text = tokenizer.encode("return first")
    engine = Scripted([*text, template.prefix, *text, template.suffix], True)
    rows = predict(gaps(6), asked(), tokenizer, template, engine).to_pylist()
    assert {("return first<|fim_prefix|>return first<|fim_suffix|>", "return first", 2, True)} == {
        (row["raw"], row["answer"], row["special_tokens"], row["finished"]) for row in rows
    }
    assert [row["sample_id"] for row in gaps(6).to_pylist()] == [row["sample_id"] for row in rows]
    assert all(row["nats"] == pytest.approx(math.log(2) * row["target_tokens"]) for row in rows)
    assert 1 == rows[0]["target_tokens"]  # a void: the end token alone
    for prompt, row in zip(engine.prompts, gaps(6).to_pylist(), strict=True):
        expected = template.render(tokenizer, row["prefix"], row["suffix"], 150, WINDOW.suffix_share)
        assert expected == prompt


def test_a_target_without_room_is_answered_but_not_scored(tiny_model: Path) -> None:
    tokenizer = FastTokenizer(tiny_model)
    table = pa.Table.from_pylist([line(1, target="word " * 400), line(2)], schema=SAMPLES)
    rows = predict(table, asked(), tokenizer, template_for(tokenizer), Scripted([], True)).to_pylist()
    assert [True, False] == [row["nats"] is None for row in rows]
    assert ["", ""] == [row["answer"] for row in rows]
    none = predict(table, asked(perplexity=False), tokenizer, template_for(tokenizer), Scripted([], True))
    assert 2 == none["nats"].null_count
    empty = predict(SAMPLES.empty_table(), asked(), tokenizer, template_for(tokenizer), Scripted([], True))
    assert 0 == empty.num_rows


def test_transformers_writes_what_one_prompt_alone_gives(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = FastTokenizer(tiny_model)
    template = template_for(tokenizer)
    engine = TorchEngine(tiny_model, "float32", 4096, 1, gpu=False)
    engine.concurrency = 5
    prompts = [template.render(tokenizer, row["prefix"], row["suffix"], 150) for row in gaps(12).to_pylist()]
    written = engine.write(prompts, 10, template.ends)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    for prompt, found in zip(prompts, written, strict=True):
        ids = list(prompt)
        for _ in range(10):
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert ids[len(prompt) :] == found.ids
        assert not found.finished
    stopped = engine.write(prompts[:1], 10, [written[0].ids[3]])
    first = written[0].ids.index(written[0].ids[3])
    assert [Written(written[0].ids[:first], True)] == stopped


# --- page


def page_value(models: int, users: int) -> dict[str, Any]:
    rows = [row for number in range(models) for row in mixed(f"m{number}-0123456789", 30, users)]
    found = figures(rows, 100, 0)
    listed = [
        {"label": label, "reference": f"<b>{label}", "folder": "f", "content": "c", "family": "echo"}
        for label in found["models"]
    ]
    texts = {
        label: {row["sample_id"]: row["answer"] + "</pre><script>" for row in rows if row["model"] == label}
        for label in found["models"]
    }
    return {
        "version": "0", "input": "in", "input_fingerprint": "f", "rows": 40, "left_out": {"void_quota": 10},
        "models": listed, "settings": EvaluateConfig().model_dump(mode="json"), "scored": found["scored"],
        "groups": found["groups"], "examples": examples(rows[:30], texts, 8, 0),
    }  # fmt: skip


@pytest.mark.parametrize(("models", "users"), [(1, 5), (2, 5), (7, 3), (2, 1)])
def test_the_page_shows_any_number_of_models(models: int, users: int) -> None:
    value = page_value(models, users)
    page = evaluate_page.render(json.loads(json.dumps(value, allow_nan=False)))
    assert "<script" not in page
    assert not any(mark in page for mark in ("http:", "https:", "src=", "url("))
    assert ("No intervals: fewer than two users" in page) == (users == 1)
    assert 8 == page.count('class="card example"')
    told = evaluate_page.text(value)
    for model in value["models"]:
        assert model["label"] in page
        assert model["label"] in told
    assert "exact match, go (10)" in told


def test_examples_take_turns_and_hide_secrets() -> None:
    rows = [line(n, target=f"b = {n}", suffix="\n", prefix="") for n in range(30)]
    rows[0]["prefix"] = 'key = "ghp_' + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"[:36] + '"\n'
    one = {row["sample_id"]: row["target"] if n % 2 else "wrong" for n, row in enumerate(rows)}
    two = {row["sample_id"]: row["target"] if n % 3 else "other" for n, row in enumerate(rows)}
    shown = examples(rows, {"one": one, "two": two}, 6, 0)
    assert ["gained", "lost", "different"] * 2 == [row["kind"] for row in shown]
    assert shown == examples(rows[::-1], {"one": one, "two": two}, 6, 0)
    every = examples(rows, {"one": one, "two": two}, 30, 0)
    assert 30 == len(every)
    assert "ghp_" not in json.dumps(every)


# --- the verb


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert 2 == main(["evaluate", *words])
    told = capsys.readouterr().err
    assert 1 == told.count("\n")
    return told


def test_what_cannot_work_is_refused_in_one_sentence(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "in", [line(n) for n in range(3)])
    write_tokenizer(tmp_path / "mute", sentinels=("<a>",))
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_model / name, tmp_path / "mute" / name)
    places = [f"evaluate.input={source}", f"evaluate.output={tmp_path / 'out'}"]
    for words, wanted in [
        ([], "evaluate.input is not set"),
        (places, "evaluate.models is empty"),
        ([*places, "evaluate.models=[]"], "evaluate.models is empty"),
        ([*places, f"evaluate.models=[{tmp_path / 'none'}]"], "does not exist: change evaluate.models"),
        ([*places, f"evaluate.models=[{tmp_path / 'mute'}]"], "fill-in-the-middle tokens"),
        ([*places, f"evaluate.models=[{tiny_model}]", "evaluate.max_tokens=900"], "made for 1024 tokens"),
        ([*places, f"evaluate.models=[{tiny_model}]", "evaluate.engine=magic"], "evaluate.engine"),
        ([places[1], "evaluate.input=/no/such/place"], "evaluate.input=/no/such/place does not exist"),
    ]:
        assert wanted in complaint(capsys, *words)
    write_lines(tmp_path / "in", [line(1, drop="unobserved")])
    assert "1 unobserved" in complaint(capsys, *places, f"evaluate.models=[{tiny_model}]")
    assert not (tmp_path / "out").exists()


def predictions(output: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        folder.name: [
            row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
        ]
        for folder in sorted((output / "predictions").iterdir())
    }


@pytest.mark.ray
def test_two_models_end_to_end_with_both_engines(
    tmp_path: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_model(tmp_path / "train" / "model", seed=1)
    people.write_users(tmp_path / "train", ["u3"], "salt")
    table = gaps(27)
    source = dealt(table.append_column("drop", pa.nulls(27, pa.string())), tmp_path / "in", 2)
    found = {}
    for engine in ("vllm", "transformers"):
        words = [
            *("evaluate", f"evaluate.models=[{BASE},{other},{BASE}]", f"evaluate.input={source}"),
            *(f"evaluate.output={tmp_path / engine}", f"evaluate.engine={engine}", "evaluate.max_tokens=12"),
            *(
                "pack.context_tokens=150",
                "pack.cutoff_len=200",
                "evaluate.kv_cache_mb=64",
                "evaluate.threads=1",
            ),
            *("evaluate.resamples=100", "cluster.min_memory_gb=1"),
        ]
        assert 0 == main(words), capsys.readouterr().err
        told = capsys.readouterr().out
        assert "exact match" in told
        found[engine] = json.loads((tmp_path / engine / "evaluate.json").read_text(encoding="utf-8"))
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / engine).rglob("*.parquet")}
        assert 0 == main([*words, "evaluate.seed=0"])
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / engine).rglob("*.parquet")}
        assert 2 == len(predictions(tmp_path / engine))  # the one that is there twice was asked once
    vllm, torch_ = predictions(tmp_path / "vllm"), predictions(tmp_path / "transformers")
    assert list(vllm) == list(torch_)
    for label in vllm:
        assert [row["raw"] for row in vllm[label]] == [row["raw"] for row in torch_[label]]
        for one, same in zip(vllm[label], torch_[label], strict=True):
            assert one["nats"] == pytest.approx(same["nats"], rel=2e-3)
            assert one["target_tokens"] == same["target_tokens"]
    assert len({row["raw"] for rows in vllm.values() for row in rows}) > 12
    assert {True, False} == {row["finished"] for rows in vllm.values() for row in rows}
    value = found["vllm"]
    labels = [model["label"] for model in value["models"]]
    assert f"{labels[0]}-2" == labels[2]
    assert labels[1].startswith("train-")
    assert {"trained_user": 3} == value["left_out"]
    assert (24, 8) == (value["groups"]["all"]["samples"], value["groups"]["all"]["users"])
    twin = value["groups"]["all"]["models"][labels[2]]
    assert {figure["difference"]["value"] for figure in twin.values()} <= {0.0, None}
    assert 0.0 == twin["edit_similarity"]["difference"]["value"]
    page = (tmp_path / "vllm" / "evaluate.html").read_text(encoding="utf-8")
    assert all(label in page for label in labels)


@pytest.mark.ray
def test_a_model_that_fails_is_named_and_the_others_stay(
    tmp_path: Path, tiny_model: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    source = write_lines(tmp_path / "in", [line(n) for n in range(6)])
    words = [
        *("evaluate", f"evaluate.models=[{broken},{tiny_model}]", f"evaluate.input={source}"),
        *(f"evaluate.output={tmp_path / 'out'}", "evaluate.engine=transformers", "evaluate.max_tokens=4"),
    ]
    told = complaint(capsys, *words[1:])
    assert f"1 of 2 models of evaluate.models failed ({broken}" in told
    assert not (tmp_path / "out" / "evaluate.json").exists()
    kept = predictions(tmp_path / "out")
    assert [6] == [len(rows) for rows in kept.values() if rows]
    (broken / "model.safetensors").write_bytes(weights)  # somebody copies it again
    assert 0 == main(words)
    assert (tmp_path / "out" / "evaluate.html").is_file()
