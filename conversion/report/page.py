"""Templates become pages: everything that is put into them is escaped, and nothing is fetched from anywhere."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import figures

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(template: str, **facts: Any) -> str:
    """One page, a whole HTML document."""
    return _environment().get_template(template).render(**facts)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("conversion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(figures, name) for name in figures.__all__}
    return environment
