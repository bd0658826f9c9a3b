"""python -m benchmarks.studies.memorisation: what the columns of memorisation say of samplers that copy, and of others.

Samples are real validation images, real training images with noise of several standard deviations, and noise. Prints a table
in Markdown, with the seconds that each measurement took; the first one prepares what all share.
`python -m benchmarks.studies.memorisation mnist` takes another data set.
"""

from benchmarks.studies.words import study


@study(data=("digits", "mnist", "fashion_mnist"))
def main(data: str) -> None:
    from benchmarks.studies.copying import markdown_lines  # torch takes seconds, and --help needs none

    for line in markdown_lines(data):
        print(line, flush=True)


if __name__ == "__main__":
    main()
