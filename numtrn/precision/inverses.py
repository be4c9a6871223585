def diagonal_inverses(x):
    raise NotImplementedError
