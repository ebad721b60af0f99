"""scripts/train.py as a whole: runs that are killed and resumed, that diverge, or that use several processes."""

import errno
import logging
import math
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from unittest.mock import Mock

import psutil
import pytest
import torch
from filelock import FileLock
from lightning_fabric import Fabric
from PIL import Image
from training_runs import (
    GAN,
    ROOT,
    changes,
    load_script,
    samples,
    scalars,
    start,
    textured,
    write_config,
    write_pictures,
)

from vsparagon.errors import InvalidInput, ModelError
from vsparagon.models.checkpoint import load_generator, read_checkpoint, save_generator
from vsparagon.models.generators import create_generator
from vsparagon.models.paragonsr2 import ParagonSR2
from vsparagon.training import data, trainee
from vsparagon.training.config import read_config
from vsparagon.training.gan import Discrimination
from vsparagon.training.pictures import load_picture
from vsparagon.training.precision import precision_named
from vsparagon.training.state import load_state


@pytest.fixture(scope="module")
def train():
    return load_script("train").train


@pytest.fixture
def config(tmp_path):
    write_pictures(tmp_path / "pictures")
    return write_config(tmp_path)


def assert_equal(one, other, place="state"):
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{place}[{i}]")
    else:
        assert one == other, place


@pytest.mark.slow
def test_killed_run_resumes_with_the_same_curve_to_the_bit(train, config, tmp_path, caplog):
    # A GAN has every kind of state. The interrupted run also prepares its data in another process.
    settings = GAN | {"train.total_iter": 16, "train.optim_g.type": "SOAP"}
    train(read_config(config, changes(settings | {"name": "whole"})))
    interrupted = settings | {"name": "killed", "path.resume_state": "auto", "datasets.train.num_worker_per_gpu": 1}
    log = ""
    for last in (6, 14):
        run = start(config, interrupted)
        for line in run.stderr:
            log += line
            if f"iteration {last} of" in line:
                run.kill()
        assert run.wait() != 0
    with caplog.at_level("INFO"):
        train(read_config(config, changes(interrupted)))
    assert re.findall(r"resuming after iteration (\d+)", log + caplog.text) == ["4", "12"]

    one, other = (tmp_path / "runs" / name for name in ("whole", "killed"))
    curve = scalars(one)
    assert curve == scalars(other)
    assert [step for step, _ in curve["loss/pixel"]] == list(range(1, 17))
    assert curve["loss/discriminator"][-1][1] > 0
    assert_equal(load_state(one / "last.state"), load_state(other / "last.state"))


def test_curve_depends_on_the_seed(train, config, tmp_path):
    curves = []
    for seed in (0, 0, 1):
        name = f"run{len(curves)}"
        train(read_config(config, changes({"name": name, "manual_seed": seed, "train.total_iter": 3})))
        curves.append(scalars(tmp_path / "runs" / name)["loss/pixel"])
    assert curves[0] == curves[1] != curves[2]


def test_divergence_stops_the_run_and_keeps_the_last_checkpoint(train, config, tmp_path):
    train(read_config(config))
    folder = tmp_path / "runs" / "tiny"
    good = (folder / "last.state").read_bytes()
    worse = changes({"path.resume_state": "auto", "train.optim_g.lr": 1e30, "train.total_iter": 40})
    with pytest.raises(SystemExit, match=r"iteration 14 is not finite.*last good checkpoint is kept"):
        train(read_config(config, worse))
    assert (folder / "last.state").read_bytes() == good
    load_generator(folder / "tiny.safetensors")


def test_weights_that_are_not_finite_are_never_saved(train, config, tmp_path, monkeypatch):
    model = create_generator("nano", scale=2, use_attention=False)
    with torch.no_grad():  # before a sigmoid: the loss stays finite
        model.get_parameter("content_processor.content_analyzer.7.bias").fill_(math.inf)
    monkeypatch.setattr(trainee, "new_generator", lambda _: model)
    with pytest.raises(SystemExit, match=r"the weights of iteration 1 are not finite"):
        train(read_config(config, ["train.total_iter=1"]))
    assert not list((tmp_path / "runs" / "tiny").glob("*.s*"))


def test_ranges_without_values_are_never_saved(train, config, tmp_path):
    settings = {"network_g": "{type: swift_lite, scale: 2}", "train.int8": True, "train.total_iter": 8}
    settings |= {"train.warmup_iter": 0, "train.optim_g.lr": 100, "train.grad_clip": False, "train.ema_decay": 0}
    with pytest.raises(SystemExit, match=r"an int8 range of iteration \d is empty; .*Lower the rate"):
        train(read_config(config, changes(settings)))


def test_divergence_before_the_first_checkpoint_does_not_promise_one(train, config):
    with pytest.raises(SystemExit, match=r"is not finite.*there is no checkpoint yet"):
        train(read_config(config, changes({"train.optim_g.lr": 1e30, "logger.save_checkpoint_freq": 100})))


def test_two_runs_do_not_share_a_folder(train, config, tmp_path):
    first = start(config, {"train.total_iter": 100_000, "logger.save_checkpoint_freq": 50_000})
    while "iteration 1 of" not in first.stderr.readline():
        assert first.poll() is None
    events = tmp_path / "runs" / "tiny" / "tensorboard"
    before = list(events.iterdir())
    with pytest.raises(InvalidInput, match=r"another run is writing to .*tiny; wait until it ends"):
        train(read_config(config, ["path.resume_state=auto"]))
    assert list(events.iterdir()) == before
    first.kill()
    first.communicate()
    assert train(read_config(config, ["path.resume_state=auto", "train.total_iter=1"]))


def test_folder_that_cannot_be_locked_is_used_all_the_same(train, config, monkeypatch, caplog):
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=OSError(errno.EOPNOTSUPP, "Operation not supported")))
    assert train(read_config(config, ["train.total_iter=1"]))
    assert f"run.lock cannot be locked ([Errno {errno.EOPNOTSUPP}] Operation not supported)" in caplog.text


def test_run_is_not_overwritten_by_one_that_resumes_another(train, config, tmp_path):
    for name in ("one", "other"):
        train(read_config(config, changes({"name": name, "train.total_iter": 1})))
    state = {name: tmp_path / "runs" / name / "last.state" for name in ("one", "other")}
    on = {"name": "other", "train.total_iter": 2}
    with pytest.raises(InvalidInput, match=r"other.last\.state exists from an earlier run"):
        train(read_config(config, changes(on | {"path.resume_state": state["one"]})))
    train(read_config(config, changes(on | {"path.resume_state": state["other"]})))
    train(read_config(config, changes(on | {"name": "third", "path.resume_state": state["one"]})))
    assert load_state(tmp_path / "runs" / "third" / "last.state")["iteration"] == 2


def test_run_is_not_overwritten_and_a_damaged_state_is_refused(train, config, tmp_path):
    train(read_config(config, ["train.total_iter=1"]))
    with pytest.raises(InvalidInput, match="resume_state=auto"):
        train(read_config(config, ["train.total_iter=1"]))
    state = tmp_path / "runs" / "tiny" / "last.state"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot resume from"):
        train(read_config(config, ["path.resume_state=auto"]))


def test_training_lowers_the_loss_and_writes_a_generator(train, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    settings = {
        "train.total_iter": 60,
        "datasets.val": f"{{dataroot_gt: {tmp_path}/pictures}}",
        "val.val_freq": 30,
    }
    train(read_config(config, changes(settings)))
    curve = scalars(tmp_path / "runs" / "tiny")
    losses = [value for _, value in curve["loss/pixel"]]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert [step for step, _ in curve["val/pictures/psnr"]] == [30, 60]
    assert curve["val/pictures/psnr"][1][1] > curve["val/pictures/psnr"][0][1]
    assert samples(tmp_path / "runs" / "tiny") == {"val/pictures": [30, 60]}
    assert "it/s" in caplog.text
    assert "left" in caplog.text
    generator = load_generator(tmp_path / "runs" / "tiny" / "tiny.safetensors")
    assert generator.options.scale == 2
    assert not generator.options.use_attention


def test_gan_training_runs_and_logs_its_balance(train, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    settings = GAN | {"train.gan_start_iter": 5, "train.gan_opt": "{gan_weight: 1.0, gan_weight_steps: [[10, 1.0]]}"}
    train(read_config(config, changes(settings | {"train.total_iter": 20})))
    curve = scalars(tmp_path / "runs" / "tiny")
    assert curve["gan/ratio"][0][0] == 6
    for tag in ("loss/generator", "loss/discriminator", "gan/penalty", "gan/margin", "gan/ratio"):
        assert len(curve[tag]) == 15, tag
        assert all(math.isfinite(value) for _, value in curve[tag]), tag
    assert re.findall(r"iteration (\d+) of .* discriminator .*, ratio \d\.\d+", caplog.text)[0] == "6"


def test_mixed_precision_trains_too(train, config, tmp_path):
    # The warm-up is so long that the weights, and thus the losses, stay similar.
    settings = GAN | {"train.total_iter": 3, "train.warmup_iter": 10000}
    for precision in ("32-true", "bf16-mixed"):
        train(read_config(config, changes(settings | {"name": precision, "precision": precision})))
    full, mixed = (scalars(tmp_path / "runs" / name) for name in ("32-true", "bf16-mixed"))
    assert mixed["loss/pixel"] != full["loss/pixel"]
    for tag in ("loss/pixel", "loss/discriminator"):
        assert [v for _, v in mixed[tag]] == pytest.approx([v for _, v in full[tag]], rel=0.05), tag


def test_mixed_precision_does_not_round_the_pictures(train, config, monkeypatch):
    # Fabric's own mixed precision does, to bfloat16.
    seen = []

    def recorded(forward):
        def record(self, *pictures):
            seen.extend(pictures)
            return forward(self, *pictures)

        return record

    for network in (ParagonSR2, Discrimination):
        monkeypatch.setattr(network, "forward", recorded(network.forward))
    train(read_config(config, changes(GAN | {"train.total_iter": 1, "precision": "bf16-mixed"})))
    low, real, fake = seen
    assert [picture.dtype for picture in seen] == [torch.float32] * 3
    for picture in (low, real):
        assert torch.equal((picture * 255).round() / 255, picture)
    assert fake.shape == real.shape


def test_mixed_precision_does_not_round_the_base():
    network = create_generator("nano", scale=2)
    torch.nn.init.zeros_(network.conv_out.weight)  # without detail
    picture = torch.rand(1, 3, 16, 16)
    base = network(picture)
    mixed = Fabric(accelerator="cpu", devices=1, plugins=precision_named("bf16-mixed")).setup(network)
    assert torch.equal(mixed(picture), base)


def test_other_scale_starts_from_the_body(train, config, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(read_config(config, ["train.total_iter=2"]))
    start_from = tmp_path / "runs" / "tiny" / "tiny.safetensors"
    settings = {"name": "three", "network_g.scale": 3, "path.pretrain_network_g": start_from, "train.total_iter": 1}
    settings |= {"train.warmup_iter": 1000000}  # the first step changes almost nothing
    train(read_config(config, changes(settings)))
    assert "left out: upsampler_net.up_conv.bias, upsampler_net.up_conv.weight" in caplog.text
    old = load_generator(start_from).state_dict()
    new = load_state(tmp_path / "runs" / "three" / "last.state")["generator"]
    assert torch.allclose(new["conv_fuse.weight"], old["conv_fuse.weight"], atol=1e-6)
    assert new["upsampler_net.up_conv.weight"].shape[0] == 12 * 9


def test_weights_of_another_network_are_no_beginning(train, config, tmp_path):
    start_from = tmp_path / "micro.safetensors"
    save_generator(create_generator("micro", scale=2), start_from, variant="micro", note="untrained")
    with pytest.raises(
        InvalidInput, match=r"micro\.safetensors, whose weights belong to another network: only 2 of the \d+"
    ):
        train(read_config(config, [f"path.pretrain_network_g={start_from}"]))


def test_paths_may_begin_at_home(train, config, tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    home = {"datasets.train.dataroot_gt": '"~/pictures"', "path.experiments_root": '"~/mine"', "train.total_iter": 1}
    train(read_config(config, changes(home)))
    again = {"path.resume_state": '"~/mine/tiny/last.state"', "train.total_iter": 2}
    train(read_config(config, changes(home | again)))
    assert load_state(tmp_path / "mine" / "tiny" / "last.state")["iteration"] == 2
    begin = {"path.pretrain_network_g": '"~/mine/tiny/tiny.safetensors"', "name": "new"}
    train(read_config(config, changes(home | begin)))


def test_weights_to_begin_from_that_cannot_be_read_are_named_with_their_key(train, config):
    with pytest.raises(ModelError, match=r"path\.pretrain_network_g: cannot read .*none\.pth.*bundled weights are in"):
        train(read_config(config, ["path.pretrain_network_g=none.pth"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("network_g.scale=3", r"network_g\.scale was 2 and is 3"),
        ("train.branch_channels=8", r"train\.branch_channels was 0 and is 8"),
        ("train.optim_g.type=SOAP", r"train\.optim_g\.type was AdamW and is SOAP"),
        (changes(GAN), r"network_d\.type was absent and is munet"),
        ("train.total_iter=2", "2 iterations are done already"),
    ],
)
def test_a_run_goes_on_as_what_it_was(train, config, change, said):
    train(read_config(config, ["train.total_iter=2"]))
    given = [change] if isinstance(change, str) else change
    with pytest.raises(InvalidInput, match=said):
        train(read_config(config, ["path.resume_state=auto", *given]))


@pytest.mark.parametrize("kind", ["text", "weights", "code"])
def test_what_is_no_state_is_refused_in_one_sentence(kind, tmp_path):
    path = tmp_path / "last.state"
    if kind == "text":
        path.write_text("hello world")
    elif kind == "weights":
        save_generator(create_generator("swift_lite"), path, variant="swift_lite", note="untrained")
    else:
        torch.save({"code": Mock}, path)
    with pytest.raises(ModelError, match=r"last\.state: it is damaged, or not the saved state of a run \(last"):
        load_state(path)


def test_weights_are_no_state(train, config, tmp_path):
    torch.save({"params": {}}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="it belongs to another network, or is not the state of a run"):
        train(read_config(config, [f"path.resume_state={tmp_path / 'weights.pth'}"]))


def test_a_run_goes_on_with_the_steps_that_are_set_now(train, config, tmp_path):
    train(read_config(config, ["train.total_iter=2"]))
    changed = {"path.resume_state": "auto", "train.total_iter": 4, "train.optim_g.weight_decay": 0.25}
    train(read_config(config, changes(changed | {"train.optim_g.betas": [0.5, 0.75]})))
    (group,) = load_state(tmp_path / "runs" / "tiny" / "last.state")["optim_g"]["param_groups"]
    assert (group["weight_decay"], tuple(group["betas"])) == (0.25, (0.5, 0.75))


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupted_run_loses_nothing(train, config, tmp_path, number):
    settings = {"train.total_iter": 100_000, "logger.save_checkpoint_freq": 50_000, "path.resume_state": "auto"}
    run = start(config, settings | {"datasets.train.num_worker_per_gpu": 1})
    done = 0
    for line in run.stderr:
        if found := re.search(r"iteration (\d+) of", line):
            done = int(found[1])
            if done == 3:  # a terminal and the system send it to all processes of a group
                workers = psutil.Process(run.pid).children()
                for worker in workers:
                    worker.send_signal(signal.Signals[number])
                psutil.wait_procs(workers, timeout=1)  # time to end, if they do
                run.send_signal(signal.Signals[number])
    assert run.wait() == 130
    assert "resume_state=auto resumes" in line
    folder = tmp_path / "runs" / "tiny"
    assert load_state(folder / "last.state")["iteration"] == done
    note = read_checkpoint(folder / "tiny.safetensors").metadata["training"]
    assert note == f"{done} of 100000 iterations of 2 crops of 24x24 from 3 pictures; tiny"
    kept = {"train.total_iter": done + 1, "path.resume_state": "auto", "logger.keep_weights": True}
    train(read_config(folder / "config.yml", changes(kept)))
    assert load_generator(folder / f"tiny_{done + 1}.safetensors").options.scale == 2


def test_what_cannot_be_measured_is_known_before_the_training(train, config, tmp_path, caplog):
    folder = write_pictures(tmp_path / "val", count=1, side=64)
    (folder / "folder.png").mkdir()
    Image.fromarray(textured(12, 12)).save(folder / "small.png")
    train(read_config(config, [f"datasets.val={{dataroot_gt: {folder}}}", "train.total_iter=1"]))
    assert "left out" in caplog.text
    assert "12x12 is smaller than the 15 pixels" in caplog.text
    with pytest.raises(FileNotFoundError, match="no pictures in nowhere"):
        train(read_config(config, ["datasets.val={dataroot_gt: nowhere}", "name=other"]))
    assert not (tmp_path / "runs" / "other").exists()


def test_measured_on_pairs_from_files(train, config, tmp_path):
    high = write_pictures(tmp_path / "val", count=1, side=64)
    low = tmp_path / "low"
    low.mkdir()
    Image.fromarray(255 - load_picture(high / "0.png")[::2, ::2]).save(low / "0.png")  # not one of our reductions
    pairs = f"datasets.val={{dataroot_gt: {high}, dataroot_lq: {low}}}"
    train(read_config(config, [pairs, "train.total_iter=1"]))
    ((_, psnr),) = scalars(tmp_path / "runs" / "tiny")["val/val/psnr"]
    assert psnr < 15
    with pytest.raises(InvalidInput, match="give one of the two"):
        read_config(config, [pairs, "datasets.val.degradation={resize: [lanczos]}"])


def test_weights_say_the_licence_that_the_configuration_gives(train, config, tmp_path):
    for name, settings in (("with", ["licence=CC-BY-4.0"]), ("without", [])):
        train(read_config(config, [f"name={name}", "train.total_iter=1", *settings]))
    said = [
        read_checkpoint(tmp_path / "runs" / name / f"{name}.safetensors").metadata.get("licence")
        for name in ("with", "without")
    ]
    assert said == ["CC-BY-4.0", None]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torch for Windows lacks libuv, which torchrun needs")
def test_two_processes_train_as_one_with_twice_the_batch(train, config, tmp_path):
    settings = GAN | {"train.total_iter": 4}
    pair = start(config, settings | {"name": "two"}, ("-m", "torch.distributed.run", "--nproc-per-node", "2"))
    train(read_config(config, changes(settings | {"name": "one", "datasets.train.batch_size_per_gpu": 4})))
    _, log = pair.communicate()
    assert pair.returncode == 0, log
    one, two = (scalars(tmp_path / "runs" / name) for name in ("one", "two"))
    for tag in ("loss/pixel", "loss/discriminator"):
        assert [v for _, v in two[tag]] == pytest.approx([v for _, v in one[tag]], rel=1e-4), tag


def end_of(script, config, settings, monkeypatch) -> str:
    """What the script says as it gives up."""
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(config), "--set", *changes(settings)])
    with pytest.raises(SystemExit) as ended:
        script.main()
    return str(ended.value)


def from_worker(reason: str) -> RuntimeError:
    """An error in a process that prepares crops, as torch passes it on."""
    return RuntimeError(f"Caught RuntimeError in DataLoader worker process 0.\nTraceback ...:\n  ...\n{reason}\n")


def test_what_was_learnt_before_a_picture_became_unreadable_is_kept(config, tmp_path, monkeypatch):
    script = load_script("train")
    step, pictures = script.Trainee.step, tmp_path / "pictures"

    def step_and_damage(trainee, low, high, iteration):
        if iteration == 1:
            for picture in pictures.iterdir():
                picture.write_text("changed")
        return step(trainee, low, high, iteration)

    monkeypatch.setattr(script.Trainee, "step", step_and_damage)
    assert "cannot be used any more" in end_of(script, config, {"datasets.train.memory_mb": 0}, monkeypatch)
    assert load_state(tmp_path / "runs" / "tiny" / "last.state")["iteration"] == 2


def test_a_batch_system_does_not_change_the_run(train, config, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "x")
    assert train(read_config(config, ["train.total_iter=1"]))


@pytest.mark.parametrize("workers", [0, 1])
def test_picture_that_cannot_be_read_any_more_ends_the_run_with_one_line(config, monkeypatch, workers):
    read_pairs = data.read_pairs

    def read_and_damage(high, low, **options):  # really, because on Windows a worker does not see what is patched here
        yield from read_pairs(high, low, **options)
        for picture in high.iterdir():
            picture.write_text("changed")

    monkeypatch.setattr(data, "read_pairs", read_and_damage)
    settings = {"datasets.train.memory_mb": 0, "datasets.train.num_worker_per_gpu": workers}
    others = set(multiprocessing.active_children())
    said = end_of(load_script("train"), config, settings, monkeypatch)
    assert re.fullmatch(r"train: .*\.png cannot be used any more: cannot identify image file .*", said)
    assert set(multiprocessing.active_children()) <= others  # Python would wait for them forever


def test_picture_that_became_smaller_ends_the_run_with_one_line(config, monkeypatch):
    read_pairs = data.read_pairs

    def read_and_shrink(high, low, **options):
        yield from read_pairs(high, low, **options)
        for picture in high.iterdir():
            Image.fromarray(textured(47, 90)).save(picture)

    monkeypatch.setattr(data, "read_pairs", read_and_shrink)
    said = end_of(load_script("train"), config, {"datasets.train.memory_mb": 0}, monkeypatch)
    assert re.fullmatch(r"train: .*\.png cannot be used any more: 90x47 is smaller than the 48 pixels .*", said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nC++"), "allocate 2 GiB); lower"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "9 bytes); lower"),
        (
            from_worker("RuntimeError: unable to allocate shared memory(shm): No space left on device (28)"),
            "--shm-size",
        ),
        (from_worker("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8. GiB"), "8. GiB); lower"),
        (OSError(errno.ENOSPC, "No space left on device"), "left on device; free some space, and go on with --set"),
        (MemoryError(), r"out of memory (MemoryError); lower"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "Killed), perhaps for lack of"),
        (ConnectionResetError(104, "Connection reset by peer"), "by peer), perhaps for lack of memory"),
    ],
)
def test_lack_of_memory_or_space_ends_the_run_with_one_line(config, monkeypatch, error, said):
    script = load_script("train")
    monkeypatch.setattr(script, "train", Mock(side_effect=error))
    message = end_of(script, config, {"name": "a"}, monkeypatch)
    assert said in message
    assert "\n" not in message


def test_full_disk_ends_the_run_with_one_line(config, tmp_path, monkeypatch):
    script = load_script("train")
    write, room = script.save_state, [True, False]

    def save(path, state):
        if not room.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, state)

    monkeypatch.setattr(script, "save_state", save)
    said = end_of(script, config, {"name": "full"}, monkeypatch)
    folder = tmp_path / "runs" / "full"
    wanted = f"iteration 8 cannot be saved in {folder} (No space left on device); the last good checkpoint is kept."
    assert said == f"train: {wanted}"
    assert load_state(folder / "last.state")["iteration"] == 4


def test_error_in_the_program_keeps_its_traceback(config, monkeypatch):
    script = load_script("train")
    monkeypatch.setattr(script, "train", Mock(side_effect=RuntimeError("shapes differ")))
    said = end_of(script, config, {"name": "a"}, monkeypatch)
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("RuntimeError: shapes differ\n")


@pytest.mark.skipif(sys.platform != "linux" or (os.cpu_count() or 1) < 2, reason="counts threads, which are several")
def test_numpy_takes_one_thread_beside_those_of_torch():
    product = (
        "import numpy, os; numpy.ones((500, 500)) @ numpy.ones((500, 500)); print(len(os.listdir('/proc/self/task')))"
    )
    begin = f"import runpy; runpy.run_path({str(ROOT / 'scripts' / 'train.py')!r}); "
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    counts = [
        int(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for code in (product, begin + product)
    ]
    assert counts[0] > counts[1] == 1


def test_unusable_configuration_ends_with_one_line(config, monkeypatch, capsys):
    script = load_script("train")
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(config), "--set", "train.total=3"])
    with pytest.raises(SystemExit, match=r"unknown key train\.total "):
        script.main()
    shutil.rmtree(config.parent / "pictures")
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(config), "--set", "name=a", "--set", "threads=1"])
    with pytest.raises(SystemExit, match="train: no pictures in"):
        script.main()
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(config), "--set", "name=a/b", "--set", "threads=1"])
    with pytest.raises(SystemExit, match="name"):
        script.main()
