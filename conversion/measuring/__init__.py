"""How long original and twin take, and how much memory: of candidates, and of what is published."""
