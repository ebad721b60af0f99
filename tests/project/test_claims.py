"""scripts/claims.py: what it refuses."""

import pytest
from training_runs import load_script

pytest.importorskip("torch", reason="the claims are about torch modules")


@pytest.mark.parametrize("option", ["--threads", "--rounds"])
def test_nothing_to_time_is_one_line(option, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["claims.py", option, "0"])
    with pytest.raises(SystemExit):
        load_script("claims").main()
    assert f"{option} is 0; it must be at least 1" in capsys.readouterr().err
