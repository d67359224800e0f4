"""Green sockets, TLS and name resolution."""
