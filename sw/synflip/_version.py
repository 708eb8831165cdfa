"""The version, apart from the package, so that no room imports the root."""

__version__ = "0.1.0"
