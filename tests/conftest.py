"""Fixtures for all tests. Shared data lies outside the repository and tests that need it skip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networks import data_folder


@pytest.fixture(scope="session")
def data() -> Path:
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set RELPROP_DATA to the folder that holds it")
    return folder


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's own name: no test depends on which others ran."""
    return np.random.default_rng(list(request.node.nodeid.encode()))
