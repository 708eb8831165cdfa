"""The live page: a model and its devices behind HTTP, where several people watch samples come in.

Imports the rooms below, Starlette and uvicorn; only ``synflip.cli`` imports it. Nothing in a request names a
file or a device that was not named at the start.
"""
