"""Packages in the sandbox: what is refused at the door, and what code may do with the rest."""

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Run
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says
from tests.sandboxes import BACKENDS, a_sandbox

from cognitionos.agents.infrastructure.python_tool import PythonTool
from cognitionos.agents.infrastructure.sandbox_packages import (
    UNUSED_S,
    BadPackage,
    PackageNotFound,
    SandboxPackages,
    checked,
)
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

NAME = "greeter-1.2-py3-none-any.whl"
CODE = b"""import pathlib
DATA = pathlib.Path(__file__).with_name('word.txt').read_text()
def greet(who): return DATA + who
"""


def a_wheel(*, purelib: str = "true", **files: bytes) -> bytes:
    """A wheel of these files besides its metadata; `__` in a name is a slash."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("greeter-1.2.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: {purelib}\n")
        for name, content in (files or {"greeter/__init__.py": CODE, "greeter/word.txt": b"hello "}).items():
            wheel.writestr(name, content)
    return made.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def database(settings: Settings, run: Run) -> Iterator[Database]:
    opened = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(opened.open())
    yield opened
    run(opened.close())


@pytest.fixture(scope="module", params=BACKENDS)
def python(request: pytest.FixtureRequest, database: Database, run: Run) -> Iterator[PythonTool]:
    # not below pytest's own folder, which other accounts cannot pass
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cos-packages-") as folder:
        Path(folder).chmod(0o755)
        packages = SandboxPackages(database, Path(folder) / "packages")
        tool = PythonTool(
            sandbox=a_sandbox(request.param),
            files=PostgresFiles(database),
            root=Path(folder) / "workspaces",
            packages=packages.places,
        )
        run(tool.open())
        yield tool
        run(tool.close())


async def outputs(tool: PythonTool, tenant_id: Any, *codes: str) -> list[str]:
    bench = Bench.of(*(calls(("python", {"code": code})) for code in codes), says("done"), tools=(tool.tool,))
    await bench.agents.perform(an_assignment(tenant_id=tenant_id))
    return [message["content"] for message in bench.gateway.requests[-1].messages if message["role"] == "tool"]


async def test_code_imports_a_package_of_its_tenant_and_cannot_change_it(
    python: PythonTool, database: Database
) -> None:
    packages: SandboxPackages = python.packages.__self__  # type: ignore[attr-defined]
    tenant_id, wheel = new_id(), a_wheel()
    await packages.put(tenant_id, file_name=NAME, sha256=sha256(wheel), content=wheel)
    spoil = "import greeter\nopen(greeter.__file__, 'w').write('evil')"
    plant = "import greeter, os\nopen(os.path.join(os.path.dirname(greeter.__file__), 'x.py'), 'w')"
    look = "import greeter, os\nprint(os.listdir(os.path.dirname(os.path.dirname(os.path.dirname(greeter.__file__)))))"

    told = await outputs(python, tenant_id, "import greeter\nprint(greeter.greet('you'))", spoil, plant, look)
    [place] = await packages.places(tenant_id)

    assert "hello you" in told[0]
    assert all("error" in each for each in told[1:])
    assert (place / "greeter/__init__.py").read_bytes() == CODE
    assert not (place / "greeter/x.py").exists()


async def test_another_tenant_has_no_package_of_it(python: PythonTool) -> None:
    packages: SandboxPackages = python.packages.__self__  # type: ignore[attr-defined]
    tenant_id, wheel = new_id(), a_wheel()
    await packages.put(tenant_id, file_name=NAME, sha256=sha256(wheel), content=wheel)
    [place] = await packages.places(tenant_id)

    told = await outputs(python, new_id(), "import greeter", f"print(open('{place}/greeter/word.txt').read())")

    assert "ModuleNotFoundError" in told[0]
    assert "error" in told[1]
    assert await packages.of(new_id()) == []


async def test_code_that_digs_deep_leaves_nothing_and_the_next_runs(python: PythonTool) -> None:
    dig = "import os\nfor _ in range(2200):\n    os.mkdir('d'); os.chdir('d')"

    told = await outputs(python, new_id(), dig, "print('and on')")

    assert "error" in told[0]
    assert "and on" in told[1]
    assert not [*python.root.iterdir()]


async def test_a_package_is_replaced_and_taken_away(database: Database, tmp_path: Path) -> None:
    packages, tenant_id = SandboxPackages(database, tmp_path / "packages"), new_id()
    old, new = a_wheel(), a_wheel(**{"greeter.py": b""})
    await packages.put(tenant_id, file_name=NAME, sha256=sha256(old), content=old)
    before = await packages.places(tenant_id)
    await packages.put(tenant_id, file_name=NAME, sha256=sha256(new), content=new)

    assert [each.name for each in await packages.of(tenant_id)] == ["greeter"]
    assert await packages.places(tenant_id) != before
    await packages.delete(tenant_id, "greeter")
    assert await packages.places(tenant_id) == []
    with pytest.raises(PackageNotFound):
        await packages.delete(tenant_id, "greeter")


async def test_what_no_code_had_for_an_hour_leaves_the_machine_and_comes_back_when_it_is_wanted(
    database: Database, tmp_path: Path
) -> None:
    packages, tenant_id = SandboxPackages(database, tmp_path / "packages"), new_id()
    kept, gone = a_wheel(), a_wheel(**{"other.py": b""})
    await packages.put(tenant_id, file_name=NAME, sha256=sha256(kept), content=kept)
    await packages.put(tenant_id, file_name="other-1-py3-none-any.whl", sha256=sha256(gone), content=gone)
    places = await packages.places(tenant_id)
    (half := tmp_path / "packages" / ".new-killed").mkdir()
    for each in (*places, half):
        os.utime(each, (time.time() - 2 * UNUSED_S,) * 2)

    await packages.delete(tenant_id, "other")
    [used] = await packages.places(tenant_id)
    assert packages.sweep() == 2
    assert [*used.parent.iterdir()] == [used]
    os.utime(used, (time.time() - 2 * UNUSED_S,) * 2)
    assert packages.sweep() == 1

    assert await packages.places(tenant_id) == [used]
    assert (used / "greeter/__init__.py").read_bytes() == CODE


def a_broken(*, encrypted: bool) -> bytes:
    """A wheel with a file whose content is not what its checksum says, or is said to be encrypted."""
    made = bytearray(a_wheel())
    at = made.rindex(b"PK\x01\x02")
    if encrypted:
        made[at + 8] |= 1
    else:
        made[made.index(b"hello ")] ^= 1
    return bytes(made)


def a_link() -> bytes:
    made = io.BytesIO(a_wheel())
    with zipfile.ZipFile(made, "a") as wheel:
        entry = zipfile.ZipInfo("greeter/link")
        entry.external_attr = 0o120777 << 16
        wheel.writestr(entry, "/etc/passwd")
    return made.getvalue()


@pytest.mark.parametrize(
    ("file_name", "content"),
    [
        ("greeter-1.2.tar.gz", a_wheel()),
        ("greeter-1.2-cp311-cp311-manylinux_2_17_x86_64.whl", a_wheel()),
        ("../greeter-1.2-py3-none-any.whl", a_wheel()),
        (NAME, b"no zip at all"),
        (NAME, a_wheel(purelib="false")),
        (NAME, a_wheel(**{"../evil.py": b""})),
        (NAME, a_wheel(**{"/etc/evil.py": b""})),
        (NAME, a_wheel(**{"greeter/fast.so": b""})),
        (NAME, a_wheel(**{"greeter/libx.so.1": b""})),
        (NAME, a_wheel(**{"evil.pth": b"import os"})),
        (NAME, a_wheel(**{f"f{number}.py": b"" for number in range(5_001)})),
        (NAME, a_link()),
        (NAME, a_broken(encrypted=False)),
        (NAME, a_broken(encrypted=True)),
        (NAME, a_wheel(**{"greeter": b"", "greeter/__init__.py": b""})),
        (NAME, a_wheel(**{"greeter/__init__.py": b"", "greeter": b""})),
        (NAME, a_wheel(**{f"{'x' * 300}.py": b""})),
        (NAME, a_wheel(**{f"{'d/' * 1000}x.py": b""})),
    ],
)
def test_what_is_not_a_pure_wheel_is_refused(file_name: str, content: bytes) -> None:
    with pytest.raises(BadPackage, match=r"refused: .{10,}"):
        checked(file_name, sha256(content), content)


def test_other_bytes_than_the_hash_says_are_refused() -> None:
    with pytest.raises(BadPackage, match="another hash"):
        checked(NAME, sha256(b"other"), a_wheel())


def test_a_wheel_that_unpacks_too_large_is_refused() -> None:
    made = io.BytesIO(a_wheel())
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("greeter/zeros.bin", bytes(101 * 2**20))
    content = made.getvalue()

    with pytest.raises(BadPackage, match="unpacked"):
        checked(NAME, sha256(content), content)
