"""What a load test measured, as one page."""
