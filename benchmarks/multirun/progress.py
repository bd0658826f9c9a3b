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
    minutes, seconds_left = divmod(round(seconds / finished * remaining), 60)
    return f" · about {minutes} min {seconds_left:02} s left"
