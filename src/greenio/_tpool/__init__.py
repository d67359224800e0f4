"""What `greenio.tpool` is made of: calls in real threads.

It never imports sockets, patching or servers.
"""
