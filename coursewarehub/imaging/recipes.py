"""What the project's images are made of."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from coursewarehub import __version__
from coursewarehub.imaging.errors import ImagingError

CHECKOUT: Final = Path(__file__).parents[2]
"""The folder above the package: the checkout, when this runs from one."""

_INSTALLED: Final = "share/coursewarehub/images"


@dataclass(frozen=True)
class Recipe:
    """One image: its name, and which of our packages it holds.

    `modules` are dotted names of packages (with all below them) and of single modules; the packages above a named one
    are there with their `__init__` alone. `scripts` are the console scripts, by their names in setup.cfg. `groups` are
    the groups of entry points, apart from console scripts.
    """

    name: str
    modules: tuple[str, ...]
    scripts: tuple[str, ...]
    groups: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """Name of the image without its tag."""
        return f"coursewarehub/{self.name}"

    @property
    def reference(self) -> str:
        """Name of the image of this version."""
        return f"{self.repository}:{__version__}"


# The learner's image gets what a learner's server imports, so that a change of a hub leaves it as it is.
SINGLEUSER: Final = Recipe(
    name="singleuser",
    modules=("coursewarehub.singleuser", "coursewarehub.wire", "coursewarehub.prefork"),
    scripts=("coursewarehub-singleuser",),
)
HUB: Final = Recipe(
    name="hub",
    modules=("coursewarehub", "coursewareauthenticator", "coursewarespawner"),
    scripts=("coursewarehub",),
    groups=("jupyterhub.authenticators", "jupyterhub.spawners"),
)
RECIPES: Final = {recipe.name: recipe for recipe in (SINGLEUSER, HUB)}


def folder_of(recipe: Recipe) -> Path:
    """Folder with the recipe's Dockerfile, lock file and other files; ImagingError when it is nowhere."""
    for root in (CHECKOUT / "images", _installed_images()):
        if root is not None and (root / recipe.name / "Dockerfile").is_file():
            return root / recipe.name
    raise ImagingError(
        f"the files of the image {recipe.name} are missing: install coursewarehub from its wheel, or use a checkout"
    )


def _installed_images() -> Path | None:
    """Where a wheel's installation put the images' files."""
    try:
        files = distribution("coursewarehub").files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix().endswith(f"{_INSTALLED}/{SINGLEUSER.name}/Dockerfile"):
            return Path(str(file.locate())).resolve().parents[1]
    return None
