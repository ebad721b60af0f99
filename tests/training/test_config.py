"""Configurations: what is read, and what is refused by the name of its key."""

import re

import pytest
from places import ROOT
from training_runs import write_config

from vsparagon.errors import InvalidInput
from vsparagon.models.variants import VARIANTS
from vsparagon.training.config import read_config
from vsparagon.training.losses import CharbonnierLoss, L1Loss
from vsparagon.training.optimisation import MultiStep

SHIPPED = sorted((ROOT / "configs").glob("*.yml"))

AUTHORS = """
name: as_the_author_writes_it
network_g:
  type: paragonsr2_s
  scale: 2
  upsampler_alpha: 0.5
  detail_gain: 0.1
  fast_body_mode: true
  use_content_aware: true
  use_attention: true
network_d:
  type: munet
  num_in_ch: 3
  num_feat: 64
datasets:
  train:
    dataroot_gt: [one, other]
    dataroot_lq: [one_small, other_small]
    lq_size: 64
    batch_size_per_gpu: 8
    num_worker_per_gpu: 8
    use_hflip: true
    use_rot: false
path:
  pretrain_network_g: ~
  resume_state: ~
train:
  ema_decay: 0.999
  grad_clip: true
  optim_g:
    type: AdamW
    lr: !!float 2e-4
    weight_decay: 1e-4
    betas: [0.9, 0.99]
  optim_d:
    type: AdamW
    lr: 3e-5
    weight_decay: 0
  scheduler:
    type: MultiStepLR
    milestones: [40000, 50000]
    gamma: 0.5
  total_iter: 200000
  warmup_iter: 1000
  losses:
    - type: l1loss
      loss_weight: 1.0
    - type: charbonnierloss
  gan_opt:
    type: r3ganloss
    gan_weight: 0.03
    gan_weight_init: 0.0
    gan_weight_steps: [[10000, 0.03]]
  gan_start_iter: 10000
val:
  val_freq: 1000
logger:
  print_freq: 100
  save_checkpoint_freq: 10000
"""


def test_design_keys_are_read(tmp_path):
    path = tmp_path / "author.yml"
    path.write_text(AUTHORS)
    config = read_config(path)
    variant, options = config.generator()
    assert (variant, options.scale, options.num_feat, options.use_attention) == ("s", 2, 48, True)
    assert config.train.optim_g.lr == 2e-4
    assert config.train.optim_d.lr == 3e-5
    assert config.train.optim_g.betas == (0.9, 0.99)
    assert config.train.losses == (L1Loss(), CharbonnierLoss())
    assert config.train.scheduler == MultiStep(milestones=(40000, 50000), gamma=0.5)
    assert config.network_d is not None
    assert config.network_d.ch_mult == (1, 2, 4, 8)
    assert config.datasets.train.dataroot_gt == ("one", "other")
    assert not config.datasets.train.use_rot
    assert config.path.pretrain_network_g is None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configuration_is_named_after_what_it_trains(path):
    config = read_config(path)
    variant, options = config.generator()
    assert config.name == path.stem
    assert path.stem.startswith(f"{variant}_x{options.scale}_")
    assert path.stem.endswith("gan") == (config.network_d is not None)
    assert path.stem.endswith("int8") == config.train.int8
    assert path.stem.endswith("compressed") == (config.datasets.train.degradation.video is not None)


def test_every_variant_has_a_configuration_for_fidelity():
    assert {f"{variant}_x2_clean" for variant in VARIANTS} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("train.total_iter=ten", "train.total_iter"),
        ("train.total_iter=1.5", "train.total_iter"),
        ("train.total_iter=0", "train.total_iter"),
        ("train.total_iterations=5", "total_iterations"),
        ("train.optim_g.lr=fast", "train.optim_g.lr"),
        ("train.optim_g.type=SGD", "train.optim_g.type"),
        ("train.grad_clip=1", "train.grad_clip"),
        ("train.losses=[{type: l2loss}]", "l2loss"),
        ("train.losses=[]", "train.losses"),
        ("train.scheduler={type: Step}", "train.scheduler.type"),
        ("train.loss_border=12", "loss_border"),
        ("train.gan_opt={}", "network_d"),
        ("network_d={type: munet}", "gan_opt"),
        ("network_d={type: munet, num_in_ch: 1}", "network_d.num_in_ch"),
        ("network_g.type=paragonsr2_giant", "giant"),
        ("network_g.use_attention=3", "use_attention"),
        ("network_g.attention=true", "attention"),
        ("network_g.scale=5", "scale"),
        ("train.scheduler={type: CosineAnnealingLR, eta_min: 1e-7}", "unknown key train.scheduler.eta_min "),
        ("manual_seed=18446744073709551616", "manual_seed"),
        ("network_g.ffn_expansion=.inf", r"network_g\.ffn_expansion is inf; give numbers of at most 1e.30"),
        ("train.optim_g.lr=.nan", r"train\.optim_g\.lr is nan"),
        ("train.optim_g.lr=1e39", r"train\.optim_g\.lr is 1e\+39"),
        ("train.losses=[{type: charbonnierloss, eps: 2}]", "eps"),
        ("train.losses=[{type: l1loss, loss_weight: .inf}]", r"train\.losses\.loss_weight is inf"),
        ("train.total_iter=1e20", "train.total_iter"),
        ("threads=100000", "threads"),
        ("train.scheduler={type: MultiStepLR, milestones: [3], gamma: 1e300}", "train.scheduler.gamma"),
        ("datasets.train.degradation={video: {noise: [0, 1e300]}}", "noise"),
        ("datasets.train.dataroot_gt=3", "dataroot_gt"),
        ("datasets.val={dataroot_gt: []}", "datasets.val.dataroot_gt"),
        ("datasets.train.degradation={resize: [nearest]}", "degradation.resize"),
        ("datasets.train.degradation={video: {crf: 3}}", "crf"),
        ("datasets.train.degradation={video: {noise: [3, 0]}}", r"noise is \[3\.0, 0\.0\]; give the smaller one first"),
        ("datasets.train.degradation={video: {h264_crf: [34, 18]}}", "h264_crf is"),
        ("datasets.train.degradation={video: {hevc_crf: [30, 52]}}", "hevc_crf"),
        ("datasets.train={dataroot_gt: a, dataroot_lq: b, degradation: {video: {}}}", "give one of the two"),
        ("colour=1", "colour"),
        ("name=a/b", "name"),
        ("name=..", "name"),
        ('name="a\\n"', "name"),
        (f"name={'a' * 101}", "name"),
        ("train.total_iter.x=1", "total_iter"),
        ("train", "train"),
        ("train.optim_g=[1", r"'train\.optim_g=\[1': the value is not YAML"),
        ("licence=2026-02-30", "the value is not YAML: day is out of range"),
    ],
)
def test_wrong_key_or_value_is_refused_by_name(tmp_path, change, named):
    path = write_config(tmp_path)
    read_config(path)
    with pytest.raises(InvalidInput, match=named):
        read_config(path, [change])


def test_all_unknown_keys_are_named_at_once(tmp_path):
    other = [
        "scale=2",
        "datasets.train.type=pairedimagedataset",
        "train.losses=[{type: l1loss, reduction: mean}, {type: fftloss}]",
        "train.scheduler={type: MultiStepLR, milestones: [3], eta_min: 1}",
        "val.metrics={psnr: {type: calculate_psnr}}",
        "network_g.colours=2",
    ]
    with pytest.raises(InvalidInput) as caught:
        read_config(write_config(tmp_path), other)
    named = re.search(r"unknown keys (.*); leave them out", str(caught.value))[1].split(", ")
    assert sorted(named) == [
        "datasets.train.type",
        "scale",
        "train.losses.reduction",
        "train.scheduler.eta_min",
        "val.metrics",
    ]


@pytest.mark.parametrize(
    ("change", "choices"),
    [
        ("precision=fp16", "32-true, bf16-mixed"),
        ("train.optim_g.type=SGD", "Adam, AdamW, SOAP"),
        ("train.scheduler={type: Step}", "CosineAnnealingLR, MultiStepLR"),
        ("train.losses=[{type: l2loss}]", "l1loss, mseloss, charbonnierloss, fftloss"),
        ("datasets.train.degradation={resize: [nearest]}", "area, bicubic, lanczos"),
    ],
)
def test_unknown_word_is_refused_with_those_that_are_known(tmp_path, change, choices):
    with pytest.raises(InvalidInput, match=rf"; choose one of {choices}\.$"):
        read_config(write_config(tmp_path), [change])


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "is not YAML"), ("- 1", "instead of keys"), ("name: x", "missing required field `network_g`")],
)
def test_unusable_file_is_refused(tmp_path, text, said):
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_config(path)
    with pytest.raises(InvalidInput, match="cannot read"):
        read_config(tmp_path / "none.yml")
    path.write_text("name: x", encoding="utf-16")  # as Windows PowerShell writes
    with pytest.raises(InvalidInput, match="is not in UTF-8"):
        read_config(path)


def test_discriminator_that_would_never_be_used_is_refused(tmp_path):
    late = ["network_d={type: munet, ch_mult: [1]}", "train.gan_opt={}", "train.gan_start_iter=12"]
    with pytest.raises(InvalidInput, match=r"gan_start_iter is 12 and train\.total_iter 12"):
        read_config(write_config(tmp_path), late)


def test_crop_too_small_for_the_discriminator_is_refused(tmp_path):
    path = write_config(tmp_path)
    small = ["train.gan_opt={}", "datasets.train.lq_size=12", "network_d={type: munet}"]
    with pytest.raises(InvalidInput, match="lq_size is 12"):
        read_config(path, small)


@pytest.mark.parametrize(
    ("steps", "said"), [("[[0, 0.03]]", "rise"), ("[[9, 0.1], [5, 0.03]]", "rise"), ("[[9, 0.1]]", "make them equal")]
)
def test_ramp_that_makes_no_sense_is_refused(tmp_path, steps, said):
    path = write_config(tmp_path)
    with pytest.raises(InvalidInput, match=said):
        read_config(path, ["network_d={type: munet, ch_mult: [1]}", f"train.gan_opt={{gan_weight_steps: {steps}}}"])
