import pytest

from fedasr.units import axis_label, data_size, duration, metric_text, number, percent


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (2.2, "2.20"), (12345.6, "12,346"), (0.000123, "0.000123"), (100.4, "100"), (float("nan"), "–")],
)
def test_number(value, expected):
    assert number(value) == expected


def test_units():
    assert percent(0.0834) == "8.3 %"
    assert metric_text("wer", 0.5) == "50.0 %"
    assert metric_text("loss", 2.5) == "2.50"
    assert [data_size(v) for v in (0, 999, 1500, 2.5e6, 3e9)] == ["0 B", "999 B", "1.50 kB", "2.50 MB", "3 GB"]
    assert [duration(v) for v in (0.65, 90, 150, 7200)] == ["0.650 s", "90 s", "2.50 min", "2 h"]
    assert axis_label("bytes", 5e6) == ("Data sent up and down (MB)", 1e6)
    assert axis_label("audio_seconds", 8000) == ("Audio trained on (h)", 3600)
    assert axis_label("round", 20) == ("Round", 1)
