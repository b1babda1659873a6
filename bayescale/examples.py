"""Tables that come with the package, and one that it fetches from its public source."""

from __future__ import annotations

from pathlib import Path

from bayescale.errors import RunsError, unknown

BUNDLED = ("openlm",)
NAMES = (*BUNDLED, "chinchilla")

EPOCH_COMMIT = "92258837425e1b5f2851d624287f0120583a3d0e"
EPOCH_SHA256 = "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30"
EPOCH_URL = (
    "https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
    f"{EPOCH_COMMIT}/data/svg_extracted_data.csv"
)


def bundled(file: str) -> Path:
    """Where a bundled file lies: inside the installed package, or in the checkout's ``data/``."""
    here = Path(__file__).resolve().parent
    for folder in (here / "data", here.parent / "data"):
        if (folder / file).exists():
            return folder / file
    raise RunsError(f"the bundled file {file} is missing: reinstall bayescale", where=str(here))


def fetch_chinchilla(progressbar: bool = False) -> Path:
    """Fetch Epoch AI's digitised Chinchilla points once, check them, keep them in the cache.

    Returns
    -------
    Path
        The file in the cache (``BAYESCALE_CACHE``, else the system's cache folder).

    Raises
    ------
    RunsError
        Without a network, or if the file is not the one that was expected.
    """
    import pooch

    try:
        return Path(pooch.retrieve(
            EPOCH_URL,
            known_hash=f"sha256:{EPOCH_SHA256}",
            fname="chinchilla_svg_extracted_data.csv",
            path=cache(),
            progressbar=progressbar,
        ))
    except Exception as error:  # pooch raises whatever the network library does
        raise RunsError(
            f"could not download {EPOCH_URL} ({type(error).__name__}: {str(error)[:120]}). Without "
            f"a network, put that file into {cache()} as chinchilla_svg_extracted_data.csv, or use "
            "Runs.example('openlm'), which needs none",
            where="Runs.example('chinchilla')",
        ) from error


def cache() -> Path:
    """The folder that downloads are kept in."""
    import os

    import pooch

    return Path(os.environ.get("BAYESCALE_CACHE") or pooch.os_cache("bayescale"))


def check_name(name: str) -> None:
    """Refuse a name that is no example."""
    if name not in NAMES:
        raise RunsError(unknown("example", name, NAMES))
