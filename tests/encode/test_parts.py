"""The working folder beside the output, OUTPUT.parts."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

pytest.importorskip("filelock", reason="the folder is locked by filelock")

from filelock import FileLock

from vsparagon.encode import parts
from vsparagon.encode.parts import PartsFolder, Segment
from vsparagon.errors import EncodeFailure, InvalidInput


def keep_segment(folder: Path, number: int, content: bytes, *, crf: int = 17) -> Segment:
    """Keep a segment of an output in this folder."""
    segment = Segment(frames=3, bytes=len(content), durations=((1001, 30000, 2), (1, 25, 1)), times=(0.5, 0.6, 1.0))
    with PartsFolder(folder / "out.mkv") as kept:
        kept.resume({"crf": crf})
        draft = kept.draft("segment.mkv")
        draft.write_bytes(content)
        kept.keep(number, draft, segment)
    return segment


def work_in(folder: Path) -> set[Path]:
    """Return the paths in a folder, except the lock, which on Windows exists only while it is held."""
    return {path for path in folder.rglob("*") if path.name != "lock"}


def test_what_is_known_of_a_segment_survives(tmp_path):
    segments = {number: keep_segment(tmp_path, number, b"x" * number) for number in (2, 10)}
    with PartsFolder(tmp_path / "out.mkv") as kept:
        assert kept.resume({"crf": 17}) == []
        assert kept.segments == segments
        assert (kept.frames, kept.bytes) == (6, 12)


def test_folder_that_cannot_be_locked_is_used_all_the_same(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(FileLock, "acquire", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    segment = keep_segment(tmp_path, 3, b"film")
    said = f"lock cannot be locked ([Errno {errno.ENOLCK}] No locks available); start no other encode to this output"
    assert said in caplog.text
    with PartsFolder(tmp_path / "out.mkv") as kept:
        assert kept.resume({"crf": 17}) == []
        assert kept.segments == {3: segment}


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_manifest_that_cannot_be_read_is_that_of_nothing(text, tmp_path):
    keep_segment(tmp_path, 0, b"film")
    (manifest,) = tmp_path.glob("*.parts/*/manifest.json")
    manifest.write_text(text)
    with PartsFolder(tmp_path / "out.mkv") as kept:
        assert kept.resume({"crf": 17}) == []
        assert kept.segments == {}


def test_what_is_kept_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, replace = [], parts.replace

    def named(draft, path, **how):
        done.append(("named", draft.stat().st_ino))
        replace(draft, path, **how)

    monkeypatch.setattr(os, "fsync", lambda file: done.append(("written", os.fstat(file).st_ino)))
    monkeypatch.setattr(parts, "replace", named)
    keep_segment(tmp_path, 0, b"film")
    names = ("000000.mkv", "000000.json", "manifest.json")
    files = [next(tmp_path.glob(f"*.parts/*/{name}")).stat().st_ino for name in names]
    assert done == [(deed, file) for file in files for deed in ("written", "named")]


def test_what_is_written_for_a_segment_does_not_grow_with_their_number(tmp_path, monkeypatch):
    sizes, replace = [], parts.replace

    def measured(draft, path, **how):
        sizes.append(draft.stat().st_size)
        replace(draft, path, **how)

    monkeypatch.setattr(parts, "replace", measured)
    segment = Segment(frames=240, bytes=4, durations=((1001, 24000, 240),), times=tuple(n / 24 for n in range(240)))
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        for number in range(50):
            draft = kept.draft("segment.mkv")
            draft.write_bytes(b"film")
            kept.keep(number, draft, segment)
    assert sum(sizes) < 3 * sum(sizes[: len(sizes) // 2])


def test_segment_whose_description_is_damaged_is_lost_alone(tmp_path):
    for number in range(5):
        keep_segment(tmp_path, number, b"film")
    for path, text in zip(sorted(tmp_path.glob("*.parts/*/0*.json")), ("", "[]", '{"frames":3}', "{"), strict=False):
        path.write_text(text)
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        assert list(kept.segments) == [4]


def test_segments_of_an_older_format_are_told_of_and_kept_but_not_taken_over(tmp_path):
    job = tmp_path / "out.mkv.parts" / "0123456789ab"
    job.mkdir(parents=True)
    (job / "000000.mkv").write_bytes(b"film")
    entry = {"frames": 3, "bytes": 4, "durations": [[1, 25, 3]], "times": []}
    (job / "manifest.json").write_text(json.dumps({"format": 2, "job": {"crf": 17}, "segments": {"0": entry}}))
    before = sorted(job.iterdir())
    with PartsFolder(tmp_path / "out.mkv") as kept:
        assert kept.resume({"crf": 17}) == ["format of the segments: 2, now 4"]
        assert kept.segments == {}
    assert sorted(job.iterdir()) == before


def test_what_was_being_written_when_a_run_was_killed_is_removed_and_nothing_else(tmp_path):
    keep_segment(tmp_path, 0, b"film")
    folder = tmp_path / "out.mkv.parts"
    for name in ("part-0123abcd-segment.mkv", "000000.mkv", "part-1.mkv"):  # only the first is named as ours are here
        (folder / name).write_bytes(b"fi")
    before = work_in(folder) - set(folder.glob("part-*-*"))
    with PartsFolder(tmp_path / "out.mkv"):
        assert work_in(folder) == before
    assert work_in(folder) == before


def test_a_job_without_a_segment_leaves_the_segments_of_others(tmp_path):
    keep_segment(tmp_path, 0, b"film")
    kept = work_in(tmp_path)
    with PartsFolder(tmp_path / "out.mkv") as other:
        assert other.resume({"crf": 30}) == ["crf: 17, now 30"]
        assert other.segments == {}
        assert len(work_in(tmp_path)) == len(kept) + 1
    assert work_in(tmp_path) == kept


def test_what_has_changed_is_told_by_the_latest_job(tmp_path):
    for crf in (17, 30, 25):
        keep_segment(tmp_path, 0, b"film", crf=crf)
    with PartsFolder(tmp_path / "out.mkv") as other:
        assert other.resume({"crf": 20}) == ["crf: 25, now 20"]


def test_order_in_which_a_job_is_described_makes_no_other_job(tmp_path):
    for items in ([("crf", 17), ("preset", "slow")], [("preset", "slow"), ("crf", 17)]):
        with PartsFolder(tmp_path / "out.mkv") as kept:
            assert kept.resume(dict(items)) == []
            draft = kept.draft("segment.mkv")
            draft.write_bytes(b"film")
            kept.keep(len(kept.segments), draft, Segment(frames=1, bytes=4, durations=((1, 25, 1),), times=()))
    assert len(kept.segments) == 2


def test_segment_of_another_length_or_name_is_not_taken_over(tmp_path):
    for number in range(3):
        keep_segment(tmp_path, number, b"film")
    paths = sorted(tmp_path.glob("*.parts/*/*.mkv"))
    for path in (paths[2], paths[2].with_suffix(".json")):  # as a file manager copies them
        shutil.copy(path, path.with_stem(f"{path.stem} (1)"))
    paths[0].write_bytes(b"fi")
    paths[1].unlink()
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        assert list(kept.segments) == [2]


@pytest.mark.parametrize("same", [True, False])
def test_what_led_to_the_output_is_removed_and_to_another_of_its_size_is_kept(same, tmp_path):
    for crf in (17, 30):
        keep_segment(tmp_path, 0, b"film", crf=crf)
    out = tmp_path / "out.mkv"
    with PartsFolder(out) as kept:
        kept.resume({"crf": 17})
        draft = kept.draft("out.mkv")
        draft.write_bytes(b"film")
        kept._describe(delivered=parts._file_identity(draft))
        draft.replace(out)  # then it is killed
    if not same:
        os.utime(out, ns=(1, 1))
    with PartsFolder(out) as again:
        again.sweep()
    assert again.folder.exists() != same
    assert out.read_bytes() == b"film"


@pytest.mark.parametrize(
    "name", ["notes.txt", "part-1.mkv", "source.mkv", "202401011200/notes.txt", "20240101120000/000000.mkv"]
)
def test_folder_of_somebody_else_is_refused_and_left_alone(name, tmp_path):
    theirs = tmp_path / "out.mkv.parts" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")
    with pytest.raises(InvalidInput, match=r"out\.mkv\.parts, but that has other files in it; rename it"):
        PartsFolder(tmp_path / "out.mkv").__enter__()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("name", ["notes.txt", "0123456789ab/notes.txt", "JOB/notes.txt", "web/manifest.json"])
def test_what_somebody_else_has_put_beside_the_work_stays(name, tmp_path):
    keep_segment(tmp_path, 0, b"film")
    folder = tmp_path / "out.mkv.parts"
    (job,) = (path for path in folder.iterdir() if path.is_dir())
    theirs = folder / name.replace("JOB", job.name)
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("precious")
    (folder / "source-1f-2e.0.bsindex").touch()
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        draft = kept.draft("output.mkv")
        draft.write_bytes(b"film")
        kept.deliver(draft, overwrite=False)
    assert [path for path in folder.rglob("*") if path.is_file()] == [theirs]


def test_empty_folder_is_used_and_removed(tmp_path):
    folder = tmp_path / "out.mkv.parts"
    folder.mkdir()
    with PartsFolder(tmp_path / "out.mkv"):
        assert folder.is_dir()
    assert not folder.exists()


def test_lock_is_removed_last(tmp_path, monkeypatch):
    removed, remove = [], parts._remove
    monkeypatch.setattr(parts, "_remove", lambda path: removed.append(path.name) or remove(path))
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.draft("segment.mkv").write_bytes(b"fi")
    assert removed[1:] == ["lock"]


def test_process_that_comes_next_keeps_its_folder(tmp_path, monkeypatch):
    """The lock is released only after its folder's files are removed, so the next process keeps its own files."""
    first, second = (PartsFolder(tmp_path / "out.mkv") for _ in range(2))
    release = first._lock.release
    with first:
        first.resume({"crf": 17})
        first.draft("segment.mkv").write_bytes(b"fi")

        def release_to_the_next():
            assert {path.name for path in first.folder.iterdir()} <= {"lock"}
            release()
            second.__enter__()
            second.draft("segment.mkv").write_bytes(b"film")

        monkeypatch.setattr(first._lock, "release", release_to_the_next)
    assert [path.read_bytes() for path in first.folder.glob("part-*")] == [b"film"]
    second.__exit__()
    assert list(tmp_path.iterdir()) == []


def test_disk_that_is_full_is_told_and_the_segment_is_not_kept(tmp_path, monkeypatch):
    def fail(*paths, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        draft = kept.draft("segment.mkv")
        draft.write_bytes(b"film")
        monkeypatch.setattr(parts, "replace", fail)
        with pytest.raises(EncodeFailure, match=r"cannot write in .*out\.mkv\.parts: No space left on device\.$"):
            kept.keep(0, draft, Segment(frames=1, bytes=4, durations=((1, 25, 1),), times=()))
        assert kept.segments == {}
    assert list(tmp_path.iterdir()) == []


def without_links(*paths):
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_output_is_replaced_only_where_that_is_wanted(links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    out = tmp_path / "out.mkv"
    keep_segment(tmp_path, 0, b"film")
    out.write_bytes(b"precious")
    for overwrite in (False, True):
        with PartsFolder(out) as kept:
            kept.resume({"crf": 17})
            assert len(kept.segments) == 1
            draft = kept.draft("output.mkv")
            draft.write_bytes(b"film")
            if overwrite:
                kept.deliver(draft, overwrite=True)
            else:
                said = r"out\.mkv appeared during the encode; run .* with -y .* lost\.$"
                with pytest.raises(EncodeFailure, match=said):
                    kept.deliver(draft, overwrite=False)
                assert draft.read_bytes() == b"film"
        assert out.read_bytes() == (b"film" if overwrite else b"precious")
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_failed_run_was_writing_takes_no_space(tmp_path):
    keep_segment(tmp_path, 0, b"film")
    before = work_in(tmp_path)
    with PartsFolder(tmp_path / "out.mkv") as kept:
        kept.resume({"crf": 17})
        kept.draft("output.mkv").write_bytes(b"half a fi")
    assert work_in(tmp_path) == before


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_output_gets_a_name_that_is_free(links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    elif os.name == "posix":
        monkeypatch.delattr(Path, "rename")  # which would replace a file that appears just now
    out = tmp_path / "out.mkv"
    with PartsFolder(out) as kept:
        kept.resume({"crf": 17})
        draft = kept.draft("output.mkv")
        draft.write_bytes(b"film")
        kept.deliver(draft, overwrite=False)
        assert not draft.exists()
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_bytes() == b"film"
