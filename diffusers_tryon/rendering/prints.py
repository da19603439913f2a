# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Cloth: a pattern, what is drawn on its front, other sleeves, a trim along its edges."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cloth_coordinates import TORSO_SIDE
from .emblems import Colour, Panel, PanelDrawing, draw_emblem, to_rgba
from .palettes import draw_denim_colour, draw_leather_colour, draw_palette
from .patterns import PATTERNS, Pattern, make_plain


DrawDetails = Callable[[PanelDrawing, Colour, Colour], None]

# Hem, cuffs and neckline end in a darker seam.
_SEAM_WIDTH = 0.006
_SEAM_SHADE = 0.82
# A place belongs to a sleeve where its cloth coordinate `limb` is above this.
_LIMB = 0.5
# A raglan sleeve reaches up to a line from the armpit (u, v) to the neckline.
_RAGLAN = ((0.2, 0.36), (0.06, 0.6))
# Drawn seams shade the cloth under them.
_LINE = (0, 0, 0, 110)
_LEATHER_GLOSS, _SATIN_GLOSS = 0.12, 0.07


@dataclass(frozen=True)
class Print:
    """How a cloth looks.

    Attributes:
        pattern: colour at cloth coordinates.
        panel: what is drawn on the front, e.g. an emblem and buttons.
        sleeves: the pattern of the sleeves, if they differ.
        raglan: other sleeves reach up to the neck.
        trim: colour (3,) of a band along the edges, if any.
        trim_width: its width in metres.
        gloss: strength of the highlight.
    """

    pattern: Pattern
    panel: Panel | None = None
    sleeves: Pattern | None = None
    raglan: bool = False
    trim: np.ndarray | None = None
    trim_width: float = 0.0
    gloss: float = 0.0

    def colour_at(self, points: np.ndarray, edge_distance: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Colour of the cloth.

        Args:
            points (`np.ndarray`): (N, 3) cloth coordinates, see `cloth_coordinates`.
            edge_distance (`np.ndarray`): (N,) metres from the edge of the cloth.
            width (`np.ndarray`): (N,) metres over which the colour is averaged.

        Returns:
            `np.ndarray`: (N, 3) float32 in [0, 1].
        """
        u, v, limb = points.T
        colour = self.pattern(u, v, width)
        if self.sleeves is not None:
            on_sleeve = limb > _LIMB
            if self.raglan:
                (low_u, low_v), (high_u, high_v) = _RAGLAN
                line = low_u + (v - low_v) * ((high_u - low_u) / (high_v - low_v))
                # The back mirrors the front at the side of the torso.
                from_middle = TORSO_SIDE - np.abs(np.abs(u) - TORSO_SIDE)
                on_sleeve |= (v > low_v) & (from_middle > line)
            sleeve = np.nonzero(on_sleeve)[0]
            colour[sleeve] = self.sleeves(u[sleeve], v[sleeve], width[sleeve])
        if self.panel is not None:
            self.panel.over(colour, u, v, width, limb < _LIMB)
        if self.trim is not None:
            colour[edge_distance < self.trim_width] = self.trim
        colour *= np.where(edge_distance < _SEAM_WIDTH, np.float32(_SEAM_SHADE), np.float32(1))[:, None]
        return np.clip(colour, 0, 1)


# How often each pattern is drawn, for tops and dresses, for lower garments and for jackets.
_SHARES = {
    "top": {"plain": 9.0, "horizontal_stripes": 2.0, "breton_stripes": 1.5, "colour_block": 1.5, "melange": 2.0},
    "bottom": {"plain": 22.0, "denim": 16.0, "melange": 4.0, "pinstripes": 2.0, "knit": 0.0, "landscapes": 0.2},
    "jacket": {"plain": 18.0, "denim": 6.0, "melange": 5.0, "knit": 5.0, "ribs": 2.0, "tartan": 2.0, "letters": 0.2},
}
_RARE = 0.6
# An emblem is legible on these.
_CALM_PATTERNS = ("plain", "colour_block", "horizontal_stripes", "gradient", "melange", "ribs")
_EMBLEM_SHARE = 0.6
_OTHER_SLEEVES_SHARE = 0.14
_TRIM_SHARE = 0.18


def draw_print(rng: np.random.Generator, use: str = "top", draw_details: DrawDetails | None = None) -> Print:
    """Draw a random cloth.

    Args:
        rng (`np.random.Generator`): the only source of randomness.
        use (`str`): "top" (also for dresses), "bottom" or "jacket".
        draw_details (`Callable`, *optional*): draws what belongs to the cut on the front: called with a panel, a
            colour for lines and one for buttons and cords.
    """
    weights = np.array([_SHARES[use].get(name, 1.0 if use == "top" else _RARE) for name in PATTERNS])
    name = str(rng.choice(list(PATTERNS), p=weights / weights.sum()))
    colours = draw_palette(rng, 5)
    if name == "denim":
        colours[0] = draw_denim_colour(rng)
    pattern = PATTERNS[name](rng, colours[:3])
    gloss = _SATIN_GLOSS if name == "plain" and rng.random() < 0.12 else 0.0
    if use == "jacket" and name == "plain" and rng.random() < 0.3:
        pattern, gloss = make_plain(rng, draw_leather_colour(rng)[None]), _LEATHER_GLOSS
    drawing = PanelDrawing()
    if use == "top" and name in _CALM_PATTERNS and rng.random() < _EMBLEM_SHARE:
        draw_emblem(rng, drawing, colours[3:], colours[0])
    if draw_details is not None:
        draw_details(drawing, _LINE, to_rgba(colours[1]))
    panel = drawing.finish()
    if use != "top":
        return Print(pattern, panel, gloss=gloss)
    sleeves, raglan, trim = None, False, None
    if rng.random() < _OTHER_SLEEVES_SHARE:
        other = "plain" if name != "plain" or rng.random() < 0.6 else "horizontal_stripes"
        sleeves, raglan = PATTERNS[other](rng, colours[1:4]), bool(rng.random() < 0.5)
    if rng.random() < _TRIM_SHARE:
        trim = colours[1] if sleeves is not None or name != "plain" else colours[2]
    return Print(pattern, panel, sleeves, raglan, trim, rng.uniform(0.01, 0.03), gloss)


def draw_leather(rng: np.random.Generator) -> Print:
    """Draw the material of a belt."""
    return Print(make_plain(rng, draw_leather_colour(rng)[None]), gloss=_LEATHER_GLOSS)
