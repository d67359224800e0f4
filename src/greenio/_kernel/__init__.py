"""One loop: who runs next, who waits, and for which descriptor.

From the ground up: `entries`; `timers` and `descriptors`; `run_queue` and `shutdown`;
`hub`; `hidden_loop`; `current`; `waiters`.

Imports only `_loop` and `_std`, and names neither green threads nor portals nor
primitives.
"""
