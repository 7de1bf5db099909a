"""One release of each kind."""

import pytest

from .releases import ALL


@pytest.fixture(params=ALL, ids=lambda make: make.__name__)
def evidence(request):
    return request.param()
