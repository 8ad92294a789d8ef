"""The hand-labelled cuts are sound, and the default distiller agrees with them (see labels/README.md)."""

import dataclasses
import json
import re
from collections import Counter

import pytest

from echo_ray.stages.cuts import Limits, candidates, immediate
from tests import labels
from tests.labels import draw, sources

LABELS = labels.labels()
PRESENT = (sources.DATA / "repos").is_dir()
MOST_LINES, MOST_CHARS = 6, 200
"""What a person verifies in seconds, by the rule."""
MOST_DOUBLE = 0.05
LEAST_AGREEMENT = 0.85
NO_CODE = {
    "id": r"[a-z]+-\d\d",
    "language": r"[a-z]+",
    "source": r"(repos|corpus)/[\w-]+\.(bundle|parquet)",
    "commit": r"[0-9a-f]{40}|[\w.-]+/[\w.-]+",
    "path": r"[\w.+@\[\]()/-]+",
    "sha": r"[0-9a-f]{16}",
}


def test_enough_cases_of_every_language() -> None:
    kinds = Counter(label.id.split("-")[0] for label in LABELS)
    assert draw.PER_LANGUAGE == kinds
    assert 220 <= len(LABELS) - len(labels.held_out())


def test_ids_and_places_are_unique() -> None:
    assert len(LABELS) == len({label.id for label in LABELS})
    assert len(LABELS) == len({(label.place, label.start) for label in LABELS})


def test_the_file_holds_coordinates_and_no_code() -> None:
    for line in labels.FILE.read_text(encoding="utf-8").splitlines():
        words = {key: value for key, value in json.loads(line).items() if not isinstance(value, int)}
        assert NO_CODE.keys() == words.keys()
        assert [] == [value for key, value in words.items() if not re.fullmatch(NO_CODE[key], value)]


def test_offsets_are_in_order() -> None:
    for label in LABELS:
        assert 0 <= label.start < label.stop <= label.stop + label.closed <= label.resume, label.id
        cuts = [cut for cut in (label.cut, label.also) if cut is not None]
        assert all(0 < cut <= label.stop - label.start for cut in cuts), label.id
        assert len(cuts) == len(set(cuts)), label.id


def test_few_cases_have_two_answers() -> None:
    assert sum(label.also is not None for label in LABELS) <= MOST_DOUBLE * len(LABELS)


def test_every_text_is_the_one_that_was_labelled() -> None:
    texts = labels.texts()
    there = [label for label in LABELS if (sources.DATA / label.source).is_file()]
    assert [label.id for label in there] == [case.id for case in labels.cases()]
    assert [] == [label.id for label in there if labels.sha(texts[label.place]) != label.sha]


def test_a_unit_is_verified_in_seconds() -> None:
    for case in labels.cases():
        for cut in (case.cut, case.also):
            if cut is not None:
                unit = case.commit[:cut]
                assert unit == unit.rstrip(), case.id
                assert 1 <= len(unit.strip()) <= MOST_CHARS, case.id
                assert unit.strip().count("\n") < MOST_LINES, case.id


@pytest.mark.parametrize("language", ["go"] if PRESENT else [])
def test_the_gaps_are_those_that_the_script_draws(language: str) -> None:
    of_language = [label for label in LABELS if label.id.split("-")[0] == language]
    undecided = [dataclasses.replace(label, cut=0, also=None) for label in of_language]
    assert undecided == list(draw.drawn([language]))


@pytest.mark.parametrize("least", [LEAST_AGREEMENT] if PRESENT else [])
def test_the_rules_cut_where_the_reader_did(least: float, capsys: pytest.CaptureFixture[str]) -> None:
    held_out = labels.held_out()
    asked: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    others = []
    for case in labels.cases():
        groups = ("all", case.id.split("-")[0], "held out" if case.id in held_out else "first part")
        cuts = candidates(case.prefix, case.commit, case.suffix, case.language, Limits())
        same = same_unit(case, cuts[immediate(cuts)].stop)
        asked.update(groups)
        agreed.update(groups if same else ())
        others += [] if same or case.id in held_out else [case.id]
    with capsys.disabled():
        shares = ", ".join(f"{group} {agreed[group]}/{asked[group]}" for group in asked)
        print(f"\nagreement with the labels {agreed['all'] / asked['all']:.3f}: {shares}")
    assert least <= agreed["all"] / asked["all"], f"other cuts than the reader's: {' '.join(others)}"


def same_unit(case: labels.Case, stop: int) -> bool:
    found, *wanted = (
        len(case.commit[:end].rstrip()) for end in (stop, case.cut, case.also) if end is not None
    )
    return found in wanted
