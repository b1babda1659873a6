"""Published constants of scaling laws, to look up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayescale.data.datasets import bundled
from bayescale.errors import RunsError, unknown

if TYPE_CHECKING:
    import pandas as pd


def literature(
    domain: str | None = None, law: str | None = None, paper: str | None = None
) -> pd.DataFrame:
    """Published constants of scaling laws.

    Parameters
    ----------
    domain : str, optional
        Rows of this domain only: ``"language"``, ``"image"``, ``"speech"``, ...
    law : str, optional
        Rows of this law only, such as ``"chinchilla"`` or ``"repeated_data"``.
    paper : str, optional
        Rows whose paper contains this text, in any case.

    Returns
    -------
    pandas.DataFrame
        One row per constant: ``paper``, ``year``, ``domain``, ``architecture``, ``law``,
        ``parameter``, ``value``, ``uncertainty`` as text (empty if none was published), ``unit``,
        ``convention`` (how N, D and C are counted) and ``note``. The constants were typed from the
        papers or their released code. Where a note says so, they are a refit of published runs.

    Raises
    ------
    RunsError
        If there is no such domain, law or paper. The message lists what there is.

    Examples
    --------
    >>> table = literature(law="repeated_data")
    >>> table.set_index("parameter").loc["R_D", "value"].round(2)
    np.float64(15.39)
    """
    import pandas as pd

    table = pd.read_csv(bundled("published_laws.csv"), keep_default_na=False)
    table["value"] = table["value"].astype(float)
    for column, value in (("domain", domain), ("law", law)):
        if value is None:
            continue
        if value not in set(table[column]):
            raise RunsError(unknown(column, value, sorted(set(table[column]))))
        table = table[table[column] == value]
    if paper is not None:
        found = table["paper"].str.contains(paper, case=False, regex=False)
        if not found.any():
            raise RunsError(unknown("paper", paper, sorted(set(table["paper"]))))
        table = table[found]
    return table.reset_index(drop=True)
