"""The gRPC edge: one servicer a file. They only translate; no other package knows gRPC."""
