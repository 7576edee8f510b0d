"""Windows of tokens over a text that is longer than a model reads at once: for question answering
and for embeddings."""


def cut_into_windows(length, room, stride):
    """[(first token, number of tokens)] of windows of at most `room` tokens over `length` tokens.
    An empty context has one window without tokens. A stride longer than a window skips no token:
    the next window then starts at the end of the last."""
    windows, first = [], 0
    while True:
        num_tokens = min(length - first, room)
        windows.append((first, num_tokens))
        if first + num_tokens >= length:
            return windows
        first += min(num_tokens, stride)
