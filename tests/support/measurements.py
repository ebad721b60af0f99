"""Small jobs and made-up results for the tests of scripts/benchmark.py."""

import json

import benchmark
from benchmarking import networks
from benchmarking.jobs import Candidate, Settings, Size, job_from, job_of
from benchmarking.rounds import Result

SMALL = Size(width=48, height=32)
NANO = networks.find_networks(["nano"], [], 2)


def run(monkeypatch, capsys, *arguments):
    """Return what the script prints, split at empty lines."""
    monkeypatch.setattr("sys.argv", ["benchmark.py", *map(str, arguments)])
    benchmark.main()
    return capsys.readouterr().out.strip().split("\n\n")


def cells(table):
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return header, rows


def result_of(candidate, *openings, **figures):
    """Return a made-up result; each figure has a value for each round."""
    turns = [dict(zip(figures, turn, strict=True)) for turn in zip(*figures.values(), strict=True)]
    return Result(candidate=candidate, openings=list(openings), turns=turns)


def job(kind, arguments=(), size=SMALL, **settings):
    candidate = Candidate(name=kind, kind=kind, size=size, arguments=dict(arguments))
    return job_from(json.loads(json.dumps(job_of(candidate, Settings(frames=2, rounds=1, **settings)))))
