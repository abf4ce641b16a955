from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweeper.errors import ConfigurationRefusedError
from sweeper.trainables.torch_backend.architecture import build_architecture, list_parameters
from sweeper.trainables.torch_backend.networks import NetworkOutputs, ReplicaNetworks
from sweeper.trainables.torch_backend.packed_mlp import can_pack

REPLICAS, ROWS = 3, 17
CPU = torch.device("cpu")


def build(
    model_config, *, shape=(4,), inputs=4, is_gaussian=False, replicas=REPLICAS, scale=1.0, **kwargs
):
    architecture = build_architecture(
        model_config,
        observation_shape=shape,
        distribution_inputs=inputs,
        is_gaussian=is_gaussian,
        image_scale=scale,
    )
    networks = ReplicaNetworks(architecture, replicas=replicas, device=CPU, **kwargs)
    networks.initialise([torch.Generator().manual_seed(seed) for seed in range(replicas)])
    return networks


def draw(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def backward(networks, observations, weights):
    """The outputs; writes the gradients of their weighted sum, packed or by autograd."""
    if networks.packed is None:
        networks.gradients.zero_()
        outputs = networks.forward(observations)
        inputs = outputs.distribution.shape[-1]
        loss = (outputs.distribution * weights[..., :inputs]).sum()
        (loss + (outputs.values * weights[..., -1]).sum()).backward()
        return outputs
    columns = weights.mT.contiguous().numpy()
    distribution, values = networks.packed.forward(observations.numpy())
    networks.packed.backward(columns[:, : distribution.shape[1]].copy(), columns[:, -1:])
    return NetworkOutputs(torch.from_numpy(distribution).mT, torch.from_numpy(values)[:, 0])


STANDARD = [
    {"fcnet_hiddens": [16]},
    {"fcnet_hiddens": [16, 8, 5], "fcnet_activation": "relu"},
    {"fcnet_hiddens": [7, 5], "fcnet_activation": "linear"},
    {"fcnet_hiddens": [16, 8], "vf_share_layers": True},
    {"fcnet_hiddens": [8], "vf_share_layers": True, "fcnet_activation": "relu"},
]
GAUSSIAN = [
    {"fcnet_hiddens": [8], "free_log_std": True},
    {"fcnet_hiddens": [8], "free_log_std": True, "log_std_clip_param": 0.1},
    {"fcnet_hiddens": [8], "log_std_clip_param": 0.1},
]
OTHER = [
    {"fcnet_hiddens": [8], "fcnet_use_layernorm": True},
    {"fcnet_hiddens": [8], "head_fcnet_hiddens": [6], "vf_share_layers": True},
    {"fcnet_hiddens": [8], "fcnet_activation": "silu"},
]


@pytest.mark.parametrize("inputs", [2, 4])
@pytest.mark.parametrize("is_contiguous", [True, False])
@pytest.mark.parametrize(
    ("model_config", "is_gaussian"),
    [*((config, False) for config in STANDARD), *((config, True) for config in GAUSSIAN)],
)
def test_the_packed_network_equals_plain_autograd(model_config, is_gaussian, is_contiguous, inputs):
    packed = build(model_config, is_gaussian=is_gaussian, inputs=inputs)
    plain = build(model_config, is_gaussian=is_gaussian, inputs=inputs, is_packed=False)
    if is_gaussian and model_config.get("free_log_std"):
        for networks in (packed, plain):
            networks.named_parameters()["log_std"].copy_(torch.tensor([0.05, -0.3])[: inputs // 2])
    assert can_pack(packed.architecture)
    # Minibatches are columns of a wider table, stored column by column.
    observations = draw(REPLICAS, 9, ROWS).mT[..., 2:6]
    observations = observations.contiguous() if is_contiguous else observations
    weights = draw(REPLICAS, ROWS, 5)
    ours, expected = (backward(networks, observations, weights) for networks in (packed, plain))
    torch.testing.assert_close(ours.distribution, expected.distribution)
    torch.testing.assert_close(ours.values, expected.values)
    torch.testing.assert_close(packed.gradients, plain.gradients, atol=1e-5, rtol=1e-5)
    assert (plain.gradients != 0).any(dim=0).float().mean() > 0.5


SMALL = (20, 24, 3)
ATARI = [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"], [512, 7, 1, "valid"]]
IMAGES = {
    "the Atari papers': a last layer that covers its input": (
        {"conv_filters": ATARI, "vf_share_layers": True, "conv_activation": "relu"},
        (84, 84, 4),
    ),
    "one encoder each": ({"conv_filters": ATARI}, (84, 84, 4)),
    "RLlib's, padded on one side only": ({}, (42, 42, 1)),
    "padded alike": ({"conv_filters": [[4, 3, 1], [16, 5, 2], [17, 3, 2]]}, SMALL),
    "wide kernels": ({"conv_filters": [[16, [3, 5], [2, 3]], [8, [2, 4], 1]]}, SMALL),
    "many channels at once": ({"conv_filters": [[8, 4, 2, "valid"]]}, (20, 24, 17)),
    "one layer that covers it": ({"conv_filters": [[9, [20, 24], 1, "valid"]]}, SMALL),
    "two that cover theirs": (
        {"conv_filters": [[4, 8, 4, "valid"], [6, [4, 5], 1, "valid"], [5, 1, 1, "valid"]]},
        SMALL,
    ),
    "one that is padded above one that covers its input": (
        {"conv_filters": [[4, [20, 24], 1, "valid"], [6, 3, 1], [5, 1, 1]]},
        SMALL,
    ),
    "layers in the heads": (
        {
            "conv_filters": [[16, 4, 2], [16, 4, 2]],
            "vf_share_layers": True,
            "head_fcnet_hiddens": [12, 6],
            "head_fcnet_activation": "tanh",
        },
        SMALL,
    ),
    "tanh": ({"conv_filters": [[16, 4, 2], [5, 4, 2]], "conv_activation": "tanh"}, SMALL),
    "linear": ({"conv_filters": [[16, 4, 2], [5, 4, 2]], "conv_activation": "linear"}, SMALL),
}
KINDS = [(3, "bytes"), (40, "floats"), (33, "channels first")]
CASES = [
    (model_config, shape, rows, kind)
    for model_config, shape in IMAGES.values()
    for rows, kind in (KINDS if shape[0] < 50 else KINDS[2:])
]


def draw_images(shape, rows, kind):
    generator = np.random.default_rng(1)
    size = 2, rows, *shape
    if kind == "floats":
        return torch.from_numpy(generator.normal(size=size).astype(np.float32))
    if kind == "channels first":
        size = 2, rows, shape[2], *shape[:2]
    images = torch.from_numpy(generator.integers(0, 4, size=size, dtype=np.uint8))
    return images.permute(0, 1, 3, 4, 2) if kind == "channels first" else images


@pytest.mark.parametrize(("model_config", "shape", "rows", "kind"), CASES)
def test_packed_images_equal_plain_autograd(model_config, shape, rows, kind):
    scale = 1 / 255 if kind == "channels first" else 1.0
    packed = build(model_config, shape=shape, replicas=2, scale=scale)
    plain = build(model_config, shape=shape, replicas=2, scale=scale, is_packed=False)
    assert packed.packed is not None
    observations, weights = draw_images(shape, rows, kind), draw(2, rows, 5)
    ours, expected = (backward(networks, observations, weights) for networks in (packed, plain))
    torch.testing.assert_close(ours.distribution, expected.distribution, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.values, expected.values, atol=1e-5, rtol=1e-5)
    for name, gradients in plain.named_gradients().items():
        # Of sums of thousands of numbers, one by one and block by block.
        scale = float(gradients.abs().max())
        close = {"atol": 1e-5 * max(scale, 1.0), "rtol": 1e-5}
        torch.testing.assert_close(packed.named_gradients()[name], gradients, msg=name, **close)
        assert scale, name
    array = observations.numpy()
    both = packed.packed.policy_and_values(array)
    for networks in (packed, plain):
        np.testing.assert_allclose(networks.policy(array), both[0], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(networks.values(array), both[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_config", GAUSSIAN)
def test_a_gaussian_policy_of_images_equals_plain_autograd(model_config):
    model_config = {**model_config, "conv_filters": [[16, 4, 2], [16, 4, 2]]}
    del model_config["fcnet_hiddens"]
    packed = build(model_config, shape=SMALL, replicas=2, is_gaussian=True)
    plain = build(model_config, shape=SMALL, replicas=2, is_gaussian=True, is_packed=False)
    observations, weights = draw_images(SMALL, 9, "bytes"), draw(2, 9, 5)
    ours, expected = (backward(networks, observations, weights) for networks in (packed, plain))
    torch.testing.assert_close(ours.distribution, expected.distribution, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.gradients, plain.gradients, atol=1e-4, rtol=1e-4)


def test_a_replicas_images_do_not_depend_on_other_replicas():
    model_config, shape = IMAGES["layers in the heads"]
    together = build(model_config, shape=shape, replicas=2)
    alone = build(model_config, shape=shape, replicas=1)
    alone.load({name: tensor[1:] for name, tensor in together.named_parameters().items()})
    observations, weights = draw_images(shape, 40, "bytes"), draw(2, 40, 5)
    backward(together, observations, weights)
    backward(alone, observations[1:], weights[1:])
    assert torch.equal(together.gradients[1:], alone.gradients)


@pytest.mark.parametrize("model_config", [*STANDARD, *OTHER])
def test_policy_and_values_equal_the_training_outputs(model_config):
    networks = build(model_config)
    observations = draw(REPLICAS, ROWS, 4)
    outputs = networks.forward(observations)
    array = observations.numpy()
    np.testing.assert_allclose(
        networks.policy(array), outputs.distribution.detach().numpy(), atol=1e-5
    )
    np.testing.assert_allclose(networks.values(array), outputs.values.detach().numpy(), atol=1e-5)


def test_a_replicas_gradients_do_not_depend_on_other_replicas():
    together, alone = build(STANDARD[3]), build(STANDARD[3], replicas=1)
    alone.load({name: tensor[1:2] for name, tensor in together.named_parameters().items()})
    observations, weights = draw(REPLICAS, ROWS, 4), draw(REPLICAS, ROWS, 5)
    backward(together, observations, weights)
    backward(alone, observations[1:2], weights[1:2])
    torch.testing.assert_close(together.gradients[1:2], alone.gradients, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("is_packed", [True, False])
def test_two_backward_passes_do_not_add_up(is_packed):
    networks = build(STANDARD[0], is_packed=is_packed)
    observations, weights = draw(REPLICAS, ROWS, 4), draw(REPLICAS, ROWS, 5)
    backward(networks, observations, weights)
    first = networks.gradients.clone()
    backward(networks, observations, weights)
    torch.testing.assert_close(networks.gradients, first, atol=0, rtol=0)


def test_the_default_initialisation_is_torch_linears():
    networks = build({"fcnet_hiddens": [64, 64]}, shape=(16,))
    bounds = {"encoder.policy.0": 1 / 4, "encoder.value.1": 1 / 8, "head.policy.out": 1 / 8}
    for name, bound in bounds.items():
        for kind in ("weight", "bias"):
            values = networks.named_parameters()[f"{name}.{kind}"]
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.7 * bound
    weights = networks.named_parameters()["encoder.policy.1.weight"]
    assert weights.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.05)


def test_replicas_start_from_their_own_generators():
    first = build({"fcnet_hiddens": [4]}, replicas=1).parameters[0]
    three = build({"fcnet_hiddens": [4]}, replicas=3).parameters
    assert torch.equal(three[0], first)
    assert not torch.equal(three[0], three[1])


def test_torchs_initialisers_are_found_by_name():
    networks = build(
        {
            "fcnet_hiddens": [8, 8],
            "fcnet_kernel_initializer": "orthogonal_",
            "fcnet_kernel_initializer_kwargs": {"gain": 2.0},
            "fcnet_bias_initializer": "constant_",
            "fcnet_bias_initializer_kwargs": {"val": 0.5},
        }
    )
    parameters = networks.named_parameters()
    weight = parameters["encoder.value.1.weight"][2]
    torch.testing.assert_close(weight @ weight.T, 4 * torch.eye(8), atol=1e-5, rtol=0)
    assert not torch.equal(weight, parameters["encoder.value.1.weight"][0])
    assert (parameters["encoder.policy.0.bias"] == 0.5).all()
    assert (parameters["head.value.out.bias"] != 0.5).all()  # RLlib's heads keep Linear's own


HEADS = {"policy_head_gain": 0.01, "value_head_gain": 2.0}


@pytest.mark.parametrize("model_config", [*GAUSSIAN, *OTHER, {"fcnet_hiddens": [8], **HEADS}])
def test_only_what_a_gain_or_a_log_deviation_names_starts_otherwise(model_config):
    """Every parameter is drawn as torch.nn.Linear does, in order, unless a key says otherwise."""
    networks = build(model_config, is_gaussian=True)
    unsaid = {"policy_head_gain": None, "value_head_gain": None, "log_std_init": 0.0}
    same = build({**unsaid, **model_config}, is_gaussian=True)
    assert torch.equal(networks.parameters, same.parameters)
    for replica in range(REPLICAS):
        generator = torch.Generator().manual_seed(replica)
        for shape in list_parameters(networks.architecture):
            name, value = shape.name, networks.named_parameters()[shape.name][replica]
            if ".norm." in name or name == "log_std":
                assert torch.equal(value, torch.full_like(value, name.endswith("norm.weight")))
            elif name.endswith(".out.bias") and "policy_head_gain" in model_config:
                assert not value.any()
            elif name.endswith(".out.weight") and "policy_head_gain" in model_config:
                gain = HEADS[f"{name.split('.')[1]}_head_gain"]
                drawn = torch.empty(shape.shape)
                torch.nn.init.orthogonal_(drawn, gain=gain, generator=generator)
                assert torch.equal(value, drawn)
            else:
                bound = 1 / math.sqrt(shape.fan_in)
                drawn = torch.empty(shape.shape).uniform_(-bound, bound, generator=generator)
                assert torch.equal(value, drawn), name


def test_a_gain_scales_the_last_layer_of_its_own_head_alone():
    deep = {"fcnet_hiddens": [8], "head_fcnet_hiddens": [6]}
    parameters = build({**deep, "policy_head_gain": 0.01}).named_parameters()
    plain = build(deep).named_parameters()
    weight = parameters["head.policy.out.weight"][1]
    torch.testing.assert_close(weight @ weight.T, 1e-4 * torch.eye(4), atol=1e-8, rtol=1e-4)
    assert not parameters["head.policy.out.bias"].any()
    for name in ("encoder.policy.0.weight", "head.policy.0.weight", "head.policy.0.bias"):
        assert torch.equal(parameters[name], plain[name]), name
    assert parameters["head.value.out.bias"].all()  # as torch.nn.Linear draws it


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_first_policy_is_nearly_the_same_everywhere_with_the_deviation_asked_for(is_packed):
    model_config = {"fcnet_hiddens": [16], "free_log_std": True, "log_std_init": -3.29, **HEADS}
    networks = build(model_config, is_gaussian=True, is_packed=is_packed)
    inputs = networks.policy(draw(REPLICAS, ROWS, 4).numpy())
    assert np.abs(inputs[..., :2]).max() < 0.05
    np.testing.assert_allclose(inputs[..., 2:], -3.29, rtol=1e-6)


def test_images_go_through_the_default_filters():
    networks = build({}, shape=(84, 84, 4), replicas=2)
    outputs = networks.forward(draw(2, 1, 84, 84, 4))
    assert networks.architecture.encoded == 11 * 11 * 256
    assert outputs.distribution.shape == (2, 1, 4)
    outputs.values.sum().backward()
    assert torch.isfinite(networks.gradients).all()


@pytest.mark.parametrize(
    ("model_config", "named"),
    [
        ({"use_lstm": True}, "use_lstm.*backend: rllib"),
        ({"head_fcnet_kernel_initializer": "zeros_"}, "backend: rllib has it"),
        ({"fcnet_activation": "swoosh"}, "swoosh"),
        ({"fcnet_hiddens": []}, "fcnet_hiddens"),
        ({"fcnet_hiddens": [0]}, "fcnet_hiddens"),
        ({"fcnet_kernel_initializer": "eval"}, "eval"),
        ({"fcnet_kernel_initializer": "__import__"}, "__import__"),
        ({"free_log_std": True}, "Box"),
        ({"log_std_clip_param": -1}, "log_std_clip_param"),
        ({"policy_head_gain": 0}, "policy_head_gain must be above 0, not 0"),
        ({"policy_head_gain": True}, "policy_head_gain must be above 0, not True"),
        ({"value_head_gain": math.inf}, "value_head_gain must be above 0, not inf"),
        ({"log_std_init": -1.0}, "log_std_init needs free_log_std: true"),
        ({"log_std_init": math.nan}, "log_std_init must lie within"),
        ({"log_std_init": -3.0, "log_std_clip_param": 2.0}, r"within ±log_std_clip_param \(2.0\)"),
    ],
)
def test_unsupported_keys_and_values_are_refused_by_name(model_config, named):
    with pytest.raises(ConfigurationRefusedError, match=named):
        build(model_config)


def test_images_without_default_filters_are_refused():
    with pytest.raises(ConfigurationRefusedError, match="conv_filters"):
        build({}, shape=(50, 50, 3))
