"""The order of the test files where several processes share them: the longest come first, so that all end together.

Of those that convert all the time one is first and the others come when that is done: side by side they take twice as
long, and beside those that mostly wait none does.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A processor that others use too says nothing of an example that took long.
settings.register_profile("shared processors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared processors")

LIVE = Path(__file__).parent / "live"
LONGEST = (
    "demo",
    "replicas",
    "publish_soak",
    "serving",
    "own_models",
    "integrity",
    "hybrid",
    "publish_live",
    "search",
    "bad_models",
    "load",
    "hybrid_faults",
    "publish",
    "your_model",
    "preflight",
    "tuning",
    "monitoring",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Only the processes that xdist starts have this.
    if not hasattr(config, "workerinput"):
        return
    places = {LIVE / f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    # Sorting keeps the order of what is alike: within a file, and among the files that are not named here.
    items.sort(key=lambda item: places.get(item.path, len(places) + (not item.path.is_relative_to(LIVE))))
