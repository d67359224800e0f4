"""Green threads and what is made of them: time limits, pools, results, locals.

Never imports `_bridge`.
"""
