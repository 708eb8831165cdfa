"""What is asked of a device and what comes back: interface, request, plan, parts, result, shards.

Imports the rooms below: ``modelfile``, ``data``, ``uncertainty``, ``report``, ``util``, ``spec``.
"""
