"""The `level` of an event stream."""

SEVERITIES = ("debug", "info", "warning", "error")


def minimum_severity(word):
    """Return the severity that a level names, without regard to case; unknown words mean info, as does none."""
    word = (word or "").lower()
    return word if word in SEVERITIES else "info"
