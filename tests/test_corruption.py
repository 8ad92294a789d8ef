"""Verification against the labelled corruption suite, a part of it; `make bench` prints the whole."""

from collections import Counter
from typing import NamedTuple

import pyarrow as pa
import pytest

from echo_ray import schema
from echo_ray.schema import Drop
from echo_ray.stages.verify import VerifyConfig, verify
from tests import corruption
from tests.corruption import GROUPS, Labelled
from tests.corruption_sources import CORPUS, LANGUAGES

FILES = 10 if CORPUS.is_dir() else 40
RECALL = 0.95
LOSS = 0.02


class Judged(NamedTuple):
    """A case, why it was dropped, and the groups of the checks that failed."""

    case: Labelled
    drop: str | None
    failed: set[str]


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    cases = corruption.suite(FILES)
    table = pa.Table.from_pylist([case.row() for case in cases], schema=schema.DISTILLED)
    rows = verify(table, VerifyConfig()).select(["drop", "checks"]).to_pylist()
    return [
        Judged(case, row["drop"], corruption.failed(row["checks"]))
        for case, row in zip(cases, rows, strict=True)
    ]


def test_the_suite_is_what_it_says(judged: list[Judged]) -> None:
    cases = [case for case, _, _ in judged]
    assert len(cases) == len({case.name for case in cases})
    groups = Counter(case.group for case in cases)
    assert {"clean", *GROUPS} == set(groups)
    assert len({case.kind for case in cases if case.group == "secret"}) >= 20
    if all((CORPUS / f"{language}.parquet").is_file() for language in LANGUAGES):
        assert len(cases) >= 1_000
        assert {*LANGUAGES} <= {case.language for case in cases}
    assert cases == corruption.suite(FILES)


@pytest.mark.parametrize("group", GROUPS)
def test_faults_are_found(judged: list[Judged], group: str) -> None:
    faults = [one for one in judged if one.case.group == group]
    missed = Counter(case.kind for case, drop, _ in faults if drop is None)
    print(f"{group}: {len(faults) - missed.total()} of {len(faults)}, missed {missed}")
    assert len(faults) - missed.total() >= RECALL * len(faults)


@pytest.mark.parametrize("group", GROUPS)
def test_faults_are_found_by_their_own_check(judged: list[Judged], group: str) -> None:
    own = [group in failed for case, _, failed in judged if case.group == group]
    assert sum(own) >= 0.9 * len(own)


def test_clean_samples_stay(judged: list[Judged]) -> None:
    clean = [one for one in judged if one.case.group == "clean"]
    lost = Counter(drop for _, drop, _ in clean if drop is not None)
    print(f"clean: {lost.total()} of {len(clean)} lost, {lost}")
    assert set(lost) <= set(Drop)
    assert lost.total() <= LOSS * len(clean)


@pytest.mark.parametrize("group", GROUPS)
def test_no_category_loses_clean_samples(judged: list[Judged], group: str) -> None:
    clean = [failed for case, _, failed in judged if case.group == "clean"]
    assert sum(group in failed for failed in clean) <= LOSS / 2 * len(clean)
