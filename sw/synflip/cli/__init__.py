"""The command line: parses, calls, prints. The only room that imports typer.

Imports everything; nothing imports it.
"""
