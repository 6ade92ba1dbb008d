"""`python benchmarks/speed`: the complete benchmark; `--help` lists the options."""

import sys
from pathlib import Path


def main() -> None:
    """Run the driver, with the folder of the benchmarks on the path instead of this one."""
    sys.path[0] = str(Path(__file__).parents[1])
    from speed.driver import main as drive

    drive()


if __name__ == "__main__":
    main()
