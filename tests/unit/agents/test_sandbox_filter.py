"""The system call filter, run by a small interpreter of its instructions: also for the machine that this is not."""

import os
import platform
import struct

import pytest

from cognitionos.agents.infrastructure import sandbox_lock
from cognitionos.agents.infrastructure.sandbox_syscalls import ABSENT, IGNORED, INSPECTED, REFUSED

ALLOW, KILL, EPERM, ENOSYS, DONE = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MACHINES = ["x86_64", "aarch64"]
PID = 4242


def verdict(
    machine: str, number: int, *arguments: int, monkeypatch: pytest.MonkeyPatch, engine: bool = False, arch: int = 0
) -> int:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    program = sandbox_lock._program(PID, engine=engine)
    data = struct.pack("=IIQ6Q", number, arch or ARCHITECTURE[machine], 0, *(*arguments, *[0] * (6 - len(arguments))))
    place = accumulator = 0
    while True:
        code, when_true, when_false, constant = program[place]
        place += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, constant)[0]
            case 0x54:
                accumulator &= constant
            case 0x06:
                return constant
            case 0x15:
                place += when_true if accumulator == constant else when_false
            case 0x35:
                place += when_true if accumulator >= constant else when_false
            case 0x45:
                place += when_true if accumulator & constant else when_false
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def number_of(machine: str, name: str) -> int | None:
    for table in (REFUSED, ABSENT, IGNORED, INSPECTED):
        if name in table:
            return table[name][MACHINES.index(machine)]
    raise KeyError(name)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("table", "answer"), [(REFUSED, EPERM), (ABSENT, ENOSYS), (IGNORED, DONE)])
def test_every_listed_call_gets_its_answer(
    machine: str, table: dict[str, object], answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {name: number_of(machine, name) for name in table}

    answers = {
        name: verdict(machine, number, monkeypatch=monkeypatch)
        for name, number in numbers.items()
        if number is not None
    }

    assert set(answers.values()) == {answer}


STREAM, DATAGRAM, THREAD = 1, 2, 0x3D0F00
CASES = [
    ("socketpair", (1, STREAM | 0o2004000, 0), ALLOW, ALLOW),
    ("socketpair", (1, DATAGRAM, 0), EPERM, EPERM),
    ("socketpair", (1, 5, 0), EPERM, EPERM),
    ("socketpair", (2, STREAM, 0), EPERM, EPERM),
    ("clone", (17,), EPERM, EPERM),
    ("clone", (THREAD,), EPERM, ALLOW),
    ("memfd_create", (0, 0), EPERM, ALLOW),
    ("kill", (PID, 9), ALLOW, ALLOW),
    ("kill", (0, 9), EPERM, EPERM),
    ("kill", (2**64 - 1, 9), EPERM, EPERM),
    ("kill", (PID - 1, 9), EPERM, EPERM),
    ("tgkill", (PID, 1, 9), ALLOW, ALLOW),
    ("tgkill", (PID + 1, 1, 9), EPERM, EPERM),
    ("prlimit64", (0, 7), ALLOW, ALLOW),
    ("prlimit64", (PID, 7), ALLOW, ALLOW),
    ("prlimit64", (1, 7), EPERM, EPERM),
    ("prctl", (15,), ALLOW, ALLOW),
    ("prctl", (1,), EPERM, EPERM),
    ("ioctl", (0, 0x5413), ALLOW, ALLOW),
    ("ioctl", (0, 0x5412), EPERM, EPERM),
    ("openat", (0, 0, os.O_RDONLY), ALLOW, ALLOW),
    ("openat", (0, 0, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), ALLOW, ALLOW),
    ("openat", (0, 0, os.O_RDWR | os.O_TRUNC), ALLOW, ALLOW),
    ("openat", (0, 0, os.O_RDONLY | os.O_TRUNC), EPERM, EPERM),
    ("openat", (0, 0, os.O_ACCMODE | os.O_TRUNC | os.O_CLOEXEC), EPERM, EPERM),
    ("open", (0, os.O_RDONLY | os.O_TRUNC), EPERM, EPERM),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "plain", "engine"), CASES)
def test_calls_are_judged_by_their_arguments(
    machine: str, name: str, arguments: tuple[int, ...], plain: int, engine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = number_of(machine, name)
    answers = [
        ALLOW if number is None else verdict(machine, number, *arguments, monkeypatch=monkeypatch, engine=with_engine)
        for with_engine in (False, True)
    ]

    assert answers == ([ALLOW, ALLOW] if number is None else [plain, engine])


@pytest.mark.parametrize("machine", MACHINES)
def test_foreign_architectures_are_killed_and_unknown_calls_absent(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdict(machine, 1, monkeypatch=monkeypatch, arch=0x40000003) == KILL
    assert verdict(machine, 0x40000000 + 1, monkeypatch=monkeypatch) == KILL
    assert verdict(machine, 463, monkeypatch=monkeypatch) == ENOSYS
    assert verdict(machine, 64, monkeypatch=monkeypatch) in {ALLOW, EPERM}


def test_ordinary_reading_and_writing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    x86 = {"read": 0, "write": 1, "close": 3, "mmap": 9, "rename": 82, "getdents64": 217, "exit_group": 231}
    arm = {"read": 63, "write": 64, "close": 57, "mmap": 222, "renameat": 38, "getdents64": 61, "exit_group": 94}

    assert {verdict("x86_64", number, monkeypatch=monkeypatch) for number in x86.values()} == {ALLOW}
    assert {verdict("aarch64", number, monkeypatch=monkeypatch) for number in arm.values()} == {ALLOW}
