"""One loop: who runs next, who waits, and for which descriptor.

From the ground up: `entries` and `two_waiters`; `timers` and `descriptors`; `run_queue`
and `shutdown`; `hub`; `hidden_loop`; `current`; `waiters` and `holding_up`.

Imports only `_loop` and `_std`, and names neither green threads nor portals nor
primitives.
"""
