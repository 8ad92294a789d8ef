"""Fixtures: one local Ray for all tests that need one."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.live import _lives, live

__all__ = ["_lives", "cluster", "live"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Hypothesis's deadline is a limit on absolute time, which a busy machine breaks.
settings.register_profile("echo_ray", deadline=None)
settings.load_profile("echo_ray")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A private local Ray cluster, started once and stopped at the end."""
    from echo_ray.cluster import ClusterConfig, running

    with running(ClusterConfig(min_memory_gb=2)):
        yield
