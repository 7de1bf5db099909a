"""The search for the fastest twin that still matches: candidates, gates, races, and the fate of each."""
