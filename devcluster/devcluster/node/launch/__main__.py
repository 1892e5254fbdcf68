"""Entry point: ``python -I -S .../launch/__main__.py run|enter|check ...``, started by devcluster.node.process."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # -I -S leave the package itself off the path

from devcluster.node.launch.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
