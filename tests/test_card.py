"""The data card: figures that can be counted again, no secret, nobody's name, nothing loaded."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echo_ray import schema
from echo_ray.errors import ConfigError
from echo_ray.manifest import read_manifest, write_manifest, write_table
from echo_ray.schema import Drop
from jobs import card, card_page
from jobs.ledger_config import CardConfig
from tests import ledger_runs
from tests.ledger_runs import MAIL, SECRET, USERS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = ledger_runs.make(tmp_path_factory.mktemp("made") / "run").root
    manifest = read_manifest(root / "balance")
    assert manifest is not None
    plan = {"ratio": 0.1, "tails": {"medium": 40, "long": 60}}
    write_manifest(root / "balance", replace(manifest, notes={"plan": plan}))
    return root


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def make(folder: Path, output: Path, **changes: Any) -> tuple[dict[str, Any], str]:
    page, data = card.make(CardConfig(input=folder, output=output, **changes))
    return json.loads(data.read_text(encoding="utf-8")), page.read_text(encoding="utf-8")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "rect", "path", "circle", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect", "path", "circle"):
            assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def test_the_figures_are_those_of_the_rows(made: Path, tmp_path: Path) -> None:
    value, _ = make(made / "balance", tmp_path)
    every = rows(made / "balance")
    kept = [row for row in every if row["drop"] is None]
    before = [row for row in every if row["drop"] in (None, "perplexity_tail", "length_band", "void_quota")]
    assert (len(every), len(kept), sum(row["copies"] for row in kept)) == (
        value["rows"],
        value["samples"],
        value["copies"],
    )
    reasons = {item["reason"]: item["count"] for item in value["reasons"]}
    assert Counter(row["drop"] or "kept" for row in every) == reasons
    voids = value["voids"]
    for when, chosen, weight in (("before", before, None), ("after", kept, "copies")):
        silent = sum(row[weight] if weight else 1 for row in chosen if not row["target"])
        other = sum(row[weight] if weight else 1 for row in chosen if row["target"])
        assert (silent, other) == (voids[when]["voids"], voids[when]["others"])
        bars = value["lengths"]["bars"]
        assert silent + other == sum(bar[when] for bar in bars)
        assert silent == bars[0][when]
        assert other == sum(bar[when] for bar in value["perplexity"]["bars"])
        assert silent + other == sum(item[when] for item in value["languages"])
        assert silent + other == sum(item[when] for item in value["bands"])
    assert 0.1 == voids["asked"]
    tail = sum(row["drop"] == "perplexity_tail" for row in every)
    assert tail == sum(bar["tail"] for bar in value["perplexity"]["bars"])
    sizes = sorted(row["target_tokens"] for row in kept for _ in range(row["copies"]) if row["target"])
    assert sizes[(len(sizes) + 1) // 2 - 1] == value["lengths"]["quantiles"]["after"]["p50"]
    chars = {name: sum(row[name] * row["copies"] for row in kept) for name in value["chars"]}
    assert chars == value["chars"]
    people = Counter(row["user"] for row in kept for _ in range(row["copies"]))
    assert len(people) == value["users"]["count"]
    assert max(people.values()) / people.total() == pytest.approx(value["users"]["largest_share"])


def test_the_funnel_and_its_check_are_those_of_the_ledger(run: Path, tmp_path: Path) -> None:
    value, page = make(run / "balance", tmp_path)
    assert ["log", "mine", "distil", "verify", "select", "perplexity", "balance"] == [
        step["stage"] for step in value["funnel"]
    ]
    assert value["agrees"]
    assert "Every row is accounted for" in page
    assert value["funnel"][-1]["kept"] == value["samples"]
    dropped = sum(sum(step["dropped"].values()) for step in value["funnel"])
    assert value["rows"] == value["samples"] + dropped
    path = run / "verify" / "part-0000.parquet"
    write_table(pq.read_table(path).slice(1), path)
    value, page = make(run / "balance", tmp_path)
    assert not value["agrees"]
    assert "Rows and manifests disagree" in page
    assert "its manifest says" in page


def test_every_reason_shows_three_samples_of_its_own(made: Path, tmp_path: Path) -> None:
    value, _ = make(made / "balance", tmp_path)
    fate = {row["sample_id"]: row["drop"] or "kept" for row in rows(made / "balance")}
    for item in value["reasons"]:
        assert min(3, item["count"]) == len(item["examples"])
        assert {item["reason"]} == {fate[example["sample_id"]] for example in item["examples"]}
    assert "kept" == value["reasons"][-1]["reason"]
    none, _ = make(made / "balance", tmp_path, examples=0)
    assert not any(item["examples"] for item in none["reasons"])


def test_the_draw_depends_on_ids_and_seed_and_not_on_shards_or_order(run: Path, tmp_path: Path) -> None:
    def shown(value: dict[str, Any]) -> list[list[str]]:
        return [[example["sample_id"] for example in item["examples"]] for item in value["reasons"]]

    first, _ = make(run / "balance", tmp_path)
    whole = pa.concat_tables(pq.read_table(path) for path in sorted((run / "balance").glob("*.parquet")))
    for path in (run / "balance").glob("*.parquet"):
        path.unlink()
    turned = whole.take(pa.array(range(whole.num_rows - 1, -1, -1)))
    for number in range(5):
        write_table(turned.slice(number * 80, 80), run / "balance" / f"part-{number:04d}.parquet")
    again, _ = make(run / "balance", tmp_path)
    assert shown(first) == shown(again)
    for key in ("lengths", "bands", "languages", "perplexity", "voids", "chars", "users"):
        assert first[key] == again[key]
    other, _ = make(run / "balance", tmp_path, seed=1)
    assert shown(first) != shown(other)


def test_no_secret_no_personal_data_and_no_name_is_shown(made: Path, tmp_path: Path) -> None:
    value, page = make(made / "balance", tmp_path, examples=20)
    for text in (json.dumps(value), page):
        for hidden in (SECRET, SECRET[:20], MAIL, MAIL.partition("@")[0]):
            assert hidden not in text
        assert "***" in text
    # The code of these tests says who wrote it; outside of the code nobody is named.
    outside = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert not [user for user in USERS if user in outside]


def test_the_span_that_decided_is_marked(made: Path, tmp_path: Path) -> None:
    value, page = make(made / "balance", tmp_path, examples=9)
    checks = {row["sample_id"]: row for row in rows(made / "balance")}
    (undefined,) = [item for item in value["reasons"] if item["reason"] == Drop.NAME_UNDEFINED.value]
    marked = 0
    for example in undefined["examples"]:
        row = checks[example["sample_id"]]
        span = next(check for check in row["checks"] if check["verdict"] == "fail")
        assert "dealt, by hand" == example["why"]
        if "***" in example["before"].splitlines()[-1]:
            continue  # the cursor stood inside a secret, of which nothing is shown
        marked += 1
        assert row["target"][span["start"] : span["stop"]] == example["span"]
        assert row["target"].startswith(example["target_before"] + example["span"])
    assert marked
    assert "<em>" in page


def test_the_page_is_well_formed_and_loads_nothing(made: Path, tmp_path: Path) -> None:
    _, html = make(made / "balance", tmp_path)
    page = Page(html)
    assert [] == page.open
    assert "default-src 'none'" in html
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "form")
        assert not {"src", "href", "srcset", "onload", "onclick"} & attributes.keys()
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_code_cannot_become_markup(run: Path, tmp_path: Path) -> None:
    evil = "</pre><script>alert(1)</script>"
    for path in (run / "balance").glob("*.parquet"):
        table = pq.read_table(path)
        for name in ("prefix", "target", "suffix"):
            values = [None if text is None else evil for text in table[name].to_pylist()]
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array(values, pa.large_string()))
        write_table(table, path)
    _, html = make(run / "balance", tmp_path)
    assert not [tag for tag, _ in Page(html).tags if tag == "script"]
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("stage", ["mine", "distil", "verify", "select", "perplexity"])
def test_the_folder_of_any_stage_has_a_card(stage: str, made: Path, tmp_path: Path) -> None:
    value, html = make(made / stage, tmp_path)
    assert stage == value["stage"]
    assert [] == Page(html).open
    assert not value["balanced"]
    assert len(rows(made / stage)) == value["rows"]
    assert (stage == "mine") == (value["lengths"] is None)


def test_a_folder_of_another_version_lacks_figures_and_not_the_card(run: Path, tmp_path: Path) -> None:
    for path in (run / "balance").glob("*.parquet"):
        table = pq.read_table(path)
        gone = [
            "target_tokens",
            "perplexity",
            "band",
            "checks",
            "human_chars",
            "confidence",
            "twin",
            "evidence",
        ]
        write_table(table.drop_columns(gone), path)
    value, html = make(run / "balance", tmp_path)
    assert (None, None, None, None) == tuple(
        value[key] for key in ("perplexity", "bands", "chars", "confidence")
    )
    assert not value["lengths"]["counted"]
    assert "estimated from characters" in html


def test_an_empty_data_set_has_a_card(run: Path, tmp_path: Path) -> None:
    for path in (run / "balance").glob("*.parquet"):
        write_table(schema.BALANCED.empty_table(), path)
    value, html = make(run / "balance", tmp_path)
    assert (0, 0, 0) == (value["rows"], value["samples"], value["copies"])
    assert [] == Page(html).open


def test_a_data_set_where_everything_was_dropped_has_a_card(run: Path, tmp_path: Path) -> None:
    for path in (run / "balance").glob("*.parquet"):
        table = pq.read_table(path)
        drops = [drop or "syntax_error" for drop in table["drop"].to_pylist()]
        place = table.column_names.index("drop")
        table = table.set_column(place, "drop", pa.array(drops, pa.string()))
        place = table.column_names.index("copies")
        write_table(table.set_column(place, "copies", pa.array([0] * len(drops), pa.int32())), path)
    value, html = make(run / "balance", tmp_path)
    assert 0 == value["samples"]
    assert [] == Page(html).open


def test_teachers_and_judges_are_told_with_their_costs(run: Path, tmp_path: Path) -> None:
    manifest = read_manifest(run / "verify")
    assert manifest is not None
    judge = {"name": "vllm:small@1f3c", "asked": 812, "failed": {"timeout": 6}, "cost": {"tokens": 51_234}}
    write_manifest(run / "verify", replace(manifest, notes={"judge": judge}))
    value, html = make(run / "balance", tmp_path)
    assert [("judge", "verify", 812)] == [
        (one["role"], one["stage"], one["asked"]) for one in value["models"]
    ]
    for text in ("Judge in verify", "vllm:small@1f3c", "51,234", "failed timeout"):
        assert text in html


def test_it_lies_in_the_data_set_by_default_and_does_not_disturb_it(run: Path) -> None:
    before = {path: path.read_bytes() for path in (run / "balance").iterdir()}
    page, data = card.make(CardConfig(input=run / "balance"))
    assert (run / "balance" / "card.html", run / "balance" / "card.json") == (page, data)
    assert before == {
        path: path.read_bytes() for path in (run / "balance").iterdir() if path not in (page, data)
    }
    first = data.read_bytes()
    card.make(CardConfig(input=run / "balance"))
    assert first == data.read_bytes()
    page, data = card.make(CardConfig(input=run / "balance", output=run / "pages" / "balanced.html"))
    assert (run / "pages" / "balanced.html", run / "pages" / "balanced.json") == (page, data)


def test_a_card_read_back_draws_the_same_page(made: Path, tmp_path: Path) -> None:
    value, html = make(made / "balance", tmp_path)
    assert html == card_page.render(value)


def test_what_has_no_card_is_one_sentence(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"card\.input is not set"):
        card.make(CardConfig())
    with pytest.raises(ConfigError, match="does not exist"):
        card.make(CardConfig(input=tmp_path / "no"))
    with pytest.raises(ConfigError, match="is no finished folder of samples"):
        card.make(CardConfig(input=made / "pack", output=tmp_path))
    with pytest.raises(ConfigError, match="is no finished folder of samples"):
        card.make(CardConfig(input=made, output=tmp_path))
