"""How a published twin is served best under a limit on its callers' waiting: tried behind the hybrid, under load."""
