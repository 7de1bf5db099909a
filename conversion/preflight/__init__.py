"""Will a Triton release read what is to be served? Told before any server is asked."""
