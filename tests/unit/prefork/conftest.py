from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.parents import TinyParent


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[TinyParent]:
    """A parent that is not started yet, ended after the test."""
    made = TinyParent(tmp_path / "parent")
    yield made
    made.end()
