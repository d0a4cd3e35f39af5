"""One module per engine, each imported only in the environment that holds it.

Beside the standard library, NumPy and their own package, they import nothing.
"""
