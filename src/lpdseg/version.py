"""The version, where everything that writes a record can take it without opening the front door."""

__version__ = "0.2.0.dev0"
