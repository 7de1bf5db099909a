"""Load on a running server, and what it tells. `python -m loadtests.overhead` measures what the hybrid costs."""
