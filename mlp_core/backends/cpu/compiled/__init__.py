"""What is compiled: Python that numba makes into machine code, in a process of its own (`compiler`).

Nothing else imports these rooms, so what uses them carries neither numba nor LLVM; it finds the code by name
(`backends.cpu.machine_code`). Only `layout`, which imports nothing, is shared. Every function that can be
found has one face: (a, like, part, parts): `a` points to int64 words, `like` is a null pointer whose type is that of
the numbers, and it does the given one of `parts` parts.
"""
