"""Testing green code: a pytest plugin, a unittest case, and what both are made of.

Nothing of greenio's imports it but the facade `greenio.testing`; pytest is imported by
`plugin` alone.
"""
