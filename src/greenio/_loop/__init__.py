"""What the reactor and the kernel stand on: loops, signals, raising, and the mutex of all waits.

Imports only `_std`, and knows no hub.
"""
