"""Workers for servers and task queues: `greenio.workers.gunicorn` and its sisters.

Each module needs the package that it is named after, and is imported by it.
"""
