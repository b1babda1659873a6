"""Bundled tables, and one that is downloaded from its public source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.errors import RunsError, unknown
from bayescale.keywords import on_command_line

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BUNDLED = ("openlm",)
NAMES = (*BUNDLED, "chinchilla")

EPOCH_COMMIT = "92258837425e1b5f2851d624287f0120583a3d0e"
EPOCH_SHA256 = "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30"
EPOCH_URL = (
    "https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
    f"{EPOCH_COMMIT}/data/svg_extracted_data.csv"
)


def bundled(file: str) -> Path:
    """Path of a bundled file: inside the installed package, or in ``data/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_datasets", package.parent / "data"):
        if (folder / file).exists():
            return folder / file
    raise RunsError(f"the bundled file {file} is missing: reinstall bayescale", where=str(package))


def fetch_chinchilla(progressbar: bool = False) -> Path:
    """Download Epoch AI's digitised Chinchilla points, verify their hash, and cache them.

    Returns
    -------
    Path
        The file in the cache (``BAYESCALE_CACHE``, else the system's cache folder).

    Raises
    ------
    RunsError
        If the download fails, or the hash of the file is not the expected one.
    """
    import pooch

    try:
        return Path(
            pooch.retrieve(
                EPOCH_URL,
                known_hash=f"sha256:{EPOCH_SHA256}",
                fname="chinchilla_svg_extracted_data.csv",
                path=cache(),
                progressbar=progressbar,
            )
        )
    except Exception as error:  # pooch raises the errors of the network library
        other = "bayescale example openlm" if on_command_line() else "Runs.example('openlm')"
        raise RunsError(
            f"could not download {EPOCH_URL} ({type(error).__name__}: {str(error)[:120]}). Without "
            f"a network, put that file into {cache()} as chinchilla_svg_extracted_data.csv, or use "
            f"{other}, which is not downloaded",
            where="Runs.example('chinchilla')",
        ) from None


def cache() -> Path:
    """The folder of downloaded files."""
    import os

    import pooch

    return Path(os.environ.get("BAYESCALE_CACHE") or pooch.os_cache("bayescale"))


def check_name(name: str) -> None:
    """Raise `RunsError` unless `name` is an example."""
    if name not in NAMES:
        raise RunsError(unknown("example", name, NAMES))


def openlm_tasks() -> pd.DataFrame:
    """Accuracies of the OpenLM runs: 104 runs on 15 tasks (Gadre et al. 2024, arXiv:2403.08540).

    Returns
    -------
    pandas.DataFrame
        One row per run and task: ``dataset``, ``architecture``, ``N``, ``D``, ``C`` = 6ND, ``loss``
        (nats per token on the C4 validation set), ``task``, ``accuracy`` in [0, 1],
        ``n_questions`` and ``chance``, the accuracy of guessing.

    Examples
    --------
    >>> import bayescale as bs
    >>> table = bs.datasets.openlm_tasks()
    >>> len(table) == 104 * 15
    True
    >>> table.query("task == 'hellaswag' and N > 5e9")[["dataset", "loss", "n_questions"]].shape
    (3, 3)
    """
    import pandas as pd

    keys = ["dataset", "architecture", "tokens_per_param"]
    wide = pd.read_csv(bundled("openlm_tasks.csv")).merge(
        pd.read_csv(bundled("openlm.csv")), on=keys, validate="one_to_one"
    )
    return _long(wide, "openlm", ["dataset", "architecture"], ["loss"])


def emergent_tasks() -> pd.DataFrame:
    """Scores of base language models on 7 tasks reported as emergent (Ruan et al. 2024,
    arXiv:2405.10938).

    Returns
    -------
    pandas.DataFrame
        One row per model and task: ``model``, ``family``, ``N``, ``D``, ``C`` = 6ND, ``task``,
        ``accuracy`` in [0, 1], ``n_questions`` and ``chance``, the accuracy of guessing. Models
        without D or C and missing accuracies are left out. Compute is counted differently in
        different families.

    Examples
    --------
    >>> import bayescale as bs
    >>> bs.datasets.emergent_tasks()["task"].nunique()
    7
    """
    import pandas as pd

    wide = pd.read_csv(bundled("emergent.csv"))
    facts = pd.read_csv(bundled("emergent_task_facts.csv"))
    wide = wide.rename(columns=dict(zip(facts["column"], facts["task"], strict=True)))
    return _long(wide.dropna(subset=["tokens", "flops"]), "emergent", ["model", "family"], [])


def _long(wide: pd.DataFrame, name: str, labels: list[str], measured: list[str]) -> pd.DataFrame:
    """One row per model and task, with number of questions and chance of each task."""
    import pandas as pd

    facts = pd.read_csv(bundled(f"{name}_task_facts.csv"))
    wide = wide.rename(columns={"params": "N", "tokens": "D"}).astype({"N": float, "D": float})
    wide["C"] = 6.0 * wide["N"] * wide["D"]
    id_columns = [*labels, "N", "D", "C", *measured]
    long = wide.melt(id_columns, list(facts["task"]), "task", "accuracy").dropna(subset="accuracy")
    return long.merge(facts[["task", "n_questions", "chance"]], on="task", how="left")


def without_highest(loss: pd.Series, drop: bool) -> tuple[np.ndarray, str]:
    """Which runs of Hoffmann et al. to keep, and a note on the five of highest loss.

    Parameters
    ----------
    loss : pandas.Series
    drop : bool
        Leave the five runs out.
    """
    highest = (loss.rank(ascending=False) <= 5).to_numpy()
    losses = ", ".join(f"{v:.2f}" for v in sorted(loss[highest]))
    if drop:
        note = f"left out the five runs of highest loss ({losses}), as Besiroglu et al. do"
        return ~highest, note
    return highest | ~highest, (
        f"the five runs of highest loss ({losses}) are kept; Besiroglu et al. leave them "
        "out: drop_outliers=True does the same"
    )
