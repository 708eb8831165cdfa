"""Networks of coins in torch: layers, the loop, ordinary networks to compare with, conversion.

Imports the rooms below: ``modelfile``, ``data``, ``uncertainty``, ``report``, ``util``, ``spec``.
"""
