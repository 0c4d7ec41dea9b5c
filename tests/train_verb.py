"""limner's command line with noise for `--data`, in a process of its own, so that it can be interrupted."""

from games import Enlarged
from limner import cli
from limner.jobs import training

if __name__ == "__main__":
    training.open_source = lambda *_: Enlarged()
    cli.main()
