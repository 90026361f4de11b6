"""`python -m stpe` is `stpe`."""

from stpe.cli import main

if __name__ == "__main__":
    main()
