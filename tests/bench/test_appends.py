"""The bench of the log measures real logs of the sizes that it names."""

import json

import pytest
from bekend_bench import appends


def test_every_figure_is_measured_at_every_size() -> None:
    found = appends.measure((100, 3000), rounds=3)
    assert [one.size for one in found] == [100] * 4 + [3000] * 4
    assert len({one.name for one in found}) == 4
    assert all(one.microseconds > 0 for one in found)


@pytest.mark.parametrize(("times", "code"), [(1e9, 0), (0.0, 3)])
def test_the_bar_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], times: float, code: int
) -> None:
    monkeypatch.setattr(appends, "TIMES", times)
    monkeypatch.setattr(appends, "SMALL", 64)
    monkeypatch.setattr(appends, "LARGE", 512)
    monkeypatch.setattr("sys.argv", ["appends", "--json"])
    assert appends.main() == code
    assert json.loads(capsys.readouterr().out)["times"] > 0
