"""The cache of tables."""

from pathlib import Path

import pandas as pd
import pytest

from wsol_bench.common.table_cache import TableCache


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSOL_BENCH_CACHE", str(tmp_path))
    unwritable = pd.DataFrame({"mixed": [1, "one"]})
    with pytest.raises(Exception, match="mixed"):
        TableCache().table("kind", "key", lambda: unwritable)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
