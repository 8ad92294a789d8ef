"""Kill -9 of each process of the real service, once: it comes back, and nothing that was promised is lost."""

import random
from pathlib import Path

import pytest

from tests import tiny
from tests.benchmarks import crash_service


@pytest.mark.ray
def test_kill_9_of_any_process_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    model = tiny.write_model(tmp_path / "model", seed=1)
    kinds = ("writer", "gateway", "engine", "driver")
    found = crash_service.run(kinds, tmp_path, model, random.Random(1))
    assert kinds == tuple(kill.kind for kill in found.kills)
    assert all(kill.back_s < crash_service.BACK_S and kill.left == 0 for kill in found.kills), found
    assert found.answered > 0 < found.told
    assert (0, 0) == (found.missing_events, found.strange), found
    # How long this service took to write and sync is the measure, not a clock of ours.
    assert found.oldest_ms <= crash_service.FLUSH_MS + found.slowest_ms, found
