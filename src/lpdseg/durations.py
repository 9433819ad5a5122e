"""How long something took, for people."""


def duration(seconds: float) -> str:
    """Seconds up to two minutes, minutes up to two hours, then hours and minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
