"""The primitives, each a queue of waiters: events, semaphores, locks, queues, pools.

Imports only `_kernel`, `_loop` and `_std`.
"""
