"""The command itself: installation, help, version, warnings."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points, version

from bayescale import cli


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="bayescale")
    assert command.load() is cli.main


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys, bayescale.cli as cli; sys.argv = ['bayescale', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print(ended.code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ended, *loaded = done.stdout.splitlines()[-1].split()
    assert ended == "0"
    assert not {
        "pymc",
        "pytensor",
        "nutpie",
        "arviz",
        "arviz_base",
        "matplotlib",
        "pandas",
        "numpy",
    } & set(loaded)
    commands = [c.callback.__name__ for c in cli.app.registered_commands]
    assert commands == [
        "report",
        "fit",
        "forecast",
        "allocate",
        "speedup",
        "cost",
        "suggest",
        "design",
        "preregister",
        "outcome",
        "trajectory",
        "rollout",
        "hypotheses",
        "breaks",
        "emergence",
        "link",
        "example",
        "laws",
        "docs",
    ]
    for command in commands:
        assert re.search(rf"^\W+{command} +[A-Z]", done.stdout, flags=re.M)


def test_the_version_is_that_of_the_package(run):
    assert run("--version") == (0, f"bayescale {version('bayescale')}\n", "")


def test_the_old_name_of_hypotheses_is_unknown(run):
    ended = run("compare", "runs.csv")
    assert ended.code == 2
    assert "No such command" in ended.err


def test_without_a_command_help_is_shown():
    done = subprocess.run([sys.executable, "-m", "bayescale"], capture_output=True, text=True)
    assert "Usage:" in done.stdout + done.stderr
    assert done.returncode == 2


def test_quiet_hides_warnings_but_not_a_failed_check(failing, run):
    words = ("forecast", failing, "--N", "1B", "--D", "20B")
    loud, quiet = run(*words), run(*words, "--quiet")
    assert "warning: this fit failed its check" in loud.err
    assert quiet.err == ""
    assert "CHECK FAILED" in quiet.out
