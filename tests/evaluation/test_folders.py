# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders from elsewhere: what is matched, what is refused in which words, what PIL makes of sizes by hand."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusers_tryon.evaluation.folders import import_folders, match_folders, read_pair
from diffusers_tryon.evaluation.layout import CaseRecord, case_ids
from diffusers_tryon.evaluation.protocols import PROTOCOLS, describe


CATVTON, LADI, HR_VITON, RENDERED = (PROTOCOLS[name] for name in ("catvton", "ladi", "hr-viton", "rendered"))


def picture(seed: int, width: int = 24, height: int = 32) -> Image.Image:
    """Smooth enough for JPEG, with detail that filters tell apart."""
    values = np.random.default_rng(seed).integers(0, 256, size=(height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def region(width: int = 24, height: int = 32) -> Image.Image:
    values = np.zeros((height, width), dtype=np.uint8)
    values[height // 4 : height // 2, width // 4 : width // 2] = 255
    return Image.fromarray(values)


def save(folder: Path, **pictures: Image.Image) -> Path:
    """`name__png=picture` becomes name.png."""
    folder.mkdir(exist_ok=True)
    for name, image in pictures.items():
        image.save(folder / name.replace("__", "."))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two cases that the protocol `rendered` takes, as PNG and JPEG."""
    generated = save(tmp_path / "generated", a__png=picture(0), b__jpg=picture(1))
    reference = save(tmp_path / "reference", a__jpg=picture(2), b__png=picture(3))
    masks = save(tmp_path / "masks", a__png=region(), b_mask__png=region())
    return generated, reference, masks


def problems(protocol, *paths) -> str:
    with pytest.raises(ValueError) as raised:
        match_folders(protocol, *paths, show_progress=False)
    return str(raised.value)


def names(matched) -> list[tuple]:
    return [(pictures.id, *(path and path.name for path in pictures[1:])) for pictures in matched]


# Names


def test_names_find_each_other_whatever_the_format(folders):
    assert names(match_folders(RENDERED, *folders, show_progress=False)) == [
        ("a", "a.png", "a.jpg", "a.png", None),
        ("b", "b.jpg", "b.png", "b_mask.png", None),
    ]
    assert [pictures.masks for pictures in match_folders(RENDERED, *folders[:2], show_progress=False)] == [None, None]


def test_catvton_looks_at_eight_characters_from_the_first_digit(tmp_path):
    generated = save(tmp_path / "g", person_00006_00__png=picture(0), **{"013563_0_013999_1__png": picture(1)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(2), "013563_0__jpg": picture(3)})
    matched = match_folders(CATVTON, generated, reference, show_progress=False)
    assert names(matched) == [
        ("00006_00", "person_00006_00.png", "00006_00.jpg", None, None),
        ("013563_0", "013563_0_013999_1.png", "013563_0.jpg", None, None),
    ]


def test_hr_viton_looks_at_the_persons_number(tmp_path):
    generated = save(tmp_path / "g", **{"00006_00_00055_00__png": picture(0)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(1)})
    masks = save(tmp_path / "m", **{"00006_00_mask__png": region()})
    matched = match_folders(HR_VITON, generated, reference, masks, show_progress=False)
    assert names(matched) == [("00006_00", "00006_00_00055_00.png", "00006_00.jpg", "00006_00_mask.png", None)]


def test_hidden_files_are_passed_over(folders):
    (folders[0] / ".DS_Store").write_text("")
    assert len(match_folders(RENDERED, *folders, show_progress=False)) == 2


def test_every_problem_of_names_is_listed(tmp_path):
    generated = save(tmp_path / "g", a__png=picture(0), a__jpg=picture(0), b__png=picture(0), extra__png=picture(0))
    reference = save(tmp_path / "r", a__png=picture(1), b__png=picture(1), missing__png=picture(1))
    masks = save(tmp_path / "m", a__png=region(), b_mask__png=region(), b__png=region())
    (generated / "notes.txt").write_text("")
    (generated / "old").mkdir()
    message = problems(RENDERED, generated, reference, masks)
    assert "protocol `rendered`" in message
    assert "several files of one case in `generated`: a.jpg and a.png" in message
    assert "several files of one case in `masks`: b.png and b_mask.png" in message
    assert "no PNG or JPEG files in `generated`: notes.txt, old" in message
    assert "`generated` without a partner in `reference`: extra.png" in message
    assert "`reference` without a partner in `generated`: missing.png" in message
    assert "`reference` without a partner in `masks`: missing.png" in message
    assert "`generated` without a partner in `masks`: extra.png" in message
    assert [int(number) for number in re.findall(r"^\((\d+)\)", message, re.MULTILINE)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_name_that_the_rule_does_not_fit_is_named(tmp_path):
    generated = save(tmp_path / "g", a__png=picture(0), **{"00006_00__png": picture(0)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(1)})
    assert "names in `generated` without what the protocol finds partners by: a.png" in problems(
        CATVTON, generated, reference
    )
    generated = save(tmp_path / "h", a__png=picture(0))
    assert "without what the protocol finds partners by: a.png" in problems(HR_VITON, generated, reference)


@pytest.mark.parametrize("missing", ["generated", "reference", "masks"])
def test_a_folder_that_is_none_is_refused(folders, missing):
    paths = dict(zip(("generated", "reference", "masks"), folders)) | {missing: folders[0] / "a.png"}
    with pytest.raises(ValueError, match=f"`{missing}` must be a folder of pictures, there is none at "):
        match_folders(RENDERED, **paths, show_progress=False)


def test_a_folder_without_pictures_is_refused(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"`reference` must hold pictures \(.png, .jpg, .jpeg\), there are none in "):
        match_folders(RENDERED, folders[0], tmp_path / "empty", show_progress=False)


# Contents


def test_every_problem_of_contents_is_listed(tmp_path):
    good = dict.fromkeys("abcdef")
    generated = save(tmp_path / "g", **{f"{name}__png": picture(0) for name in good})
    reference = save(tmp_path / "r", **{f"{name}__png": picture(1) for name in good})
    masks = save(tmp_path / "m", **{f"{name}__png": region() for name in good})
    whole = (generated / "a.png").read_bytes()
    (generated / "a.png").write_bytes(whole[: len(whole) // 2])
    (reference / "a.png").write_text("no picture")
    save(generated, b__png=picture(0).convert("RGBA"), c__png=picture(0).convert("L"), d__png=picture(0).convert("P"))
    save(generated, e__png=picture(0, width=20))
    save(masks, a__png=picture(5), b__png=picture(5).convert("L"), c__png=region(32, 32))
    save(
        masks, d__png=Image.new("L", (24, 32)), e__png=region().convert("RGBA"), f__png=region().point([0] * 255 + [1])
    )
    message = problems(RENDERED, generated, reference, masks)
    assert "broken files in `generated`: a.png\n" in message
    assert "broken files in `reference`: a.png\n" in message
    assert (
        "`generated` of a wrong kind: b.png is RGB with transparency, not RGB, c.png is grey, not RGB, "
        "d.png is in indexed colours, not RGB\n"
    ) in message
    assert "sizes differ (width x height): e.png 20x32 and e.png 24x32" in message
    assert "a.png is a picture in colours, not a mask, b.png is a grey picture, not a mask of 0 and 255" in message
    assert "d.png marks nothing: its highest value is 0, the region is where it is at least 128" in message
    assert "e.png is RGB with transparency, not grey, f.png marks nothing: its highest value is 1" in message
    assert "(width x height): c.png 32x32 for c.png 24x32" in message


def test_a_mask_of_another_aspect_ratio_is_listed(folders):
    save(folders[2], a__png=region(32, 32))
    message = problems(RENDERED, *folders)
    assert "masks of another aspect ratio than the picture (width x height): a.png 32x32 for a.png 24x32" in message


def test_another_aspect_ratio_is_listed(tmp_path):
    generated = save(tmp_path / "g", **{"00006_00__png": picture(0, 24, 32)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(1, 64, 64)})
    message = problems(CATVTON, generated, reference)
    assert "aspect ratios differ (width x height): 00006_00.png 24x32 and 00006_00.jpg 64x64" in message


def test_generated_pictures_of_several_sizes_are_listed(tmp_path):
    generated = save(tmp_path / "g", **{"00006_00__png": picture(0, 24, 32), "00007_00__png": picture(0, 48, 64)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(1, 24, 32), "00007_00__jpg": picture(1, 24, 32)})
    message = problems(CATVTON, generated, reference)
    assert "`generated` pictures must have one size, there are (width x height): 24x32, 48x64" in message
    assert len(match_folders(LADI, generated, reference, show_progress=False)) == 2


# Sizes


def test_ladi_brings_both_to_512_by_384(tmp_path):
    generated, reference = picture(0, 48, 64), picture(1, 768, 1024)
    save(tmp_path, a__png=generated, b__png=reference)
    pair = read_pair(LADI, tmp_path / "a.png", tmp_path / "b.png")
    assert pair[0].shape == pair[1].shape == (512, 384, 3) and pair[2] is None
    for image, ours in zip((generated, reference), pair):
        assert np.array_equal(ours, np.asarray(image.resize((384, 512), Image.BILINEAR)))


def test_hr_viton_brings_the_reference_to_the_generated_size(tmp_path):
    save(tmp_path, a__png=picture(0, 24, 32), b__jpg=picture(1, 48, 64))
    generated, reference, _ = read_pair(HR_VITON, tmp_path / "a.png", tmp_path / "b.jpg")
    assert np.array_equal(generated, np.asarray(picture(0, 24, 32)))
    by_hand = Image.open(tmp_path / "b.jpg").resize((24, 32), Image.BILINEAR)
    assert np.array_equal(reference, np.asarray(by_hand))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_catvton_saves_a_resized_reference_once_more(tmp_path, suffix):
    save(tmp_path, a__png=picture(0, 24, 32), **{f"b__{suffix}": picture(1, 48, 64)})
    _, reference, _ = read_pair(CATVTON, tmp_path / "a.png", tmp_path / f"b.{suffix}")
    # What the published code does: resize, save under the same name, open again.
    resized = Image.open(tmp_path / f"b.{suffix}").resize((24, 32), Image.LANCZOS)
    resized.save(tmp_path / f"again.{suffix}")
    assert np.array_equal(reference, np.asarray(Image.open(tmp_path / f"again.{suffix}")))
    assert np.array_equal(reference, np.asarray(resized)) == (suffix == "png")


def test_catvton_leaves_a_reference_of_the_same_size(tmp_path):
    save(tmp_path, a__png=picture(0), b__jpg=picture(1))
    _, reference, _ = read_pair(CATVTON, tmp_path / "a.png", tmp_path / "b.jpg")
    assert np.array_equal(reference, np.asarray(Image.open(tmp_path / "b.jpg")))


def test_a_mask_begins_at_half_of_white(tmp_path):
    mask = region()
    mask.putpixel((0, 0), 127)
    mask.putpixel((1, 0), 128)
    save(tmp_path, a__png=picture(0), b__png=picture(1), m__png=mask)
    expected = np.asarray(region()) == 255
    expected[0, 1] = True
    assert np.array_equal(read_pair(RENDERED, *(tmp_path / name for name in ("a.png", "b.png", "m.png")))[2], expected)


def test_a_mask_follows_its_picture(tmp_path):
    save(tmp_path, a__png=picture(0, 24, 32), b__png=picture(1, 24, 32), m__png=region(48, 64), j__jpg=region(48, 64))
    expected = np.zeros((32, 24), dtype=bool)
    expected[8:16, 6:12] = True
    for name in ("m.png", "j.jpg"):
        mask = read_pair(RENDERED, tmp_path / "a.png", tmp_path / "b.png", tmp_path / name)[2]
        assert mask.dtype == bool and np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a__png": picture(0).convert("L")}, "`generated` must be an RGB picture, .*a.png is grey"),
        (
            {"b__png": picture(0, 12, 16)},
            "`reference` must have the size of the generated picture .* height 32 and width 24",
        ),
        ({"m__png": picture(0)}, "`mask` must be grey, .*m.png is a picture in colours"),
        ({"m__png": region(32, 32)}, "`mask` must have the aspect ratio of the picture, .*m.png has 32 and 32"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(tmp_path, files, message):
    save(tmp_path, **({"a__png": picture(0), "b__png": picture(1), "m__png": region()} | files))
    with pytest.raises(ValueError, match=message):
        read_pair(RENDERED, tmp_path / "a.png", tmp_path / "b.png", tmp_path / "m.png")


# Import


def catvton_folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    generated = save(tmp_path / "g", **{"00006_00__png": picture(0), "00007_00__jpg": picture(1)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(2, 48, 64), "00007_00__jpg": picture(3, 48, 64)})
    masks = save(tmp_path / "m", **{"00006_00_mask__png": region(48, 64), "00007_00_mask__png": region(48, 64)})
    return generated, reference, masks


def test_an_import_is_judged_as_the_folders_are(tmp_path):
    paths = catvton_folders(tmp_path)
    folder = tmp_path / "evaluation"
    ids = import_folders(CATVTON, folder, *paths, show_progress=False)
    assert ids == case_ids(folder) == ["00006_00", "00007_00"]
    for pictures in match_folders(CATVTON, *paths, show_progress=False):
        direct = read_pair(CATVTON, pictures.generated, pictures.reference, pictures.masks)
        kinds = ("model", "reference", "mask")
        imported = read_pair(CATVTON, *(folder / kind / f"{pictures.id}.png" for kind in kinds))
        assert all(np.array_equal(one, other) for one, other in zip(direct, imported))
        # What FID and KID read.
        assert np.array_equal(np.asarray(Image.open(folder / "reference" / f"{pictures.id}.png")), direct[1])
    assert CaseRecord.read(folder, "00006_00").category == "unknown"
    settings = json.loads((folder / "settings.json").read_text())
    data = settings["data"]
    assert settings["model"] is None and dict(describe(CATVTON)) == settings["protocol"]
    assert (data["name"], data["count"], data["size"]) == ("folders", 2, [32, 24])


def test_an_import_for_ladi_keeps_the_files_sizes(tmp_path):
    folder = tmp_path / "evaluation"
    generated, reference, _ = catvton_folders(tmp_path)
    import_folders(LADI, folder, generated, reference, show_progress=False)
    stored = Image.open(folder / "reference" / "00006_00.png")
    assert stored.size == (48, 64)
    assert np.array_equal(np.asarray(stored), np.asarray(Image.open(reference / "00006_00.jpg")))
    assert not (folder / "mask").exists()


def test_png_files_that_stay_are_not_stored_twice(tmp_path):
    generated, reference, masks = catvton_folders(tmp_path)
    import_folders(CATVTON, tmp_path / "evaluation", generated, reference, masks, show_progress=False)
    assert (tmp_path / "evaluation" / "model" / "00006_00.png").samefile(generated / "00006_00.png")


def test_agnostic_images_are_judged_at_the_size_of_the_generated(tmp_path):
    generated = save(tmp_path / "g", **{"00006_00__png": picture(0)})
    reference = save(tmp_path / "r", **{"00006_00__jpg": picture(1)})
    agnostic = save(tmp_path / "a", **{"00006_00__png": picture(2, 48, 64)})
    ids = import_folders(CATVTON, tmp_path / "evaluation", generated, reference, None, agnostic, show_progress=False)
    found = Image.open(tmp_path / "evaluation" / "agnostic" / f"{ids[0]}.png")
    assert found.size == Image.open(generated / "00006_00.png").size
    expected = Image.open(agnostic / "00006_00.png").resize(found.size, Image.Resampling.LANCZOS)
    assert np.array_equal(found, expected)
    (agnostic / "00007_00.png").write_bytes((agnostic / "00006_00.png").read_bytes())
    assert "`agnostic` without a partner in `generated`: 00007_00.png" in problems(
        CATVTON, generated, reference, None, agnostic
    )


def test_a_mask_follows_a_picture_that_the_protocol_distorts(tmp_path):
    mask = region(32, 32)
    generated = save(tmp_path / "g", a__png=picture(0, 32, 32))
    paths = (generated / "a.png", generated / "a.png", save(tmp_path / "m", a__png=mask) / "a.png")
    _, _, found = read_pair(LADI, *paths)
    assert found.shape == (512, 384) and found.mean() == (np.asarray(mask) > 0).mean()


def test_an_import_goes_on_where_it_stopped(tmp_path):
    paths = catvton_folders(tmp_path)
    folder = tmp_path / "evaluation"
    import_folders(CATVTON, folder, *paths, show_progress=False)
    (folder / "cases" / "00007_00.json").unlink()
    (folder / "reference" / "00007_00.png").unlink()
    before = (folder / "reference" / "00006_00.png").stat().st_mtime_ns
    import_folders(CATVTON, folder, *paths, show_progress=False)
    assert (folder / "reference" / "00007_00.png").exists() and len(case_ids(folder)) == 2
    assert (folder / "reference" / "00006_00.png").stat().st_mtime_ns == before


def test_an_import_of_other_pictures_or_another_protocol_is_refused(tmp_path):
    paths = catvton_folders(tmp_path)
    folder = tmp_path / "evaluation"
    import_folders(CATVTON, folder, *paths, show_progress=False)
    with pytest.raises(
        ValueError, match="made otherwise: .*data.masks_sha256 was .* protocol.protocol was .*catvton.*ladi"
    ):
        import_folders(LADI, folder, *paths[:2], show_progress=False)
    # A new file beside the old one, which the evaluation shares.
    (paths[0] / "00006_00.png").unlink()
    save(paths[0], **{"00006_00__png": picture(9)})
    with pytest.raises(ValueError, match="made otherwise: generated_sha256 was "):
        import_folders(CATVTON, folder, *paths, show_progress=False)
    assert np.array_equal(np.asarray(Image.open(folder / "model" / "00006_00.png")), np.asarray(picture(0)))


def test_nothing_is_written_for_folders_that_do_not_match(folders, tmp_path):
    (folders[1] / "a.jpg").unlink()
    with pytest.raises(ValueError, match="without a partner"):
        import_folders(RENDERED, tmp_path / "evaluation", *folders, show_progress=False)
    assert not (tmp_path / "evaluation").exists()


def test_jpeg_again_is_what_pil_writes_by_default(tmp_path):
    image = picture(4, 48, 64)
    protocol = replace(CATVTON, resize_reference="bicubic")
    save(tmp_path, a__png=picture(0), b__jpeg=image)
    _, reference, _ = read_pair(protocol, tmp_path / "a.png", tmp_path / "b.jpeg")
    file = io.BytesIO()
    Image.open(tmp_path / "b.jpeg").resize((24, 32), Image.BICUBIC).save(file, "JPEG", quality=75, subsampling="4:2:0")
    assert np.array_equal(reference, np.asarray(Image.open(file)))
