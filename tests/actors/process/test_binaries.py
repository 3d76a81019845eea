"""Programs are found in the promised order, and what is missing is said in a way that helps."""

from pathlib import Path

import pytest

from resprout.actors.process import BinaryMissing, Program, Wheel
from resprout.actors.process.binaries import find


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program of an invented package; neither PATH nor the package has it yet."""
    (tmp_path / "site" / "inventedwheel").mkdir(parents=True)
    (tmp_path / "site" / "inventedwheel" / "__init__.py").write_text(
        "raise RuntimeError('not to be imported')"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return Program(
        names=("serverd",),
        variable="INVENTED_SERVERD",
        wheel=Wheel("inventedwheel", "bin/*/serverd"),
        install="pip install invented",
    )


def test_path_comes_before_the_wheel(program: Program, tmp_path: Path) -> None:
    in_wheel = make_program(tmp_path / "site" / "inventedwheel" / "bin" / "linux" / "serverd")
    assert find(program) == in_wheel
    on_path = make_program(tmp_path / "path" / "serverd")
    assert find(program) == on_path


def test_an_explicit_path_wins_and_is_never_passed_over(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program(tmp_path / "path" / "serverd")
    mine = make_program(tmp_path / "mine")
    monkeypatch.setenv("INVENTED_SERVERD", str(mine))
    assert find(program) == mine
    monkeypatch.setenv("INVENTED_SERVERD", str(tmp_path / "nowhere"))
    with pytest.raises(BinaryMissing, match=r"INVENTED_SERVERD=.*nowhere"):
        find(program)


def test_a_missing_binary_is_reported_with_every_place_and_the_install_line(program: Program) -> None:
    with pytest.raises(BinaryMissing) as caught:
        find(program)
    assert str(caught.value) == (
        "no serverd found; looked at PATH for serverd, the package inventedwheel; "
        "run: pip install invented, or set INVENTED_SERVERD to its path"
    )


def test_a_program_without_what_it_needs_beside_it_is_passed_over(tmp_path: Path, program: Program) -> None:
    make_program(tmp_path / "path" / "serverd")
    needs = Program(names=program.names, wheel=program.wheel, beside=("initserverd",))
    in_wheel = make_program(tmp_path / "site" / "inventedwheel" / "bin" / "linux" / "serverd")
    make_program(in_wheel.parent / "initserverd")
    assert find(needs) == in_wheel


def test_a_link_is_followed_to_where_the_installation_is(tmp_path: Path, program: Program) -> None:
    real = make_program(tmp_path / "opt" / "serverd-9" / "serverd")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "serverd").symlink_to(real)
    assert find(program) == real
