"""The remaining time of a series of jobs."""


def time_left(seconds: float, finished: int, remaining: int) -> str:
    """ " · about 2 min 05 s left", at the pace of the finished jobs; empty before the first job has finished.

    Args:
        seconds: the duration of the finished jobs together.
        finished: the number of finished jobs.
        remaining: the number of jobs that remain.
    """
    if not finished or not remaining:
        return ""
    seconds_left = seconds / finished * remaining
    return f" · about {seconds_left // 60:.0f} min {seconds_left % 60:02.0f} s left"
