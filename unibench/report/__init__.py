"""Boards and figures. They read scores and model cards only: no network, no data, no torch.

`boards` arranges scores into one comparable table; `leaderboard`, `radar` and `correlation` draw from that.
"""
