"""Templates become pages: everything that is put into them is escaped, and nothing is fetched from anywhere."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import figures

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(package: str, template: str, **facts: Any) -> str:
    """One page, a whole HTML document, by a template of `package`, which may build on those of this one.

    Raises ValueError where the facts lack what the template shows of them.
    """
    from jinja2 import UndefinedError

    try:
        return _environment(package).get_template(template).render(**facts)
    except UndefinedError as error:
        raise ValueError(str(error)) from error


@functools.cache
def _environment(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(figures, name) for name in figures.__all__}
    return environment
