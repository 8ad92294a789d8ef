"""Print every figure beside its bar."""

from tests.benchmarks import mining


def main() -> None:
    """Run all benchmarks; the figures are ratios, or rates that depend on the machine."""
    for what, figure, bar in mining.figures():
        print(f"{what:<62} {figure:>12,.1f}   {bar}", flush=True)


if __name__ == "__main__":
    main()
