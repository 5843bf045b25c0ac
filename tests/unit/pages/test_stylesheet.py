"""The one stylesheet: readable in light and dark, and nothing from other hosts."""

from __future__ import annotations

import re

import pytest

from coursewarehub.site.rendering import ASSETS_FOLDER

CSS = (ASSETS_FOLDER / "courseware.css").read_text()
LIGHT_AND_DARK = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--cw-([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", CSS)
}
TEXT, SHAPE = 4.5, 3.0
PAIRS = [
    *[(text, ground, TEXT) for text in ("ink", "ink-soft", "accent", "accent-strong", "danger")
      for ground in ("page", "surface", "sunken")],
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-strong", TEXT),
    ("danger", "danger-surface", TEXT),
    ("warning", "warning-surface", TEXT),
    ("on-band", "band", TEXT),
    ("on-band-soft", "band", TEXT),
    ("ink", "line", TEXT),
    ("edge", "surface", SHAPE),
    ("edge", "page", SHAPE),
    ("accent", "line", SHAPE),
]  # fmt: skip


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_measured_rightly() -> None:
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS, ids=[f"{a}-on-{b}" for a, b, _ in PAIRS])
def test_contrast(front: str, back: str, least: float, scheme: int) -> None:
    assert contrast(LIGHT_AND_DARK[front][scheme], LIGHT_AND_DARK[back][scheme]) >= least


def test_nothing_comes_from_elsewhere() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS


def test_every_colour_is_one_of_the_values() -> None:
    rules = CSS.split("/* 2 ---", 1)[1]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;, )])", rules)


def test_every_value_used_is_defined() -> None:
    used = set(re.findall(r"var\((--cw-[a-z-]+)", CSS))
    defined = set(re.findall(r"(--cw-[a-z-]+):", CSS))
    assert used == defined


def test_every_class_used_is_styled() -> None:
    """A class of ours in a template that the stylesheet does not know is a typing error."""
    package = ASSETS_FOLDER.parents[2]
    templates = [*package.glob("site/pages/*.html"), *package.glob("hub/templates/*.html")]
    assert len(templates) > 10
    used = {name for file in templates for value in re.findall(r'class="([^"]*)', file.read_text())
            for name in re.findall(r"cw-[a-z-]+", value)}  # fmt: skip
    styled = set(re.findall(r"\.(cw-[a-z-]+)", CSS))
    assert used <= styled
    assert styled <= used | {"cw-mark"}
