"""What the service counts, and the dashboard that shows it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import echo_ray
from echo_ray.serve.metrics import LANGUAGES, MAX_VALUES, Labels, ServeMetrics

DASHBOARD = Path(echo_ray.__file__).parent / "assets" / "grafana.json"
LABELS = Labels("v3", "echo", "python", "tabby")


def read(metrics: ServeMetrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name -> labels -> value, as Prometheus reads it."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def busy() -> ServeMetrics:
    """Everything counted at least once."""
    metrics = ServeMetrics()
    metrics.requested(LABELS)
    metrics.answered(LABELS, chars=12, latency_s=0.2, engine_s=0.15, leaked=True)
    metrics.answered(LABELS, chars=0, latency_s=0.1, engine_s=0.1)
    metrics.answered(LABELS, chars=5, latency_s=0.1, engine_s=None, delivered=False)
    metrics.cancelled(LABELS)
    metrics.accepted(LABELS, 12)
    metrics.accepted(LABELS, None)
    metrics.cache_hit("typed")
    metrics.cache_miss()
    metrics.refused("size")
    metrics.rate_limited(True)
    metrics.logged(lost=1, failed=2, redacted=3)
    return metrics


def test_what_is_counted() -> None:
    found = read(busy())
    own = tuple(sorted(LABELS._asdict().items()))
    for name, expected in {
        "echo_requests_total": 1,
        "echo_suggestions_shown_total": 1,
        "echo_silent_total": 1,
        "echo_cancelled_total": 2,
        "echo_accepts_total": 2,
        "echo_accepted_chars_total": 12,
        "echo_sentinel_leak_total": 1,
        "echo_latency_seconds_count": 3,
        "echo_engine_seconds_count": 2,
    }.items():
        assert (name, {own: expected}) == (name, found[name])
    assert pytest.approx(0.15) == found["echo_framework_overhead_seconds_sum"][own]
    assert {(("kind", "typed"),): 1} == found["echo_cache_hits_total"]
    assert {(("by", "key"),): 1} == found["echo_rate_limited_total"]
    assert [1, 2, 3] == [found[f"echo_log_{name}_total"][()] for name in ("lost", "failed", "redacted")]


def test_services_in_one_process_do_not_meet() -> None:
    first, second = busy(), ServeMetrics()
    assert "echo_requests_total" in read(first)
    assert "echo_requests_total" not in read(second)
    assert 0 == read(second)["echo_log_lost_total"][()]


def test_no_client_can_make_series_without_end() -> None:
    metrics = ServeMetrics()
    for number in range(500):
        metrics.requested(Labels(f"v{number}", f"arm{number}", f"lang{number}\n\udcff", f"dialect{number}"))
        metrics.refused(f"reason {number}")
    found = read(metrics)
    assert MAX_VALUES + 1 == len(found["echo_requests_total"]) == len(found["echo_refused_total"])
    assert {"other"} == {dict(labels)["language"] for labels in found["echo_requests_total"]}
    assert 500 == sum(found["echo_requests_total"].values())


def test_every_language_of_the_data_is_told_apart() -> None:
    assert {"cpp", "go", "java", "javascript", "python", "typescript", "vue"} <= LANGUAGES


def expressions() -> list[tuple[str, str]]:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [(panel["title"], one["expr"]) for panel in board["panels"] for one in panel["targets"]]
    queries = [(one["name"], one["query"]) for one in board["templating"]["list"] if one["type"] == "query"]
    return panels + queries


@pytest.mark.parametrize(("title", "expression"), expressions())
def test_the_dashboard_shows_what_exists(title: str, expression: str) -> None:
    found = read(busy())
    names = re.findall(r"\becho_\w+", expression)
    assert names
    for name in names:
        assert name in found
    labels = {label for name in names for sample in found[name] for label, _ in sample}
    used = set(re.findall(r"(\w+)=~", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        used |= {word.strip() for word in group.split(",")}
    assert used <= labels
    assert expression.count("(") == expression.count(")")


def test_the_dashboard_shows_everything_and_has_the_shape_that_grafana_imports() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(board)
    assert len(board["panels"]) == len({panel["id"] for panel in board["panels"]})
    places = set()
    for panel in board["panels"]:
        assert {"id", "type", "title", "gridPos", "targets", "fieldConfig", "datasource"} <= set(panel)
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
        assert len(panel["targets"]) == len({one["refId"] for one in panel["targets"]})
    assert len(board["panels"]) == len(places)
    shown = " ".join(expression for _, expression in expressions())
    for name in read(busy()):
        if name.endswith("_total") or name.endswith("_bucket"):
            assert name in shown
