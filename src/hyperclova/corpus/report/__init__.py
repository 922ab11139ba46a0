"""The report of a corpus build: a page, Markdown, JSON and pictures.

Needs the extra ``corpus``. Everything follows from ``build.json``: the same one gives the same
files, byte for byte, with the same fonts and version of matplotlib.
"""

from pathlib import Path

from hyperclova.corpus.record import Record

ANONYMISE = "anonymise"


def write_report(output: Path) -> Path:
    """Write ``output/report/``: ``report.html``, ``report.md``, ``report.json`` and pictures.

    ``report.html`` is one self-contained page, for sharing: it asks the network for nothing, runs
    no scripts and shows no personal data that the rules would mask.

    Args:
        output: of a build; holds ``build.json``.

    Returns:
        The path of the page.

    Raises:
        UserError: there is no finished build, or another version made it.
        ModuleNotFoundError: the extra ``corpus`` is not installed.
    """
    from hyperclova.corpus.report import charts, markdown, page
    from hyperclova.corpus.report.excerpts import show
    from hyperclova.corpus.report.figures import figures
    from hyperclova.durable import write_json, writing

    record = Record.load(output)
    found = figures(record)
    examples = {
        label: [show(example, masks=_masks(label)) for example in kept]
        for label, kept in record.tally.examples.items()
    }
    directory = output / "report"
    charts.draw(found, directory)
    write_json(directory / "report.json", found.to_mapping())
    path = directory / "report.html"
    for target, text in (
        (directory / "report.md", markdown.render(found, examples)),
        (path, page.render(found, examples)),
    ):
        with writing(target) as file:
            file.write(text.encode("utf-8"))
    return path


def _masks(label: str) -> bool:
    return label.partition(" ")[0] == ANONYMISE
