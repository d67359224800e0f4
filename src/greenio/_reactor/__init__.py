"""The reactor: which descriptor is ready, which timer is due, and whom that concerns.

From the ground up: `scheduler`, which is all that it knows of a hub; `moments` and
`calls`; `timers` and `descriptors`; what eventlet's hubs offer of both, `fd_listeners`
and `hub_callbacks`.

Imports only `_loop` and `_std`, and knows nothing of run queues and waiters.
"""
