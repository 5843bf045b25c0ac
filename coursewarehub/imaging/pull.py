"""Having an image on one Docker host before a student waits for it."""

from __future__ import annotations

from coursewarehub.imaging.client import Docker
from coursewarehub.imaging.errors import ImagingError


def pull(docker: Docker, reference: str) -> str:
    """Pull an image, with Docker's progress on standard output; its name.

    One that was built here and is in no registry is ready, too. ImagingError with one sentence.
    """
    try:
        docker.stream(["pull", reference], subject=reference)
    except ImagingError as error:
        try:
            docker.labels(reference)
        except ImagingError:
            raise error from None
        print(f"{reference} was not pulled ({error}); the one that is here will be used")
    return reference
