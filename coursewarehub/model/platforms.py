"""`platforms.d/<name>.yaml`: learning platforms, one file each, beside those in `login` of site.yaml.

A platform in a file of its own can be added by a command or by the platform itself, and changing one touches no course
that does not use it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, RootModel, Tag, ValidationError

from coursewarehub.model.example import commented_yaml
from coursewarehub.model.explain import explain
from coursewarehub.model.lti import Lti11Provider, Lti13Provider, repeated_platform
from coursewarehub.model.problems import ConfigurationError, Problem, quoted
from coursewarehub.model.provider import PROVIDER_NAME
from coursewarehub.model.yaml_source import Source, parse, read_source

FOLDER: Final = "platforms.d"
NAME_RULE: Final = "a name has 1 to 31 lower-case letters, digits and dashes, starts with a letter, and is not `dummy`"
Platform = Lti13Provider | Lti11Provider
MODELS: Final[Mapping[str, type[Platform]]] = {"lti13": Lti13Provider, "lti11": Lti11Provider}


class PlatformFile(RootModel[Any]):
    """One learning platform: the same keys as one entry of `login` in `site.yaml` with `lti13` or `lti11`."""

    root: Annotated[
        Annotated[Lti13Provider, Tag("lti13")] | Annotated[Lti11Provider, Tag("lti11")],
        Field(discriminator="method"),
    ]


@dataclass(frozen=True)
class LoadedPlatforms:
    """Platforms by name, where each was written, and what is wrong with the others."""

    platforms: Mapping[str, Platform] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def is_platform_name(name: str) -> bool:
    """Whether a platform (or another provider of logins) can be called so."""
    return re.fullmatch(PROVIDER_NAME, name) is not None and name != "dummy"


def platform_file(root: Path, name: str) -> Path:
    """Return the path of a platform's file."""
    return root / FOLDER / f"{name}.yaml"


def load_platforms(root: Path, site: Source | None = None, login: Mapping[str, Any] | None = None) -> LoadedPlatforms:
    """Read `platforms.d`; a broken file becomes a problem and the others load.

    `site` is where `site.yaml` was written and `login` what it says there: no platform may have a name or be a client
    that stands there already. None when it cannot be read.
    """
    folder = root / FOLDER
    try:
        files = sorted(folder.iterdir()) if os.path.lexists(folder) else []
    except OSError as error:
        return LoadedPlatforms(problems=(Problem(FOLDER, None, f"cannot be read: {error.strerror}"),))
    platforms: dict[str, Platform] = {}
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    for file in files:
        if file.suffix not in {".yaml", ".yml"} or file.name.startswith("."):
            continue
        try:
            platform, source = _load(file, site)
        except ConfigurationError as error:
            problems += error.problems
            continue
        if (twice := repeated_platform({**(login or {}), **platforms, file.stem: platform})) is not None:
            message = f"is the same platform and client as {quoted(twice[1])}"
            hint = "give each its own client id (LTI 1.3) or key (LTI 1.1), or remove one of the two"
            problems.append(source.problem(("client_id" if platform.method == "lti13" else "key",), message, hint))
            continue
        platforms[file.stem], sources[file.stem] = platform, source
    return LoadedPlatforms(platforms, sources, tuple(problems))


def parse_platform(name: str, text: str) -> Platform:
    """Read `text` as if it were the file of a platform. Raises ConfigurationError."""
    return _platform(parse(text, f"{FOLDER}/{name}.yaml"))


def _load(file: Path, site: Source | None) -> tuple[Platform, Source]:
    label = f"{FOLDER}/{file.name}"
    if file.suffix == ".yml":
        raise ConfigurationError([Problem(label, 1, "is named `.yml`", "rename it to `.yaml`")])
    if not is_platform_name(file.stem):
        message = f"`{file.stem}` cannot be the name of a platform" if file.stem.isprintable() else "has a wrong name"
        raise ConfigurationError([Problem(label, 1, message, f"rename the file; {NAME_RULE}")])
    key = ("login", file.stem)
    if site is not None and key in site.lines:
        message = f"`{file.stem}` stands in `login` of site.yaml too (line {site.line(key)})"
        raise ConfigurationError([Problem(label, 1, message, "keep one of the two, or rename this file")])
    source = read_source(file, label)
    return _platform(source), source


def _platform(source: Source) -> Platform:
    try:
        platform: Platform = PlatformFile.model_validate_json(json.dumps(source.data), strict=True).root
        return platform
    except ValidationError as error:
        raise ConfigurationError(tuple(explain(error, PlatformFile, source))) from None


def platform_text(name: str, values: Mapping[str, Any]) -> str:
    """Return the text of a platform's file with these values, explained.

    Raises ConfigurationError when they cannot be right together.
    """
    given = {key: value for key, value in values.items() if value not in (None, (), [], "")}
    header = (
        "One learning platform; the name of the file is the name that courses use.",
        "All settings there are, explained: `coursewarehub schema platform --example`.",
    )
    text = commented_yaml(MODELS[str(values["method"])], header, given, only=())
    parse_platform(name, text)
    return text
