"""From green code to coroutines and back.

Never imports sockets, patching or servers.
"""
