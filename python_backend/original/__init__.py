"""The original model, run by its own framework. Copied beside `model.py` into every release."""
