"""From prototype maps to class maps to a mask."""
