"""Keep what is served alive: probe every model, load anew what is dead, start again a server that ended."""
