"""`python -m mediapod.effects --schemas`: the parameter schemas of all effects as stable JSON."""

from __future__ import annotations

import argparse
import json
import sys

from mediapod.effects.registry import schemas


def main() -> None:
    """Print effect name -> JSON schema, keys sorted, so that two versions compare line by line."""
    parser = argparse.ArgumentParser(prog="python -m mediapod.effects", description=__doc__)
    parser.add_argument("--schemas", action="store_true", required=True, help="print the parameter schemas")
    parser.parse_args()
    sys.stdout.write(json.dumps(schemas(), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
