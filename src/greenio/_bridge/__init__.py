"""From green code to coroutines and back.

`await_` and `run_green`, portals, event loops for green code, groups, and starting a
program. Built on the rooms `_kernel`, `_greenthread` and `_sync`.

Never imports sockets, patching or servers (`_net`, `_patch`, `_asgi`), nor diagnostics.
"""
