"""The interpreter as it is without a patch.

Everything else stands on it. Imports nothing of greenio's.
"""
