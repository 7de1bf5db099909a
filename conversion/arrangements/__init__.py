"""How a twin is served: instances, threads and batching, as the spec fixes them or as they measured best."""
