# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""What the Parallel-UNet computes: against plain restatements, by condition, by path, and for bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from networks import PAPER_LEVELS, network_inputs, plain_pose_maps, random_pose, split_garment, tiny_network

from diffusers_tryon import GarmentFeatures, ParallelUNetModel, ParallelUNetOutput, create_unet
from diffusers_tryon.models.unet_parallel import Attention, PoseEmbedding, ResidualBlock


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def run(model: ParallelUNetModel, inputs: dict, **changes) -> torch.Tensor:
    return model(**{**inputs, **changes}).sample


def names(parameter: object) -> str:
    return " ".join(parameter) if isinstance(parameter, dict) else ""


# The whole network once more, from its weights by name, written as the paper's figure reads


class PlainNetwork:
    """Slow and flat: no modules, no back ends, one function per box of figure 2 and supplementary section 1."""

    def __init__(self, model: ParallelUNetModel):
        self.weights = model.state_dict()
        self.config = model.config
        attention_levels = list(model.config.attention_levels)
        self.finest_attention_level = min(level for level, has in enumerate(attention_levels) if has)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def conv(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = self.weights[f"{name}.weight"]
        kernel = weight.shape[-1]
        columns = F.unfold(x, kernel, padding=kernel // 2, stride=stride)  # (B, C kk, L)
        y = weight.flatten(1) @ columns + self.weights[f"{name}.bias"][:, None]
        return y.unflatten(2, ((x.shape[-2] - 1) // stride + 1, (x.shape[-1] - 1) // stride + 1))

    def group_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        groups = x.reshape(x.shape[0], min(32, channels // 4), -1)
        mean = groups.mean(dim=2, keepdim=True)
        variance = ((groups - mean) ** 2).mean(dim=2, keepdim=True)
        normal = ((groups - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return normal * weight[:, None, None] + bias[:, None, None]

    def swish(self, x: torch.Tensor) -> torch.Tensor:
        return x / (1 + torch.exp(-x))

    def attention(
        self, name: str, queries: torch.Tensor, sources: torch.Tensor, added: torch.Tensor | None = None
    ) -> torch.Tensor:
        query = self.linear(f"{name}.to_q", queries)
        key, value = self.linear(f"{name}.to_k", sources), self.linear(f"{name}.to_v", sources)
        if added is not None:
            key = torch.cat([key, self.linear(f"{name}.add_k_proj", added)], dim=1)
            value = torch.cat([value, self.linear(f"{name}.add_v_proj", added)], dim=1)
        width, outputs = self.config.attention_head_dim, []
        for start in range(0, query.shape[-1], width):
            head = slice(start, start + width)
            scores = query[..., head] @ key[..., head].transpose(1, 2) / math.sqrt(width)
            outputs.append(torch.softmax(scores, dim=-1) @ value[..., head])
        return self.linear(f"{name}.to_out.0", torch.cat(outputs, dim=-1))

    def level(self, name: str, level: torch.Tensor) -> torch.Tensor:
        half = self.config.conditioning_dim // 2
        angles = level[:, None] * torch.tensor([10000 ** (-i / half) for i in range(half)])
        x = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.linear(f"{name}.embedding.linear_2", self.swish(self.linear(f"{name}.embedding.linear_1", x)))

    def pose(self, name: str, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.empty(len(pose), 18, self.config.pose_embed_dim)
        for row in range(len(pose)):
            missing = self.weights[f"{name}.missing_embedding"]
            if name == "garment_pose_embedding" and pose[row, :, 2].sum() == 0:
                missing = self.weights[f"{name}.flat_embedding"]
            for point in range(18):
                visibility = pose[row, point, 2]
                hidden = self.swish(self.linear(f"{name}.linear_1", pose[row, point, :2]))
                token = visibility * self.linear(f"{name}.linear_2", hidden) + (1 - visibility) * missing
                tokens[row, point] = token + self.weights[f"{name}.keypoint_embedding"][point]
        mean = tokens.mean(dim=1, keepdim=True)
        pooled = self.attention(f"{name}.pool", mean, torch.cat([mean, tokens], dim=1))[:, 0]
        return tokens, self.linear(f"{name}.to_vector", pooled)

    def residual_block(self, name: str, x: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        skip = self.conv(f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in self.weights else x
        h = self.conv(f"{name}.conv1", self.swish(self.group_norm(f"{name}.norm1", x)))
        film = self.linear(f"{name}.film", self.swish(vector))
        scale, shift = film[:, : h.shape[1], None, None], film[:, h.shape[1] :, None, None]
        h = self.group_norm(f"{name}.norm2", h) * (1 + scale) + shift
        return skip + self.conv(f"{name}.conv2", self.swish(h))

    def block(self, name, x, vector, pose_tokens=None, garment=None):
        x = self.residual_block(f"{name}.residual_block", x, vector)
        if f"{name}.norm_self.weight" not in self.weights:
            return x
        size = x.shape[2:]
        tokens = self.group_norm(f"{name}.norm_self", x).flatten(2).transpose(1, 2)
        x = x + self.attention(f"{name}.self_attention", tokens, tokens, pose_tokens).transpose(1, 2).unflatten(
            2, size
        )
        tokens = self.group_norm(f"{name}.norm_cross", x).flatten(2).transpose(1, 2)
        garment = self.group_norm(f"{name}.norm_garment", garment)
        if self.config.garment_fusion == "concatenation":
            person = tokens.transpose(1, 2).unflatten(2, size)
            return x + self.conv(f"{name}.concatenation", torch.cat([person, garment], dim=1))
        garment = garment.flatten(2).transpose(1, 2)
        return x + self.attention(f"{name}.cross_attention", tokens, garment).transpose(1, 2).unflatten(2, size)

    def join_maps(self, x: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, plain_pose_maps(pose, *x.shape[2:]).float()], dim=1) if self.config.pose_maps else x

    def fold(self, x: torch.Tensor) -> torch.Tensor:
        p = self.config.patch_size
        batch_size, channels, height, width = x.shape
        x = x.reshape(batch_size, channels, height // p, p, width // p, p).permute(0, 1, 3, 5, 2, 4)
        return x.reshape(batch_size, channels * p * p, height // p, width // p)

    def unfold(self, x: torch.Tensor) -> torch.Tensor:
        p = self.config.patch_size
        batch_size, channels, height, width = x.shape
        x = x.reshape(batch_size, channels // p**2, p, p, height, width).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(batch_size, channels // p**2, height * p, width * p)

    def double(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def __call__(self, inputs: dict) -> torch.Tensor:
        config = self.config
        garment_tokens, garment_vector = self.pose("garment_pose_embedding", inputs["garment_pose"])
        person_tokens, person_vector = self.pose("person_pose_embedding", inputs["person_pose"])
        garment_vector = garment_vector + self.level("garment_noise_embedding", inputs["garment_noise_level"])
        vector = garment_vector + person_vector + self.level("time_embedding", inputs["timestep"])
        vector = vector + self.level("agnostic_noise_embedding", inputs["agnostic_noise_level"])
        if config.low_res_conditioning:
            vector = vector + self.level("low_res_noise_embedding", inputs["low_res_noise_level"])
        pose_tokens = torch.cat([person_tokens, garment_tokens], dim=1)

        # The garment stream; its feature maps are kept by direction, level and block.
        garment_vector = vector if config.garment_time_conditioning else garment_vector
        last_level = len(config.block_out_channels) - 1
        garment = self.join_maps(self.fold(inputs["garment_image"]), inputs["garment_pose"])
        garment, features = self.conv("garment_conv_in", garment), {}
        for level in range(last_level + 1):
            for i in range(config.garment_layers_per_block[level]):
                garment = self.block(f"garment_down_blocks.{level}.{i}", garment, garment_vector)
                features["down", level, i] = garment
            if level < last_level:
                garment = self.conv(f"garment_downsamplers.{level}.conv", garment, stride=2)
        for level in range(last_level, self.finest_attention_level - 1, -1):
            layers = config.garment_layers_per_block[level]
            for i in range(layers):
                garment = torch.cat([garment, features["down", level, layers - 1 - i]], dim=1)
                garment = self.block(f"garment_up_blocks.{last_level - level}.{i}", garment, garment_vector)
                features["up", level, i] = garment
            if level > self.finest_attention_level:
                garment = self.conv(f"garment_upsamplers.{last_level - level}.conv", self.double(garment))

        # The person stream.
        images = [inputs["agnostic_image"], inputs["sample"]]
        images += [inputs["low_res_image"]] if config.low_res_conditioning else []
        x = self.join_maps(torch.cat([self.fold(image) for image in images], dim=1), inputs["person_pose"])
        x, skips = self.conv("conv_in", x), {}
        for level in range(last_level + 1):
            for i in range(config.layers_per_block[level]):
                x = self.block(f"down_blocks.{level}.{i}", x, vector, pose_tokens, features.get(("down", level, i)))
                skips[level, i] = x
            if level < last_level:
                x = self.conv(f"downsamplers.{level}.conv", x, stride=2)
        for level in range(last_level, -1, -1):
            layers = config.layers_per_block[level]
            for i in range(layers):
                x = torch.cat([x, skips[level, layers - 1 - i]], dim=1)
                name = f"up_blocks.{last_level - level}.{i}"
                x = self.block(name, x, vector, pose_tokens, features.get(("up", level, i)))
            if level > 0:
                x = self.conv(f"upsamplers.{last_level - level}.conv", self.double(x))
        return self.unfold(self.conv("conv_out", self.swish(self.group_norm("norm_out", x))))


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"garment_time_conditioning": False},
        {"low_res_conditioning": True, "patch_size": 2},
        {
            "block_out_channels": (8, 16, 24),
            "layers_per_block": (2, 1, 3),
            "garment_layers_per_block": (1, 1, 3),
            "attention_levels": (False, True, True),
        },
        {
            "block_out_channels": (16, 8, 16),
            "layers_per_block": (2, 2, 1),
            "garment_layers_per_block": (2, 1, 1),
            "attention_levels": (True, False, True),
        },
        {"attention_levels": (True, False), "layers_per_block": (1, 1), "garment_layers_per_block": (1, 2)},
        {"pose_maps": True, "patch_size": 2},
        {"garment_fusion": "concatenation"},
    ],
    ids=[
        "default",
        "cached",
        "low-res, patches",
        "three levels",
        "gap",
        "fine attention only",
        "maps",
        "concatenation",
    ],
)
def test_forward_equals_a_plain_restatement(overrides):
    model = tiny_network(ParallelUNetModel, **overrides)
    inputs = network_inputs(model, batch_size=2, size=(16, 24))
    inputs["garment_pose"][1, :, 2] = 0.0
    inputs["person_pose"][0, 3, 2] = 0.4
    got, expected = run(model, inputs), PlainNetwork(model)(inputs)
    assert expected.abs().mean() > 0.05
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


# Parts


def test_attention_is_softmax_over_tokens_and_added_tokens():
    attention = Attention(dim=16, head_dim=8, added_dim=12)
    queries, sources, added = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 3, 12)
    key = torch.cat([attention.to_k(sources), attention.add_k_proj(added)], dim=1)
    value = torch.cat([attention.to_v(sources), attention.add_v_proj(added)], dim=1)
    query = attention.to_q(queries)
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        weights = (query[..., head] @ key[..., head].transpose(1, 2) / 8**0.5).exp()
        heads.append((weights / weights.sum(dim=-1, keepdim=True)) @ value[..., head])
    expected = attention.to_out[0](torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(queries, sources, added), expected)
    assert not torch.allclose(attention(queries, sources, added), attention(queries, sources, added + 1))


@pytest.mark.parametrize("out_channels", [8, 16])
def test_residual_block_is_the_paper_s_with_film_before_the_second_swish(out_channels):
    block = ResidualBlock(in_channels=8, out_channels=out_channels, vector_dim=6)
    assert block.norm1.num_groups == 2 and block.norm2.num_groups == out_channels // 4
    assert (block.conv_shortcut is None) == (out_channels == 8)
    x, vector = torch.randn(2, 8, 4, 6), torch.randn(2, 6)
    scale, shift = F.linear(F.silu(vector), block.film.weight, block.film.bias).split(out_channels, dim=1)
    h = F.conv2d(F.silu(F.group_norm(x, 2)), block.conv1.weight, block.conv1.bias, padding=1)
    h = F.group_norm(h, out_channels // 4) * (1 + scale[..., None, None]) + shift[..., None, None]
    h = F.conv2d(F.silu(h), block.conv2.weight, block.conv2.bias, padding=1)
    skip = x if out_channels == 8 else F.conv2d(x, block.conv_shortcut.weight, block.conv_shortcut.bias)
    torch.testing.assert_close(block(x, vector), skip + h)


def pose_embedding(flat_state: bool) -> PoseEmbedding:
    torch.manual_seed(0)
    embedding = PoseEmbedding(embed_dim=16, vector_dim=8, head_dim=8, flat_state=flat_state)
    for parameter in embedding.parameters():
        parameter.add_(torch.randn(parameter.shape))
    return embedding


def test_missing_point_is_a_learned_token_whatever_its_coordinates():
    embedding = pose_embedding(flat_state=True)
    pose = random_pose(2, torch.Generator().manual_seed(0))
    pose[:, 4, 2] = 0.0
    tokens, vector = embedding(pose)
    torch.testing.assert_close(
        tokens[:, 4], (embedding.missing_embedding + embedding.keypoint_embedding[4]).expand(2, -1)
    )
    moved = pose.clone()
    moved[:, 4, :2] = 0.9
    assert torch.equal(embedding(moved)[0], tokens) and torch.equal(embedding(moved)[1], vector)
    shown = moved.clone()
    shown[:, 4, 2] = 1.0
    assert not torch.allclose(embedding(shown)[0][:, 4], tokens[:, 4])
    assert not torch.allclose(embedding(shown)[1], vector)
    assert torch.equal(embedding(shown)[0][:, 5], tokens[:, 5])


def test_half_visible_point_is_halfway_between_seen_and_missing():
    embedding = pose_embedding(flat_state=False)
    pose = torch.rand(3, 18, 3)
    pose[0, :, 2], pose[1, :, 2], pose[2, :, 2] = 0.0, 0.5, 1.0
    pose[1:] = torch.where(torch.tensor([True, True, False]), pose[:1], pose[1:])
    missing, half, seen = embedding(pose)[0]
    torch.testing.assert_close(half, (missing + seen) / 2)


def test_pose_without_points_is_a_flat_garment_but_for_persons_a_missing_pose():
    pose = torch.rand(2, 18, 3)
    pose[..., 2] = 0.0
    pose[1, 7, 2] = 0.01
    garment, person = pose_embedding(flat_state=True), pose_embedding(flat_state=False)
    tokens, _ = garment(pose)
    torch.testing.assert_close(tokens[0], garment.flat_embedding + garment.keypoint_embedding)
    torch.testing.assert_close(tokens[1, 0], garment.missing_embedding + garment.keypoint_embedding[0])
    tokens, _ = person(pose)
    torch.testing.assert_close(tokens[0], person.missing_embedding + person.keypoint_embedding)
    assert person.flat_embedding is None


@pytest.mark.parametrize("time_conditioning", [True, False])
def test_flat_garment_missing_points_and_dropped_pose_are_three_states(time_conditioning):
    model = tiny_network(garment_time_conditioning=time_conditioning)
    inputs = network_inputs(model)
    inputs["garment_pose"][..., 2] = 0.0
    one_point = inputs["garment_pose"].clone()
    one_point[:, 0, 2] = 1e-6
    dropped = torch.tensor([[True, True, True, False]] * 2)
    flat = run(model, inputs)
    assert torch.equal(flat, run(model, inputs, garment_pose=None))
    assert not torch.allclose(flat, run(model, inputs, garment_pose=one_point))
    assert not torch.allclose(flat, run(model, inputs, conditioning_mask=dropped))


# Conditions


CONDITION_INPUTS = {
    0: ("agnostic_image", "agnostic_noise_level"),
    1: ("garment_image", "garment_noise_level"),
    2: ("person_pose",),
    3: ("garment_pose",),
}


def changed(name: str, value: torch.Tensor) -> torch.Tensor:
    if name.endswith("image") or name == "sample":
        return -value
    if name.endswith("pose"):
        return torch.cat([1 - value[..., :2], value[..., 2:]], dim=-1)
    return 999 - value


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"garment_time_conditioning": False},
        {"pose_maps": True, "garment_time_conditioning": False},
        {"garment_fusion": "concatenation"},
    ],
    ids=["default", "cached", "maps", "concatenation"],
)
@pytest.mark.parametrize("column", range(4))
def test_dropped_condition_does_not_matter_and_the_others_do(column, overrides):
    model = tiny_network(low_res_conditioning=True, **overrides)
    inputs = network_inputs(model)
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[:, column] = False
    expected = run(model, inputs, conditioning_mask=mask)
    assert not torch.allclose(expected, run(model, inputs), atol=1e-3)
    for name, value in inputs.items():
        got = run(model, inputs, conditioning_mask=mask, **{name: changed(name, value)})
        if name in CONDITION_INPUTS[column]:
            assert torch.equal(got, expected), name
        else:
            assert (got - expected).abs().max() > 1e-3, name


def test_mask_of_one_column_drops_everything_but_time_sample_and_low_res():
    model = tiny_network(low_res_conditioning=True)
    inputs = network_inputs(model)
    none = torch.zeros(2, dtype=torch.bool)
    expected = run(model, inputs, conditioning_mask=none)
    assert torch.equal(expected, run(model, inputs, conditioning_mask=none[:, None].expand(2, 4)))
    dropped = {name for names in CONDITION_INPUTS.values() for name in names}
    for name, value in inputs.items():
        got = run(model, inputs, conditioning_mask=none, **{name: changed(name, value)})
        assert torch.equal(got, expected) == (name in dropped), name


def test_mask_that_keeps_everything_changes_nothing():
    model = tiny_network()
    inputs = network_inputs(model)
    expected = run(model, inputs)
    for shape in ((2,), (2, 4)):
        assert torch.equal(run(model, inputs, conditioning_mask=torch.ones(shape, dtype=torch.bool)), expected)


def test_rows_are_independent_also_under_a_mixed_mask():
    model = tiny_network(low_res_conditioning=True)
    inputs = network_inputs(model, batch_size=4)
    inputs["garment_pose"][2, :, 2] = 0.0
    mask = torch.tensor([[True] * 4, [False] * 4, [True, False, True, True], [False, True, False, False]])
    together = run(model, inputs, conditioning_mask=mask)
    for row in range(4):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        torch.testing.assert_close(
            run(model, alone, conditioning_mask=mask[row : row + 1]), together[row : row + 1], rtol=1e-4, atol=1e-5
        )


# Timesteps and noise levels


LEVELS = ("timestep", "agnostic_noise_level", "garment_noise_level", "low_res_noise_level")


@pytest.mark.parametrize("name", LEVELS)
def test_scalar_single_and_batched_levels_agree(name):
    model = tiny_network(low_res_conditioning=True)
    inputs = network_inputs(model)
    expected = run(model, inputs, **{name: torch.tensor([250.0, 250.0])})
    for level in (torch.tensor(250.0), torch.tensor([250.0]), torch.tensor(250), torch.tensor([250, 250])):
        assert torch.equal(run(model, inputs, **{name: level}), expected)
    assert not torch.allclose(run(model, inputs, **{name: torch.tensor([250.0, 800.0])})[1], expected[1])


@pytest.mark.parametrize("name", LEVELS)
def test_fractions_of_levels_matter(name):
    model = tiny_network(low_res_conditioning=True)
    inputs = network_inputs(model)
    whole = run(model, inputs, **{name: torch.tensor(500.0)})
    assert (run(model, inputs, **{name: torch.tensor(500.5)}) - whole).abs().max() > 1e-4


@pytest.mark.parametrize("name", LEVELS[1:])
def test_no_noise_is_level_zero(name):
    model = tiny_network(low_res_conditioning=True)
    inputs = network_inputs(model)
    none = run(model, inputs, **{name: None})
    assert torch.equal(none, run(model, inputs, **{name: torch.tensor(0)}))
    assert not torch.allclose(none, run(model, inputs))


# The garment's features


@pytest.mark.parametrize("time_conditioning", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_features_encoded_beforehand_give_the_same_bits(time_conditioning, masked):
    model = tiny_network(low_res_conditioning=True, garment_time_conditioning=time_conditioning)
    inputs = network_inputs(model, size=(16, 24))
    mask = torch.tensor([[True, True, False, True], [True, False, True, False]]) if masked else None
    encoded = split_garment(model, inputs, mask)
    assert torch.equal(run(model, encoded), run(model, inputs, conditioning_mask=mask))


def test_feature_maps_are_those_of_the_attention_blocks_in_the_order_of_use():
    model = tiny_network(
        block_out_channels=(8, 16, 24),
        layers_per_block=(1, 2, 3),
        garment_layers_per_block=(1, 2, 3),
        attention_levels=(False, True, True),
    )
    features = split_garment(model, network_inputs(model, size=(16, 24)))["garment_features"]
    middle, coarse = (2, 16, 8, 12), (2, 24, 4, 6)
    assert [tuple(feature.shape) for feature in features.down] == [middle] * 2 + [coarse] * 3
    assert [tuple(feature.shape) for feature in features.up] == [coarse] * 3 + [middle] * 2


@pytest.mark.parametrize("time_conditioning", [True, False])
def test_features_of_dropped_garments_may_hold_anything(time_conditioning):
    model = tiny_network(garment_time_conditioning=time_conditioning)
    inputs = network_inputs(model, batch_size=3)
    mask = torch.tensor([True, False, True])
    expected = run(model, inputs, conditioning_mask=mask)
    encoded = split_garment(model, inputs, mask)
    assert torch.equal(run(model, encoded), expected)
    for value in (0.0, 7.0):
        filled = [
            tuple(torch.where(mask[:, None, None, None], feature, value) for feature in maps)
            for maps in encoded["garment_features"]
        ]
        assert torch.equal(run(model, encoded, garment_features=GarmentFeatures(*filled)), expected)


def test_one_garment_serves_many_people():
    model = tiny_network(garment_time_conditioning=False)
    people = network_inputs(model, batch_size=3)
    for name in ("garment_image", "garment_pose", "garment_noise_level"):
        people[name] = people[name][:1].expand(3, *people[name].shape[1:])
    features = model.encode_garment(
        people["garment_image"][:1], people["garment_pose"][:1], people["garment_noise_level"][:1]
    )
    shared = GarmentFeatures(*(tuple(feature.expand(3, -1, -1, -1) for feature in maps) for maps in features))
    rest = {name: value for name, value in people.items() if name != "garment_image"}
    torch.testing.assert_close(run(model, rest, garment_features=shared), run(model, people), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("time_conditioning", [True, False])
def test_features_depend_on_time_and_person_only_with_time_conditioning(time_conditioning):
    model = tiny_network(low_res_conditioning=True, garment_time_conditioning=time_conditioning)
    inputs = network_inputs(model)
    mine = ("garment_image", "garment_pose", "garment_noise_level")
    others = ("timestep", "person_pose", "agnostic_noise_level", "low_res_noise_level")
    arguments = {name: inputs[name] for name in mine + others}
    expected = model.encode_garment(**arguments)
    for name in mine + others:
        got = model.encode_garment(**{**arguments, name: changed(name, arguments[name])})
        same = [torch.equal(a, b) for a, b in zip(got.down + got.up, expected.down + expected.up, strict=True)]
        if name in others and not time_conditioning:
            assert all(same), name
        else:
            assert not any(same), name


# Shapes, blocks and fresh weights


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_patches_fold_pixels_into_channels_of_the_outer_layers_only(patch_size):
    model = tiny_network(low_res_conditioning=True, patch_size=patch_size)
    pixel_channels = 3 * patch_size**2
    assert model.size_divisor == 2 * patch_size
    assert model.conv_in.weight.shape == (8, 3 * pixel_channels, 3, 3)
    assert model.garment_conv_in.weight.shape == (8, pixel_channels, 3, 3)
    assert model.conv_out.weight.shape == (pixel_channels, 8, 3, 3)
    inputs = network_inputs(model, size=(16, 24))
    features = split_garment(model, inputs)["garment_features"]
    assert {feature.shape[-2:] for feature in features.down} == {(8 // patch_size, 12 // patch_size)}
    assert run(model, inputs).shape == (2, 3, 16, 24)


@pytest.mark.parametrize("size", [(8, 16), (24, 16), (32, 32)])
def test_sizes_other_than_the_trained_one_work(size):
    model = tiny_network(sample_size=(16, 16))
    assert run(model, network_inputs(model, size=size)).shape == (2, 3, *size)


def test_output_is_a_dataclass_or_a_tuple_and_contiguous():
    model = tiny_network(patch_size=2)
    inputs = network_inputs(model)
    output = model(**inputs)
    assert isinstance(output, ParallelUNetOutput) and output.sample.is_contiguous()
    (sample,) = model(**inputs, return_dict=False)
    assert torch.equal(sample, output.sample)


@pytest.mark.parametrize("name", PAPER_LEVELS)
def test_blocks_are_those_of_the_paper(name):
    with torch.device("meta"):
        model = create_unet(name)

    def levels(stream: torch.nn.ModuleList) -> list:
        return [
            (blocks[0].residual_block.conv2.out_channels, len(blocks), blocks[0].has_attention) for blocks in stream
        ]

    table = PAPER_LEVELS[name]
    person = [(channels, blocks, attention) for channels, blocks, _, attention in table]
    garment = [(channels, blocks, False) for channels, _, blocks, _ in table]
    finest = [attention for _, _, _, attention in table].index(True)
    assert levels(model.down_blocks) == person
    assert levels(model.up_blocks) == person[::-1]
    assert levels(model.garment_down_blocks) == garment
    assert levels(model.garment_up_blocks) == garment[finest:][::-1]
    for stream in (model.down_blocks, model.up_blocks):
        for blocks in stream:
            assert {block.has_attention for block in blocks} == {blocks[0].has_attention}
            assert all(not block.has_attention or block.self_attention.add_k_proj is not None for block in blocks)


def test_fresh_network_predicts_zero_and_its_blocks_are_the_identity():
    model = create_unet("tiny-base")
    assert run(model, network_inputs(model, size=(32, 32))).abs().max() == 0
    x, vector = torch.randn(1, 16, 8, 8), torch.randn(1, 16)
    assert torch.equal(model.down_blocks[0][0](x, vector), x)


@pytest.mark.parametrize("time_conditioning", [True, False])
def test_every_parameter_is_trained(time_conditioning):
    model = tiny_network(low_res_conditioning=True, garment_time_conditioning=time_conditioning)
    inputs = network_inputs(model)
    inputs["garment_pose"][1, :, 2] = 0.0
    inputs["garment_pose"][0, 3, 2] = 0.0
    inputs["person_pose"][:, 3, 2] = 0.0
    with torch.enable_grad():
        run(model, inputs).square().mean().backward()
    untrained = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert untrained == []
    # Softmax does not see a shift common to all keys, so one weight may have a vanishing but never an absent gradient.
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": torch.zeros(2, 3, 15, 16)}, "`sample` must have a height and width that are multiples of 2"),
        ({"sample": torch.zeros(2, 4, 16, 16)}, r"`sample` must have shape \(2, 3, 16, 16\)"),
        ({"sample": torch.zeros(3, 16, 16)}, "`sample` must have shape"),
        ({"agnostic_image": torch.zeros(2, 3, 16, 24)}, "`agnostic_image` must have shape"),
        ({"agnostic_image": torch.zeros(1, 3, 16, 16)}, "`agnostic_image` must have shape"),
        ({"garment_image": torch.zeros(2, 1, 16, 16)}, "`garment_image` must have shape"),
        ({"garment_image": torch.zeros(3, 3, 16, 16)}, "`garment_image` must have shape"),
        ({"garment_image": None}, "one of `garment_image` and `garment_features`"),
        ({"garment_features": GarmentFeatures((), ())}, "one of `garment_image` and `garment_features`"),
        ({"person_pose": None}, "`person_pose` must be given"),
        ({"person_pose": torch.zeros(2, 17, 3)}, r"`person_pose` must have shape \(2, 18, 3\)"),
        ({"person_pose": torch.zeros(18, 3)}, "`person_pose` must have shape"),
        ({"garment_pose": torch.zeros(2, 18, 2)}, "`garment_pose` must have shape"),
        ({"garment_pose": torch.zeros(1, 18, 3)}, "`garment_pose` must have shape"),
        ({"low_res_image": None}, "needs `low_res_image`"),
        ({"low_res_image": torch.zeros(2, 3, 8, 8)}, "`low_res_image` must have shape"),
        ({"timestep": 10.0}, "`timestep` must be a tensor"),
        ({"timestep": None}, "`timestep`"),
        ({"timestep": torch.zeros(3)}, r"`timestep` must be a tensor, scalar or of shape \(2,\)"),
        ({"agnostic_noise_level": 10}, "`agnostic_noise_level` must be a tensor"),
        ({"garment_noise_level": torch.zeros(2, 1)}, "`garment_noise_level` must be a tensor"),
        ({"low_res_noise_level": torch.zeros(3)}, "`low_res_noise_level` must be a tensor"),
        ({"conditioning_mask": torch.ones(3, dtype=torch.bool)}, r"`conditioning_mask` must have shape \(2,\) or"),
        ({"conditioning_mask": torch.ones(2, 3, dtype=torch.bool)}, "`conditioning_mask` must have shape"),
    ],
    ids=names,
)
def test_bad_inputs_are_refused_by_name(changes, message):
    model = tiny_network(low_res_conditioning=True)
    with pytest.raises(ValueError, match=message):
        run(model, network_inputs(model), **changes)


def test_low_res_inputs_are_refused_by_a_base_network():
    model = tiny_network()
    with pytest.raises(ValueError, match="takes no `low_res_image`"):
        run(model, network_inputs(model), low_res_image=torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match="takes no `low_res_noise_level`"):
        run(model, network_inputs(model), low_res_noise_level=torch.tensor(0))


def test_features_of_another_batch_are_refused():
    model = tiny_network()
    encoded = split_garment(model, network_inputs(model, batch_size=1))["garment_features"]
    inputs = {**network_inputs(model), "garment_image": None}
    with pytest.raises(ValueError, match=r"2 maps down and up of batch 2, got batches \[\[1, 1\], \[1, 1\]\]"):
        run(model, inputs, garment_features=encoded)
    with pytest.raises(ValueError, match=r"2 maps down and up of batch 2, got batches \[\[\], \[\]\]"):
        run(model, inputs, garment_features=GarmentFeatures((), ()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestep": None}, "`encode_garment` needs `timestep` and `person_pose`"),
        ({"person_pose": None}, "`encode_garment` needs `timestep` and `person_pose`"),
        ({"person_pose": torch.zeros(1, 18, 3)}, "`person_pose` must have shape"),
        ({"garment_image": torch.zeros(2, 1, 16, 16)}, "`garment_image` must have shape"),
        ({"garment_image": torch.zeros(2, 3, 16, 17)}, "`garment_image` must have a height and width"),
        ({"garment_image": torch.zeros(3, 16, 16)}, "`garment_image` must have shape"),
        ({"garment_pose": torch.zeros(2, 18)}, "`garment_pose` must have shape"),
        ({"timestep": 3.0}, "`timestep` must be a tensor"),
        ({"garment_noise_level": 3.0}, "`garment_noise_level` must be a tensor"),
        ({"conditioning_mask": torch.ones(1, dtype=torch.bool)}, "`conditioning_mask` must have shape"),
    ],
    ids=names,
)
def test_bad_inputs_of_the_garment_stream_are_refused_by_name(changes, message):
    model = tiny_network()
    inputs = network_inputs(model)
    names = ("garment_image", "garment_pose", "garment_noise_level", "timestep", "person_pose")
    with pytest.raises(ValueError, match=message):
        model.encode_garment(**{**{name: inputs[name] for name in names}, **changes})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"layers_per_block": (1, 2, 3)}, r"`layers_per_block` must have one entry per level \(2"),
        ({"garment_layers_per_block": (2,)}, "`garment_layers_per_block` must have one entry per level"),
        ({"attention_levels": (True,)}, "`attention_levels` must have one entry per level"),
        ({"attention_levels": (False, False)}, "`attention_levels` must hold at least one True"),
        ({"garment_layers_per_block": (1, 3)}, "`garment_layers_per_block` must equal `layers_per_block`"),
        ({"attention_head_dim": 5}, "`block_out_channels` must be multiples of `attention_head_dim`"),
        ({"pose_embed_dim": 20}, "`pose_embed_dim` must be a multiple of `attention_head_dim`"),
        ({"garment_fusion": "sum"}, '`garment_fusion` must be "cross_attention" or "concatenation", got \'sum\''),
    ],
    ids=names,
)
def test_impossible_configurations_are_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=message):
        tiny_network(**overrides)
