"""`jaxmlr` and `python -m jaxmlr`."""

import sys


def main() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        from jaxmlr.cli import app
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("jaxmlr"):
            raise
        print(f"jaxmlr: {error}; pip install 'jaxmlr[study]'", file=sys.stderr)
        sys.exit(2)
    app.main()


if __name__ == "__main__":
    main()
