"""Fixtures: one local Ray for all tests that need one."""

import os
from collections.abc import Iterator

import pytest

from tests.live import _lives, live

__all__ = ["_lives", "cluster", "live"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A private local Ray cluster, started once and stopped at the end."""
    from echo_ray.cluster import ClusterConfig, running

    with running(ClusterConfig(min_memory_gb=2)):
        yield
