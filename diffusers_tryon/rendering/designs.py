# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What garments are cut like: designs hold proportions and eases only, so that one design fits every body."""

from dataclasses import dataclass, replace

import numpy as np


# A collar larger than this (metres) is a hood.
_HOOD_SIZE = 0.055


@dataclass(frozen=True)
class Neckline:
    """The opening for the head: a superellipse seen from the front.

    Attributes:
        width: metres between the neck and the opening, on the shoulder.
        depth: metres from the base of the neck down to the opening in front.
        power: 1 is a V, 2 is round, large is square.
        back_depth: as `depth`, at the back.
        stand: metres by which a high neck climbs the neck instead; the other attributes do not matter then.
    """

    width: float
    depth: float
    power: float
    back_depth: float
    stand: float | None = None


@dataclass(frozen=True)
class TopDesign:
    """An upper-body garment, or the upper part of a dress.

    Attributes:
        hem: torso coordinate (0 hips, 1 neck) of the lower edge, in front and at the back.
        hem_curve: metres by which the hem is higher at the sides.
        neckline: the opening for the head.
        sleeve: arm coordinate (0 shoulder, 1 elbow, 2 wrist) where the sleeve ends; 0 for none.
        strap: metres from the neckline to the armhole on the shoulder, of a garment without sleeves.
        ease: metres between body and cloth.
        fall: how the cloth hangs from its widest place, in metres outwards per metre downwards: -0.6 follows the
            waist, 0 falls straight, 0.3 swings.
        sleeve_ease: metres between arm and sleeve.
        sleeve_flare: how the sleeve widens, in metres per metre; negative for cuffs that hug the wrist.
        opening: metres from the middle to the front edge of an open jacket; None for a closed garment.
        collar: metres of a collar that lies around the neckline; 0 for none, a large one is a hood.
        tucked: torso coordinate of the waistband into which it is tucked, whatever lower garment is worn; None for
            worn outside.
    """

    hem: float
    neckline: Neckline
    hem_curve: float = 0.0
    sleeve: float = 0.45
    strap: float = 0.05
    ease: float = 0.01
    fall: float = -0.3
    sleeve_ease: float = 0.012
    sleeve_flare: float = 0.0
    opening: float | None = None
    collar: float = 0.0
    tucked: float | None = None

    @property
    def has_hood(self) -> bool:
        """Whether the collar is so large that it is a hood."""
        return self.collar > _HOOD_SIZE


@dataclass(frozen=True)
class PantsDesign:
    """Trousers or shorts.

    Attributes:
        waist: torso coordinate of the waistband.
        length: leg coordinate (0 hips, 1 knee, 2 ankle) where they end.
        ease: metres between thigh and cloth.
        flare: how the leg widens below the thigh, in metres per metre: -0.2 follows the leg, 0 is straight.
    """

    waist: float
    length: float
    ease: float = 0.01
    flare: float = -0.1


@dataclass(frozen=True)
class SkirtDesign:
    """A skirt, or the lower part of a dress.

    Attributes:
        waist: torso coordinate of the waistband.
        length: leg coordinate (0 hips, 1 knee, 2 ankle) where it ends.
        flare: how it widens, in metres per metre: -0.1 is a pencil skirt, 0 straight, 0.3 an A-line.
        folds: number of folds or pleats around the hem, 0 for none.
        fold_depth: metres from crest to trough at the hem, per metre of length.
    """

    waist: float
    length: float
    flare: float = 0.0
    folds: int = 0
    fold_depth: float = 0.0


@dataclass(frozen=True)
class DressDesign:
    """A dress: its upper part, and a skirt sewn to it at the skirt's waist; `waist_seam` says whether one sees
    that."""

    upper: TopDesign
    skirt: SkirtDesign
    waist_seam: bool


# Ranges of width, depth, power and depth at the back, and how often, of necklines below the neck.
_NECKLINES = {
    "crew": ((0.008, 0.02), (0.08, 0.095), (2.0, 2.2), (0.02, 0.03), 0.3),
    "v": ((0.012, 0.035), (0.12, 0.2), (1.0, 1.15), (0.02, 0.035), 0.2),
    "scoop": ((0.025, 0.06), (0.11, 0.17), (2.0, 2.5), (0.03, 0.06), 0.17),
    "square": ((0.03, 0.06), (0.11, 0.15), (5.0, 8.0), (0.03, 0.08), 0.08),
    "boat": ((0.055, 0.085), (0.07, 0.085), (2.0, 3.0), (0.03, 0.05), 0.1),
}
_HIGH_NECK_SHARE = 0.15
_SLEEVES = {
    "none": ((0.0, 0.0), 0.15),
    "cap": ((0.2, 0.28), 0.07),
    "short": ((0.4, 0.55), 0.3),
    "half": ((0.65, 0.9), 0.12),
    "three_quarter": ((1.25, 1.5), 0.1),
    "long": ((1.88, 1.95), 0.26),
}
_TROUSERS = {
    "shorts": ((0.3, 0.6), 0.14),
    "bermudas": ((0.7, 0.95), 0.1),
    "cropped": ((1.5, 1.75), 0.14),
    "long": ((1.88, 1.97), 0.62),
}
_SKIRT_LENGTHS = {
    "mini": ((0.45, 0.65), 0.3),
    "knee": ((0.85, 1.1), 0.35),
    "midi": ((1.3, 1.55), 0.2),
    "maxi": ((1.75, 1.92), 0.15),
}


def _choose(rng: np.random.Generator, table: dict[str, tuple[tuple[float, float], float]]) -> tuple[str, float]:
    """One of the kinds of `table`, by its share, and a value from its range."""
    names = list(table)
    name = names[int(rng.choice(len(names), p=[table[name][-1] for name in names]))]
    return name, rng.uniform(*table[name][0])


def draw_neckline(rng: np.random.Generator) -> Neckline:
    """Draw a neckline: crew, V, scoop, square, boat or high."""
    if rng.random() < _HIGH_NECK_SHARE:
        return Neckline(width=0.0, depth=0.06, power=2.0, back_depth=0.02, stand=rng.uniform(0.012, 0.03))
    shares = np.array([ranges[-1] for ranges in _NECKLINES.values()])
    name = str(rng.choice(list(_NECKLINES), p=shares / shares.sum()))
    width, depth, power, back_depth, _ = _NECKLINES[name]
    return Neckline(rng.uniform(*width), rng.uniform(*depth), rng.uniform(*power), rng.uniform(*back_depth))


def draw_top_design(rng: np.random.Generator) -> TopDesign:
    """Draw a closed upper-body garment, from a tank top to a wide pullover."""
    sleeve_kind, sleeve = _choose(rng, _SLEEVES)
    loose = rng.random() ** 1.3
    shirt = sleeve >= 0.4 and rng.random() < 0.16
    neckline = draw_neckline(rng)
    if shirt:
        neckline = Neckline(0.006, rng.uniform(0.08, 0.13), 1.3, 0.02)
    elif sleeve_kind == "none" and neckline.stand is None:
        # Straps stay on the shoulder.
        neckline = replace(neckline, width=min(neckline.width, 0.05))
    hem = rng.choice([rng.uniform(0.0, 0.14), rng.uniform(0.2, 0.36), rng.uniform(-0.4, -0.1)], p=[0.72, 0.14, 0.14])
    hood = not shirt and sleeve > 1.8 and loose > 0.3 and rng.random() < 0.3
    return TopDesign(
        hem=float(hem),
        hem_curve=rng.uniform(0.02, 0.06) if shirt or rng.random() < 0.15 else 0.0,
        neckline=neckline,
        sleeve=sleeve,
        strap=rng.uniform(0.025, 0.075),
        ease=0.01 + 0.014 * loose,
        fall=-0.5 + 0.6 * loose,
        sleeve_ease=0.005 + 0.018 * loose,
        sleeve_flare=-0.11 + 0.07 * loose + (rng.uniform(0.08, 0.2) if rng.random() < 0.1 else 0.0),
        collar=rng.uniform(0.035, 0.048) if shirt else rng.uniform(0.06, 0.075) if hood else 0.0,
        tucked=rng.uniform(0.22, 0.36) if loose < 0.6 and 0 <= hem < 0.15 and rng.random() < 0.35 else None,
    )


def draw_jacket_design(rng: np.random.Generator) -> TopDesign:
    """Draw an open jacket or cardigan to wear over a top."""
    return TopDesign(
        hem=rng.uniform(-0.08, 0.12),
        neckline=Neckline(rng.uniform(0.008, 0.02), rng.uniform(0.07, 0.09), 2.0, 0.02),
        sleeve=float(rng.choice([rng.uniform(1.3, 1.6), rng.uniform(1.85, 1.95)], p=[0.2, 0.8])),
        ease=rng.uniform(0.018, 0.026),
        fall=rng.uniform(-0.25, 0.1),
        sleeve_ease=rng.uniform(0.014, 0.024),
        sleeve_flare=rng.uniform(-0.08, -0.03),
        opening=rng.uniform(0.025, 0.08),
        collar=float(rng.choice([0.0, rng.uniform(0.035, 0.05), rng.uniform(0.06, 0.075)], p=[0.5, 0.35, 0.15])),
    )


def draw_pants_design(rng: np.random.Generator) -> PantsDesign:
    """Draw trousers or shorts, from skinny to wide."""
    _, length = _choose(rng, _TROUSERS)
    width = rng.random()
    return PantsDesign(
        waist=rng.uniform(0.18, 0.34), length=length, ease=0.004 + 0.015 * width**2, flare=-0.16 + 0.17 * width
    )


def draw_skirt_design(rng: np.random.Generator) -> SkirtDesign:
    """Draw a skirt: straight, A-line or pleated, from mini to maxi."""
    _, length = _choose(rng, _SKIRT_LENGTHS)
    kind = rng.choice(["straight", "a_line", "folded", "pleated"], p=[0.3, 0.3, 0.25, 0.15])
    waist = rng.uniform(0.22, 0.36)
    if kind == "straight":
        return SkirtDesign(waist, length, flare=rng.uniform(-0.1, 0.05))
    if kind == "a_line":
        return SkirtDesign(waist, length, flare=rng.uniform(0.1, 0.35))
    if kind == "folded":
        return SkirtDesign(waist, length, rng.uniform(0.15, 0.4), int(rng.integers(6, 13)), rng.uniform(0.03, 0.08))
    return SkirtDesign(waist, length, rng.uniform(0.05, 0.25), int(rng.integers(18, 29)), rng.uniform(0.012, 0.025))


def draw_bottom_design(rng: np.random.Generator) -> PantsDesign | SkirtDesign:
    """Draw a lower garment."""
    return draw_pants_design(rng) if rng.random() < 0.7 else draw_skirt_design(rng)


def draw_dress_design(rng: np.random.Generator) -> DressDesign:
    """Draw a dress: fitted or wide, sleeveless to long-sleeved, mini to maxi."""
    skirt = replace(draw_skirt_design(rng), waist=rng.uniform(0.26, 0.4))
    upper = draw_top_design(rng)
    fitted = rng.random() < 0.65
    upper = replace(upper, hem=skirt.waist, hem_curve=0.0, fall=-0.6 if fitted else -0.1, tucked=None)
    if upper.has_hood:
        upper = replace(upper, collar=0.0)
    return DressDesign(upper, skirt, waist_seam=bool(fitted and rng.random() < 0.7))
