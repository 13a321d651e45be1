"""``python -m fedasr``: the command line."""

from fedasr.cli.main import main

if __name__ == "__main__":
    main()
