"""One loop: who runs next, who waits, and how that ends.

From the ground up: `entries`, `run_queue`, `shutdown`; `hub`; `hidden_loop`; `current`;
`waiters`.

Imports only `_reactor`, `_loop` and `_std`, and names neither green threads nor portals
nor primitives.
"""
