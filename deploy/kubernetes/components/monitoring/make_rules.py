#!/usr/bin/env python3
"""Write rules.yaml: what lies in deploy/monitoring/rules, a PrometheusRule a file, so that no rule is written twice.

Kustomize can neither put a file under a key nor read one above its folder. Standard library alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[2] / "monitoring" / "rules"
_HEAD = "# Made by make_rules.py from deploy/monitoring/rules: change it there.\n"
_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: understudy-{name}
  labels:
    app.kubernetes.io/name: understudy
spec:
"""


def rendered(rules: Path) -> str:
    """All of them, as YAML with several documents."""
    return _HEAD + "---\n".join(
        _RESOURCE.format(name=path.stem) + _indented(path.read_text(encoding="utf-8"))
        for path in sorted(rules.glob("*.yml"))
    )


def _indented(text: str) -> str:
    groups = text[text.index("groups:\n") :]
    return "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))


def main() -> int:
    """Write the file; return the exit code."""
    (HERE / "rules.yaml").write_text(rendered(RULES), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
