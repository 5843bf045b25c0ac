"""Building the images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coursewarehub import __version__
from coursewarehub.imaging.client import Docker
from coursewarehub.imaging.context import make_context
from coursewarehub.imaging.recipes import Recipe

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class BuildOptions:
    """What may differ between two builds of one recipe.

    `tag` is the image's full name (default: ours, of this version), `base` the image it starts from, `ca` a folder with
    further certificates, `network` Docker's network for the build, `pip_options` words for pip (`--index-url=...`).
    """

    tag: str | None = None
    base: str | None = None
    ca: Path | None = None
    network: str | None = None
    pip_options: tuple[str, ...] = ()


def build(docker: Docker, recipe: Recipe, options: BuildOptions) -> str:
    """Build an image, with the builder's output on standard output; its name. ImagingError with one sentence."""
    reference = options.tag or recipe.reference
    context = make_context(recipe, options.ca)
    docker.output(["version"], subject=reference)
    docker.stream(build_arguments(reference, options), subject=options.base or "debian:bookworm-slim", stdin=context)
    return reference


def build_arguments(reference: str, options: BuildOptions) -> list[str]:
    """The words after `docker`; the context comes on standard input.

    Proxies in the environment are handed on by name: builders know them, and leave them out of the image.
    """
    values = {"VERSION": __version__}
    if options.base:
        values["BASE"] = options.base
    if options.pip_options:
        values["PIP_OPTIONS"] = " ".join(options.pip_options)
    words = ["build", "--tag", reference]
    if options.network:
        words += ["--network", options.network]
    for name, value in values.items():
        words += ["--build-arg", f"{name}={value}"]
    for name in (spelling for proxy in _PROXIES for spelling in (proxy, proxy.lower())):
        if os.environ.get(name):
            words += ["--build-arg", name]
    return [*words, "-"]
