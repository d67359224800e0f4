"""A pool for Celery's workers: each task in a green thread, `async def` tasks awaited there."""
