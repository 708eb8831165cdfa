"""What is shown of the experiments: the report's page, and the table and the picture that sum it up.

Imports ``synflip.experiments`` and the rooms below it; only ``synflip.cli`` imports it.
"""
