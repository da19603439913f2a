# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What `diffusers-tryon evaluate` leaves as evaluation.json: an example written by hand, with made-up figures."""

EVALUATION = {
    "format": "diffusers-tryon/evaluation",
    "version": 1,
    "protocol": {
        "name": "rendered",
        "settings": {
            "protocol": "rendered: Ours, for rendered people.", "size": [128, 128], "ssim": {"window": 11},
        },
    },
    "data": {
        "name": "rendered", "split": "test", "pairing": "unpaired", "category": "upper", "count": 64, "seed": 0,
        "size": [128, 96], "renderer_version": 2,
    },
    "model": {
        "name": "tiny", "weights_sha256": "0", "dtype": "float32", "call": {"num_inference_steps": 30},
        "schedulers": {"base_scheduler": {"class": "DDIMScheduler", "trained_betas": [0.1, 0.2]}},
    },
    "methods": {
        "model": {
            "psnr_region": {"mean": 13.94, "low": 13.5, "high": 14.3, "count": 64},
            "fid": {"mean": 41.234, "low": None, "high": None, "count": 64},
        },
        "agnostic": {"psnr_region": {"mean": 12.24, "low": 11.6, "high": 12.8, "count": 64}},
        "pasted": {"psnr_region": {"mean": None, "low": None, "high": None, "count": 0}},
        "reference": {},
    },
    "metrics": {
        "psnr_region": {"title": "PSNR, edited region", "unit": "dB", "higher_is_better": True},
        "fid": {"title": "FID", "unit": "", "higher_is_better": False},
    },
    "differences": {"agnostic": {"psnr_region": {"mean": 1.7, "low": 1.1, "high": 2.3, "count": 64}}, "pasted": {}},
    "wins": {"agnostic": {"psnr_region": {"share": 0.8, "low": 0.7, "high": 0.88, "count": 64}}, "pasted": {}},
    "unavailable": {"lpips": "its weights cannot be fetched"},
    "environment": {"torch": "2.13.0"},
}  # fmt: skip
