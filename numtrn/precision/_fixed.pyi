def largest(axis: int, x: int, row: int, column: int, rows: int, columns: int, out: int, /) -> None: ...
def convert(
    slices: int,
    x: int,
    row: int,
    column: int,
    rows: int,
    columns: int,
    row_power: int,
    column_power: int,
    out: int,
    out_row: int,
    streams: int,
    /,
) -> None: ...
def round_words(
    terms: bytes,
    words: int,
    row_power: int,
    column_power: int,
    out: int,
    row: int,
    column: int,
    rows: int,
    columns: int,
    /,
) -> None: ...
def add_words(
    total: int,
    total_row: int,
    total_column: int,
    part: int,
    part_row: int,
    part_column: int,
    rows: int,
    columns: int,
    /,
) -> None: ...
