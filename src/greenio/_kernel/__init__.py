"""One loop: who runs next, who waits, and for which descriptor.

From the ground up: `loops`, `reraise`; `entries` and `signals`; `timers` and
`descriptors`; `run_queue`; `hub`; `hidden_loop`; `current`; `waiters`.

Imports only `_std`, and names neither green threads nor portals nor primitives.
"""
