"""The error with which work on images ends when the reason is known."""


class ImagingError(Exception):
    """It could not be done; the text is one sentence for the user."""
