"""The hybrid: the public model, which asks the preferred twin and, where that fails, the other one."""
