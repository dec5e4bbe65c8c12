"""Plotly's script, which draws the charts: from the package, where that is installed."""

from bccl_jax.errors import BcclError


def plotly_script() -> str:
    """The script, of 4.8 MB.

    Raises:
      BcclError: the package is missing or broken.
    """
    try:
        from plotly.offline import get_plotlyjs

        return get_plotlyjs()
    except (ImportError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BcclError(
            f"a report needs plotly, which cannot be imported ({first}); pip install "
            '"bccl_jax[report]", or -r requirements/report.txt of the repository'
        ) from error
