"""Does not load."""

raise ImportError("this model cannot be loaded")
