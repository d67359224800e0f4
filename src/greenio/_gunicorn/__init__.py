"""gunicorn's worker: the HTTP server behind gunicorn's arbiter, logger and settings."""
