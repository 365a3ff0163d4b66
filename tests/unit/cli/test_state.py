"""The data folder as other processes see it, and how it is named to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.state import DATA, Folder, option


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHEFLEET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_option_means_the_same_folder_everywhere(tmp_path: Path) -> None:
    assert option(Path("my data")) == f" --data '{tmp_path}/my data'"
    assert option(DATA) == ""


@pytest.mark.parametrize(("data", "more"), [(Path("/nowhere/x"), " --data /nowhere/x"), (DATA, "")])
def test_where_nothing_runs_the_way_out_names_the_folder(data: Path, more: str) -> None:
    with pytest.raises(Failure, match=f"start it with `cachefleet local up -f cache.yaml{more}`,") as caught:
        Folder(data).state()
    assert caught.value.code == Exit.NOT_RUNNING
