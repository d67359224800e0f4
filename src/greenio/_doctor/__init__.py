"""``python -m greenio doctor``: looking for what keeps a program from working well.

What it can know without running anything it reads: the installation (`environment`) and
the text of the program's own files (`source`). For the rest the program has to be there:
a child process imports it, or runs it if asked to, and says what it has found then
(`program`). Whatever is found is a `Finding`: what it is, where, and what to do.
"""
