"""`python -m devcluster`: the local cluster, the load generator and the demo."""

import typer

from devcluster.controlplane.cli import app as cluster_app
from devcluster.demo.cli import app as demo_app
from devcluster.load.cli import app as load_app
from devcluster.node.cli import app as node_app

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(cluster_app, name="cluster")
app.add_typer(node_app, name="node")
app.add_typer(load_app, name="load")
app.add_typer(demo_app, name="demo")


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
