"""The primitives, each a queue of waiters: events, semaphores, locks, queues.

Imports only `_kernel`, `_loop` and `_std`.
"""
