"""The validity report: figures beside their targets, honest about what is missed, one page without markup."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from echo_ray.errors import ConfigError
from jobs import validity, validity_page
from jobs.validity_causes import cause
from jobs.validity_charts import Axis, charts
from jobs.validity_config import ValidityConfig
from jobs.validity_inputs import differences, read_truth
from simulator.judge import published
from simulator.judge.measure import measure
from simulator.judge.measure_table import Table, figures
from tests.truth_rows import developer

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"
USERS = [f"u{number:02d}" for number in range(8)]


def run_folder(folder: Path, assisted: bool = True, edits: int = 700) -> Path:
    (folder / "truth").mkdir(parents=True)
    for user in USERS:
        lines = "".join(json.dumps(row) + "\n" for row in developer(user, edits=edits, assisted=assisted))
        packed = zstandard.ZstdCompressor().compress(lines.encode())
        (folder / "truth" / f"{user}.jsonl.zst").write_bytes(packed)
    return folder


def bounds_file(path: Path, **changes: Any) -> Path:
    rows = [
        {"engine": "one_token", "ar": 0.99, "gr": 0.1, "time_saved": -0.5, "requests": 9, "shown": 5,
         "users": 8},
        {"engine": "oracle", "ar": 0.99, "gr": 0.7, "time_saved": 0.9, "requests": 9, "shown": 5, "users": 8},
        {"engine": "empty", "ar": None, "gr": 0.0, "time_saved": 0.0, "requests": 9, "shown": 0, "users": 8},
    ]  # fmt: skip
    path.write_text(json.dumps([row | changes for row in rows]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validity")
    run_folder(folder / "run")
    run_folder(folder / "control", assisted=False)
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    config = ValidityConfig(
        input=folder / "run",
        output=folder / "out",
        control=folder / "control",
        bounds=bounds_file(folder / "bounds.json"),
        traces=TRACES if TRACES.is_dir() else None,
        resamples=100,
    )
    return validity.make(config)


class Page(HTMLParser):
    """Text of a page, its tags, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.tags = "", [], []  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def by_key(report: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in report[name]}


def test_every_target_of_the_table_is_there_and_judged(report: dict[str, Any]) -> None:
    rows = by_key(report, "calibration")
    assert [target.key for target in published.CALIBRATION] == list(rows)
    for row in rows.values():
        low, high = row["bounds"]
        assert (row["met"] is True) == (low <= row["simulated"] <= high)
        assert (row["why"] is not None) == (row["met"] is False)
        assert row["ci95"][0] <= row["ci95"][1]
        assert row["n"] > 0
    assert report["met"] == sum(row["met"] for row in rows.values())
    assert not rows["gr"]["fitted"]
    assert rows["gr"]["knob"] is None
    assert all(row["knob"] for row in rows.values() if row["fitted"])
    for row in rows.values():
        assert (row["title"] in report["verdict"]) or row["met"]


def test_figures_are_those_of_the_truth(report: dict[str, Any], folder: Path) -> None:
    users = [measure(developer(user, edits=700)) for user in USERS]
    own = figures(Table(users))
    for name in ("calibration", "predicted", "reported", "inputs"):
        for row in report[name]:
            assert row["simulated"] == pytest.approx(float(own[row["key"]]), nan_ok=True), row["key"]
    assert 8 == report["users"] == report["user_days"]
    shown = sum(float(user.columns["shown"][0]) for user in users)
    assert shown == report["clients"]["default"]["shown"]
    assert sum(row["simulated"] or 0 for row in report["states"]) == pytest.approx(1)


def test_an_interval_grows_when_users_differ_more() -> None:
    def width(sames: bool) -> float:
        rows = [measure(developer("u0" if sames else user, edits=400)) for user in USERS]
        found = validity.build(rows, None, [], None, 200)
        low, high = by_key(found, "calibration")["ar"]["ci95"]
        return float(high - low)

    assert 0 == width(True)
    assert width(False) > 0.01


def test_one_user_has_no_interval_and_no_spread() -> None:
    found = validity.build([measure(developer("u"))], None, [], None, 100)
    rows = by_key(found, "calibration")
    assert all(row["ci95"] is None for row in rows.values())
    assert rows["user_ar_sd"]["met"] is None
    assert ["user_ar_sd"] == found["unknown"]
    assert "not measurable: Standard deviation" in found["verdict"]
    Page(validity_page.render({**found, "real_too_short": 0, "run": {}, "differs_from_tallies": None}))


def test_the_control_and_the_bounds_tell_where_acceptance_alone_fools(report: dict[str, Any]) -> None:
    assert 8 == report["twins"]["users"]
    assert [True, False, None] == [row["fools_ar"] for row in report["bounds"]]
    rows = by_key(report, "calibration")
    assert rows["gap_2s"]["without_suggestions"] > 0
    assert rows["ar"]["without_suggestions"] is None


def test_without_a_control_nothing_is_said_to_fool(folder: Path) -> None:
    config = ValidityConfig(
        input=folder / "run", output=folder / "out", bounds=folder / "bounds.json", resamples=100
    )
    found = validity.make(config)
    assert [None] * 3 == [row["fools_ar"] for row in found["bounds"]]
    assert "nothing can be marked" in Page(validity_page.render(found)).text


def test_the_page_is_whole_and_loads_nothing(report: dict[str, Any], folder: Path) -> None:
    data, page = validity.write(report, folder / "out")
    text = page.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8")) == json.loads(json.dumps(report))
    seen = Page(text)
    assert [] == seen.open
    assert not [tag for tag, _ in seen.tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not re.search(r"(?:https?:)?//[a-z]|@import|url\(", text.replace("josephg/editing-traces", ""))
    assert "nan" not in text.lower().split()
    for target in (*published.CALIBRATION, *published.PREDICTED, *published.REPORTED, *published.SET):
        assert target.title in seen.text
    assert (
        seen.text.index(report["verdict"]) < seen.text.index("Fitted:") < seen.text.index("Predicted, with")
    )
    fitted = seen.text[seen.text.index("Fitted:") : seen.text.index("Predicted, with")]
    assert "Generation rate (GR)" not in fitted
    assert seen.text.count("Why:") == len(report["missed"])
    assert "AR alone is fooled" in seen.text
    assert 8 == sum(tag == "article" for tag, _ in seen.tags)
    # The same page from the JSON that was stored.
    assert text == validity_page.render(json.loads(data.read_text(encoding="utf-8")))


def test_the_verb_prints_the_table_and_where_the_page_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ValidityConfig(input=folder / "run", output=tmp_path / "out", resamples=100)
    validity.validity(SimpleNamespace(validity=config), "echo-ray validity")  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "validity.html") in printed
    assert "calibration targets are met" in printed
    assert (tmp_path / "out" / "validity.json").is_file()
    with pytest.raises(ConfigError, match=r"validity\.output"):
        validity.validity(
            SimpleNamespace(validity=config.updated(output=None)),  # type: ignore[arg-type]
            "echo-ray validity",
        )


def test_the_page_escapes_names(report: dict[str, Any]) -> None:
    clients = {"<script>alert(1)</script>": report["clients"]["default"]}
    text = validity_page.render({**report, "clients": clients})
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_charts_stay_inside_and_a_chart_without_data_is_left_out(report: dict[str, Any]) -> None:
    made = charts(report)
    for chart in made:
        for x, y in ((dot["x"], dot["y"]) for dot in chart.dots):
            assert 0 <= x <= 100
            assert 0 <= y <= 100
        for line in chart.lines:
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", line["path"])]
            assert numbers
            assert min(numbers) >= 0
            assert max(numbers) <= 100
    silent = validity.build([measure(developer("u", assisted=False))], None, [], None, 100)
    titles = {chart.title for chart in charts(silent)}
    assert {"Gaps between edits", "Jumps of the cursor", "Requests per user-day"} <= titles
    assert "Acceptance by length" not in titles
    assert "Time to decide" not in titles


def test_axes_place_their_ends_at_their_ends() -> None:
    assert [0, 50, 100, 100] == [Axis(1, 100, log=True).place(value) for value in (0.1, 10, 100, 1e9)]
    assert [0, 25, 100] == [Axis(0, 8).place(value) for value in (-1, 2, 8)]


def test_the_terminal_table_has_every_target_in_order(report: dict[str, Any]) -> None:
    lines = validity_page.terminal(report).splitlines()
    assert len(lines) == 2 + len(published.CALIBRATION)
    kinds = ["fitted" if " fitted " in line else "predicted" for line in lines[2:]]
    assert sorted(kinds) == kinds
    assert sum("MISSED" in line for line in lines) == len(report["missed"])


def test_a_cause_is_measured() -> None:
    own = {
        "gr": 0.2, "accepted_mean": 20.0, "shown_per_100_typed": 4.0, "accepted_exactly": 0.4,
        "accepted_p50": 10.0, "gap_2s": 0.2, "user_ar_sd_corrected": 0.05,
    }  # fmt: skip
    # GR/(1-GR) = .25 grows with the length of what is accepted: 55/20 of it is .6875, of which GR is 40.7%.
    assert "would be 40.7%" in str(cause("gr", own, None))
    assert "40% of the accepted" in str(cause("unchanged_15s", own, None))
    assert "1.6 s" in str(cause("accept_s_p50", own, None))
    assert "have 15.00%" in str(cause("gap_2s", own, {"gap_2s": 0.15}))
    assert cause("paste_share", own, None) is None


def test_tallies_that_differ_from_the_truth_are_told(folder: Path, tmp_path: Path) -> None:
    users = read_truth(folder / "run", "validity.input")
    requests = int(sum(user.columns["requests"][0] for user in users))
    assert differences(folder / "run", users) is None
    lines = [{"user": user, "client": "tabby", "requests": 0} for user in USERS[1:]]
    lines.append({"user": USERS[0], "client": "copilot", "requests": requests})
    (tmp_path / "tallies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = differences(tmp_path, users)
    assert found is not None
    assert "requests" not in found
    assert found["edits"][0] == 0 < found["edits"][1]


def test_the_plug_in_of_a_user_is_that_of_the_tally(tmp_path: Path) -> None:
    run_folder(tmp_path, edits=60)
    lines = [{"user": user, "client": "tabby"} for user in USERS]
    (tmp_path / "tallies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {"tabby"} == {user.client for user in read_truth(tmp_path, "validity.input")}


@pytest.mark.parametrize("content", [b"no zstd", zstandard.ZstdCompressor().compress(b'{"kind": "edit"}\n')])
def test_what_is_no_truth_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"validity\.control=.*simulate"):
        read_truth(tmp_path, "validity.control")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "a.jsonl.zst").write_bytes(content)
    with pytest.raises(ConfigError, match=r"validity\.control=.*a\.jsonl\.zst"):
        read_truth(tmp_path, "validity.control")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"engine": "x"}]'])
def test_what_is_no_list_of_bounds_is_refused_by_name(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "bounds.json").write_text(text)
    config = ValidityConfig(input=folder / "run", output=tmp_path, bounds=tmp_path / "bounds.json")
    with pytest.raises(ConfigError, match=r"validity\.bounds="):
        validity.make(config)
