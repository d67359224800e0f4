"""What ``python -m greenio`` is made of: its options and its console.

Its commands are where what they run is: `_http.command` (``serve``), `_doctor.command`.
"""
