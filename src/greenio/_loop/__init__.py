"""What the kernel stands on: event loops, signals, raising, and the mutex of all waits.

Imports only `_std`, and knows no hub.
"""
