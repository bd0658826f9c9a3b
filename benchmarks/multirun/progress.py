"""The remaining time of a series of jobs."""


def time_left(seconds: float, ran: int, left: int) -> str:
    """ " · about 2 min 05 s left", at the pace of the jobs that ran; empty before the first job has ended.

    Args:
        seconds: that the jobs took.
        ran: how many jobs took them.
        left: how many jobs remain.
    """
    if not ran or not left:
        return ""
    remaining = seconds / ran * left
    return f" · about {remaining // 60:.0f} min {remaining % 60:02.0f} s left"
