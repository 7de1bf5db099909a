import json

from understudy_client import Statistics
from understudy_client.calls import Counters
from understudy_client.statistics import statistics_of


def _counted(model: str, *, version: str = "1", rows: int = 10, ms: float = 10, failures: int = 0) -> Counters:
    """Count ten successful requests, each 0.5 ms in the queue, `rows` rows in `ms` milliseconds together."""
    return Counters(model, version, 10, failures, rows, 5_000_000, 10, rows, int(ms * 1e6))


def test_the_speedup_is_the_originals_time_a_row_over_the_twins() -> None:
    statistics = statistics_of(
        "m", [_counted("m_onnx", rows=100, ms=200), _counted("m_original", rows=10, ms=80), _counted("other")]
    )
    assert statistics.hybrid is None
    assert statistics.onnx is not None
    assert statistics.onnx.average_compute_ms == 2
    assert statistics.onnx.average_queue_ms == 0.5
    assert statistics.original is not None
    assert statistics.original.average_compute_ms == 8
    assert statistics.speedup == 4


def test_without_data_of_both_twins_there_is_no_speedup() -> None:
    assert statistics_of("m", [_counted("m"), _counted("m_onnx")]).speedup is None
    idle = Counters("m_original", "1", 0, 0, 0, 0, 0, 0, 0)
    statistics = statistics_of("m", [_counted("m_onnx"), idle])
    assert statistics.speedup is None
    assert statistics.original is not None
    assert statistics.original.success_rate is None
    assert statistics.original.average_compute_ms is None


def test_loaded_versions_are_counted_together() -> None:
    statistics = statistics_of("m", [_counted("m", version="1"), _counted("m", version="2", failures=5)])
    assert statistics.hybrid is not None
    assert (statistics.hybrid.successes, statistics.hybrid.failures) == (20, 5)
    assert statistics.hybrid.success_rate == 0.8


def test_the_table_is_aligned_and_says_what_is_unknown() -> None:
    counters = [_counted("m"), _counted("m_onnx", rows=1234, ms=1234, failures=2)]
    assert statistics_of("m", counters).table().splitlines() == [
        "model       role      ok  failed  success  rows  ms/row  queue ms",
        "m           hybrid    10       0   100.0%    10   1.000     0.500",
        "m_onnx      onnx      10       2    83.3%  1234   1.000     0.500",
        "m_original  original   -       -        -     -       -         -",
        "speedup of the ONNX twin over the original: unknown until both twins have answered",
    ]
    assert statistics_of("m", [_counted("m_onnx"), _counted("m_original", ms=25)]).table().endswith("2.50 times")


def test_statistics_are_ready_for_json() -> None:
    statistics = statistics_of("m", [_counted("m")])
    assert isinstance(statistics, Statistics)
    loaded = json.loads(json.dumps(statistics.as_dict()))
    assert loaded["hybrid"]["successes"] == 10
    assert loaded["speedup"] is None
