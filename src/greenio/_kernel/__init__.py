"""One loop: who runs next, who waits, and for which descriptor.

From the ground up: `loops`, `reraise`, `mutex`, `blocking`, `reports`; `entries` and
`signals`; `timers` and `descriptors`; `run_queue` and `shutdown`; `hub`; `hidden_loop`;
`current`; `waiters`, `outliving` and `signal_handlers`.

Imports only `_std`, and names neither green threads nor portals nor primitives.
"""
