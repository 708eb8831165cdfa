"""The command line: parses, calls, prints. The only room that imports typer and rich.

Imports everything; nothing imports it.
"""
