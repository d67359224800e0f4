"""One loop: who runs next, who waits, and for which descriptor.

Imports only `_std`, and names neither green threads nor portals nor primitives.
"""
