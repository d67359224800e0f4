"""The engine. Nothing in here imports anything above it."""
