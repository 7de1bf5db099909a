"""What lies in a release: its configuration, its golden samples, its evidence."""
