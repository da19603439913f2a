# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Named protocols: everything that changes an evaluation's figures, as the published evaluation codes set it.

The same pictures give other figures under another resize filter, another LPIPS network or another KID scale, so
figures of different protocols are not put beside each other. What a source leaves open is said to be open, and our
choice is named.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SsimSettings:
    """How SSIM is computed: Gaussian window of 11 pixels and sigma 1.5, constants 0.01 and 0.03 of the range.

    Attributes:
        colour: "rgb": mean over the three channels; "grey": of the luma, rounded to 8 bits, as PIL converts.
        border: "reflected": mean over all pixels of pictures reflected at their borders, as torchmetrics takes it from
            1.4.2 on; "left out": mean without the half window along the border, as scikit-image and older torchmetrics
            take it.
    """

    colour: Literal["rgb", "grey"] = "rgb"
    border: Literal["reflected", "left out"] = "reflected"


@dataclass(frozen=True)
class LpipsSettings:
    """How LPIPS is computed: version 0.1 with learned weights, pictures in [-1, 1].

    Attributes:
        backbone: the network.
        size: (height, width) that both pictures are brought to before, bilinear and antialiased by PIL; None: as they
            are.
    """

    backbone: Literal["alex", "squeeze", "vgg"]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class DistanceSettings:
    """How FID and KID are computed.

    Attributes:
        library: which computes them; its network, its resizing to 299 pixels and its arithmetic.
        kid_subsets, kid_subset_size: of KID; clean-fid lowers the size to the number of pictures, torch-fidelity
            refuses.
        kid_degree: of the polynomial kernel (x.y / D + 1)^degree.
        kid_seed: of the subsets' draws; None where the library leaves it to NumPy's global state (we set 0 then).
    """

    library: Literal["clean-fid", "torch-fidelity"]
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    kid_degree: int = 3
    kid_seed: int | None = None


@dataclass(frozen=True)
class Protocol:
    """A way to judge pictures. Pass it to `describe` for all of it in words.

    Attributes:
        name: its key in `PROTOCOLS`.
        description: what it is, a sentence.
        source: the paper and code it follows.
        name_rule: how a generated picture finds its reference: "stem": same name but for the suffix; "catvton": same 8
            characters from the first digit; "hr-viton": what is before the generated name's first underscore, then
            "_00".
        size: (height, width) that both pictures are brought to. None: the reference is brought to the generated
            picture's, or, without a filter, they must be equal already.
        resize_generated, resize_reference: PIL's filter on that side (antialiased); None: that side stays as it is.
        reencode_reference: "jpeg": a reference that comes as JPEG and is resized goes through PIL's default JPEG
            (quality 75) once more.
        distances_see: "compared": FID and KID see what the paired metrics see; "files": the files, not resized.
        ssim, lpips, distances: settings; None where the protocol has no such figure.
        paired_metrics, unpaired_metrics: the figures, by name; the paired ones need a true picture of the same person
            in the same garment, the others two sets.
        published_metrics: those of them that the source reports; the others are ours, by the same settings.
        regions: whether the paired metrics are given over the edited region too (always ours; needs masks).
        expected_counts: (test set, number of pictures) that published tables are computed on.
        notes: known traps, a sentence each.
    """

    name: str
    description: str
    source: str
    name_rule: Literal["stem", "catvton", "hr-viton"] = "stem"
    size: tuple[int, int] | None = None
    resize_generated: Literal["bilinear", "bicubic", "lanczos"] | None = None
    resize_reference: Literal["bilinear", "bicubic", "lanczos"] | None = None
    reencode_reference: Literal["jpeg"] | None = None
    distances_see: Literal["compared", "files"] = "compared"
    ssim: SsimSettings | None = None
    lpips: LpipsSettings | None = None
    distances: DistanceSettings | None = None
    paired_metrics: tuple[str, ...] = ()
    unpaired_metrics: tuple[str, ...] = ()
    published_metrics: tuple[str, ...] = ()
    regions: bool = True
    expected_counts: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


_OF_PIXELS = ("ssim", "lpips", "psnr", "ms_ssim")
_VITON_HD = ("VITON-HD test", 2032)
_DRESS_CODE = (("DressCode test, one category", 1800), ("DressCode test, all categories", 5400))
_FEW_PICTURES = (
    "FID falls with the number of pictures: below about 2,000 it is biased upwards, and only figures of the same "
    "count can be compared. KID's expectation does not depend on the count, its spread does."
)
_KID_SCALE = (
    "KID is printed x1000. Tables print it raw, x100 or x1000: look at its order of magnitude before comparing."
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="catvton",
            description="The folder comparison of CatVTON, also used by FastFit and, with more metrics, for Leffa.",
            source="eval.py of github.com/Zheng-Chong/CatVTON; CatVTON, arXiv 2407.15886",
            name_rule="catvton",
            resize_reference="lanczos",
            reencode_reference="jpeg",
            ssim=SsimSettings(border="left out"),
            lpips=LpipsSettings("squeeze"),
            distances=DistanceSettings("clean-fid"),
            paired_metrics=_OF_PIXELS,
            unpaired_metrics=("fid", "kid"),
            published_metrics=("ssim", "lpips", "fid", "kid"),
            expected_counts=(_VITON_HD, *_DRESS_CODE),
            notes=(
                "LPIPS is SqueezeNet's, not AlexNet's as in `ladi` and `hr-viton`: the two are not comparable.",
                "The code takes any torchmetrics; before 1.4.2 (September 2024), as when its figures were made, SSIM "
                "left the border out; since then it counts it.",
                "References are brought to the generated height only where the heights differ, and then saved once "
                "more: references that come as JPEG are compressed twice.",
                "CatVTON's 512-pixel figures were made with --repaint: the true picture is pasted back outside the "
                "mask, which betters SSIM and LPIPS of the whole picture.",
                "DressCode's image folder holds garments too (`_1`): a reference folder must hold the `_0` "
                "photographs of the test pairs alone.",
                "CatVTON skips generated pictures without a reference; here they are refused.",
                _KID_SCALE,
                _FEW_PICTURES,
            ),
        ),
        Protocol(
            name="ladi",
            description="The evaluation of LaDI-VTON: pictures compared at 512x384, FID against the test photographs.",
            source="src/utils/val_metrics.py of github.com/miccunifi/ladi-vton; LaDI-VTON, arXiv 2305.13501",
            size=(512, 384),
            resize_generated="bilinear",
            resize_reference="bilinear",
            distances_see="files",
            ssim=SsimSettings(border="left out"),
            lpips=LpipsSettings("alex"),
            distances=DistanceSettings("clean-fid"),
            paired_metrics=_OF_PIXELS,
            unpaired_metrics=("fid", "kid"),
            published_metrics=("ssim", "lpips", "fid", "kid"),
            expected_counts=(_VITON_HD, *_DRESS_CODE),
            notes=(
                "FID and KID see the generated files and the original photographs at their own sizes: clean-fid "
                "brings both to 299 pixels, so the sizes of the folders may differ.",
                "The code has torchmetrics 0.11.4, whose SSIM leaves the border out; from 1.4.2 on it counts it.",
                "The code prints KID raw; here it is x1000.",
                "LaDI-VTON also reports the Inception Score, which looks at generated pictures alone; it is left out.",
                "On DressCode it reports each category and all together: evaluate four folders.",
                _FEW_PICTURES,
            ),
        ),
        Protocol(
            name="hr-viton",
            description="The paired evaluation of HR-VITON: grey SSIM, MSE, LPIPS on 128x128 pixels.",
            source="evaluate.py of github.com/sangyun884/HR-VITON; HR-VITON, arXiv 2206.14180",
            name_rule="hr-viton",
            resize_reference="bilinear",
            ssim=SsimSettings(colour="grey", border="left out"),
            lpips=LpipsSettings("alex", size=(128, 128)),
            paired_metrics=("ssim", "mse", "lpips", "psnr", "ms_ssim"),
            published_metrics=("ssim", "mse", "lpips"),
            expected_counts=(_VITON_HD,),
            notes=(
                "SSIM is of grey pictures and LPIPS of 128x128 pixels (the aspect ratio is not kept): neither is "
                "comparable with `catvton` or `ladi`.",
                "The code knows the heights 1024, 512 and 256; any height is taken here, by the same bilinear filter.",
                "The code computes no FID or KID; the paper's come from a code that it does not name. Use "
                "`torch-fidelity` or `catvton` for them and say so.",
                "The code also computes the Inception Score, which looks at generated pictures alone; it is left out.",
            ),
        ),
        Protocol(
            name="torch-fidelity",
            description="FID and KID by torch-fidelity with HR-VITON's paired metrics, as DCI-VTON and D4-VTON do.",
            source="github.com/bcmi/DCI-VTON-Virtual-Try-On, issue 37; torch-fidelity's defaults; arXiv 2308.06101",
            name_rule="hr-viton",
            resize_reference="bilinear",
            ssim=SsimSettings(colour="grey", border="left out"),
            lpips=LpipsSettings("alex", size=(128, 128)),
            distances=DistanceSettings("torch-fidelity", kid_seed=2020),
            paired_metrics=("ssim", "lpips", "psnr", "ms_ssim"),
            unpaired_metrics=("fid", "kid"),
            published_metrics=("ssim", "lpips", "fid", "kid"),
            expected_counts=(_VITON_HD,),
            notes=(
                "torch-fidelity resizes to 299 pixels as TensorFlow 1 did, bilinear without antialiasing: its FID is "
                "not clean-fid's, and depends on the size of the files.",
                "The size of the references is not stated by the source. Our choice: brought to the generated size, "
                "bilinear, as in the paired metrics.",
                "KID needs at least 1,000 pictures in each set; torch-fidelity refuses fewer.",
                _KID_SCALE,
                _FEW_PICTURES,
            ),
        ),
        Protocol(
            name="tryondiffusion",
            description="The unpaired figures of the TryOnDiffusion paper, as far as it states how they were made.",
            source="TryOnDiffusion, arXiv 2306.08276",
            resize_reference="bicubic",
            distances=DistanceSettings("clean-fid"),
            unpaired_metrics=("fid", "kid"),
            published_metrics=("fid", "kid"),
            regions=False,
            expected_counts=(("the paper's own unpaired test set, not published", 6000), _VITON_HD),
            notes=(
                "The paper states FID and KID x1000 and the two test sets, and leaves unstated: the implementation of "
                "FID, KID's subsets, the size of the compared pictures, the resize filter.",
                "Our choices: clean-fid, its defaults, references brought to the generated size by bicubic resizing.",
                "Garments come from photographs of other people, not from laid-out garments: the paper's 23.352 on "
                "VITON-HD is not comparable with the 8 to 10 that methods for laid-out garments print.",
                "Its other result is a study with human raters, which no folder gives.",
                _KID_SCALE,
                _FEW_PICTURES,
            ),
        ),
        Protocol(
            name="rendered",
            description="Ours, for rendered people: the true picture of an unpaired try-on is known, pixel for pixel.",
            source="this package",
            ssim=SsimSettings(),
            lpips=LpipsSettings("alex"),
            paired_metrics=("psnr", *(name for name in _OF_PIXELS if name != "psnr")),
            notes=(
                "Drawn people, not photographs: the figures compare methods and training runs on this data, and say "
                "nothing about photographs.",
                "FID and KID are left out: the network behind them was trained on photographs.",
                "The edited region is what counts: outside it the photograph is given.",
                "Where label maps and keypoints of the true picture are known, the garment's colour and pattern, "
                "joints and labels are compared too.",
            ),
        ),
    )
}

_NAME_RULES = {
    "stem": "a generated picture and its reference have the same name but for the suffix",
    "catvton": "a generated picture and its reference have the same 8 characters from the first digit of the name",
    "hr-viton": 'the reference is called what is before the first underscore of the generated name, followed by "_00"',
}

_PSNR_IN_WORDS = "of RGB, in dB, at most 100 (equal pictures); mean over the pictures' own figures"
_MS_SSIM_IN_WORDS = (
    "of RGB; five scales from 176 pixels a side on, four from 99, three from 44, two from 12, weights of Wang et al. "
    "2003 scaled to the sum 1; negative similarities count as 0"
)


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"`protocol` must be one of {', '.join(PROTOCOLS)}, got {name!r}.")
    return PROTOCOLS[name]


def count_warning(protocol: Protocol, count: int) -> str | None:
    """A sentence for a number of pictures that no published table of the protocol is computed on; else None."""
    if not protocol.expected_counts or count in (number for _, number in protocol.expected_counts):
        return None
    known = ", ".join(f"{number:,} ({test_set})" for test_set, number in protocol.expected_counts)
    return f"These are {count:,} pictures; figures of the protocol `{protocol.name}` are published for {known}."


def describe(protocol: Protocol) -> list[tuple[str, str]]:
    """Every setting of a protocol with its value in words, for printing beside its figures."""
    settings = [
        ("protocol", f"{protocol.name}: {protocol.description}"),
        ("source", protocol.source),
        ("names", _NAME_RULES[protocol.name_rule]),
        ("size", _size_in_words(protocol)),
        ("compression", _compression_in_words(protocol)),
        ("paired metrics", _metrics_in_words(protocol.paired_metrics, protocol.published_metrics)),
        ("edited region", _regions_in_words(protocol)),
        ("unpaired metrics", _metrics_in_words(protocol.unpaired_metrics, protocol.published_metrics)),
        ("SSIM", _ssim_in_words(protocol.ssim)),
        ("PSNR", _if_paired(protocol, "psnr", _PSNR_IN_WORDS)),
        ("MS-SSIM", _if_paired(protocol, "ms_ssim", _MS_SSIM_IN_WORDS)),
        ("MSE", _if_paired(protocol, "mse", "of RGB values in [0, 1]; mean over the pictures")),
        ("LPIPS", _lpips_in_words(protocol.lpips)),
        ("FID", _fid_in_words(protocol)),
        ("KID", _kid_in_words(protocol.distances)),
        ("pictures", _counts_in_words(protocol.expected_counts)),
    ]
    return settings + [(f"note {number}", note) for number, note in enumerate(protocol.notes, start=1)]


def _size_in_words(protocol: Protocol) -> str:
    if protocol.size is not None:
        height, width = protocol.size
        return (
            f"compared at {height}x{width} (height x width); generated {protocol.resize_generated}, reference "
            f"{protocol.resize_reference}, by PIL (antialiased)"
        )
    if protocol.resize_reference is None:
        return "generated and reference must have one size; nothing is resized"
    return (
        f"the reference is brought to the generated picture's size where they differ, {protocol.resize_reference} by "
        "PIL (antialiased); another aspect ratio is refused"
    )


def _compression_in_words(protocol: Protocol) -> str:
    if protocol.reencode_reference is None:
        return "none: pictures are compared as they are decoded"
    return (
        "a reference that is resized and comes as JPEG is saved as JPEG once more (PIL's default: quality 75, 4:2:0)"
    )


def _metrics_in_words(metrics: tuple[str, ...], published: tuple[str, ...]) -> str:
    if not metrics:
        return "none"
    added = [name for name in metrics if name not in published]
    if not added or not published:
        return ", ".join(metrics)
    reported = ", ".join(name for name in metrics if name in published)
    return f"{reported}; added by us, not in the source: {', '.join(added)}"


def _regions_in_words(protocol: Protocol) -> str:
    if not protocol.regions:
        return "no figures of its own"
    return (
        "the paired metrics over the edited region too, where masks are given (ours, in no published table); outside "
        "of it pixels are first taken from the reference; PSNR, MSE and SSIM of its pixels, MS-SSIM and LPIPS of "
        "its box"
    )


def _if_paired(protocol: Protocol, metric: str, words: str) -> str:
    return words if metric in protocol.paired_metrics else "not computed"


def _ssim_in_words(ssim: SsimSettings | None) -> str:
    if ssim is None:
        return "not computed"
    colour = {"rgb": "of RGB, mean of the channels", "grey": "of grey pictures (PIL's 8-bit luma)"}[ssim.colour]
    border = {
        "reflected": "pictures reflected at their borders",
        "left out": "without the half window along the border",
    }[ssim.border]
    return (
        f"{colour}; Gaussian window of 11 pixels, sigma 1.5, covariances not corrected for the sample, {border}; mean "
        "over the pictures"
    )


def _lpips_in_words(lpips: LpipsSettings | None) -> str:
    if lpips is None:
        return "not computed"
    network = {"alex": "AlexNet", "squeeze": "SqueezeNet", "vgg": "VGG16"}[lpips.backbone]
    size = "pictures as they are compared"
    if lpips.size is not None:
        size = f"pictures brought to {lpips.size[0]}x{lpips.size[1]} before, bilinear by PIL"
    return f"{network}, version 0.1 with learned weights, values in [-1, 1], {size}"


def _fid_in_words(protocol: Protocol) -> str:
    if protocol.distances is None:
        return "not computed"
    how = {
        "clean-fid": 'clean-fid, mode "clean": Inception of StyleGAN (2048), 299 pixels bicubic by PIL, in floats',
        "torch-fidelity": "torch-fidelity: inception-v3-compat (2048), 299 pixels bilinear without antialiasing",
    }[protocol.distances.library]
    seen = {"compared": "the pictures as they are compared", "files": "the files at their own sizes"}
    return f"{how}; of {seen[protocol.distances_see]}"


def _kid_in_words(distances: DistanceSettings | None) -> str:
    if distances is None:
        return "not computed"
    size = {
        "clean-fid": f"{distances.kid_subset_size} pictures each, or all where there are fewer",
        "torch-fidelity": f"{distances.kid_subset_size} pictures each",
    }[distances.library]
    seed = "seed 0 (the library sets none)" if distances.kid_seed is None else f"seed {distances.kid_seed}"
    return (
        f"x1000; unbiased, kernel (x.y / D + 1)^{distances.kid_degree}, mean over {distances.kid_subsets} subsets of "
        f"{size}, {seed}"
    )


def _counts_in_words(counts: tuple[tuple[str, int], ...]) -> str:
    if not counts:
        return "any number; stated beside the figures"
    return "published tables use " + ", ".join(f"{count:,} ({test_set})" for test_set, count in counts)
