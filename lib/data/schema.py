"""The columns of what is made of an archive: prices, the rows set aside, and an account of each file."""

from __future__ import annotations

import pyarrow as pa

COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
HEADER = ",".join(COLUMNS).encode() + b"\n"

# Only a security name may be missing. That the other columns have no nulls saves every reader and writer their marks.
PRICES = pa.schema(
    [
        pa.field("Symbol", pa.string(), nullable=False),
        pa.field("Security Name", pa.string()),
        pa.field("Date", pa.date32(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in COLUMNS[1:6]),
        pa.field("Volume", pa.int64(), nullable=False),
    ]
)
QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("code", pa.string()),  # what the reason begins with, such as null_value: to count by
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
# Values that are odd but possible, counted in each file: the column of the accounts, and its description.
ODD = {
    "zero_volume": "zero volume",
    "adj_close_not_positive": "Adj Close not above 0",
    "price_not_positive": "Open, High, Low or Close not above 0",
    "high_below_low": "High below Low",
    "outside_range": "Open or Close outside Low to High",
    "price_jump": "a price 50 times the day before and after",
    "date_gap": "over a month after the day before",
    "date_before_exchanges": "dates before 1792",
    "dates_out_of_order": "dates out of order",
    "no_last_newline": "files without a last newline",
    "cut_volume": "a last volume that seems cut",
}
# Those that are more likely wrong than odd: the report names their files.
SUSPECT = ("high_below_low", "outside_range", "price_jump", "date_gap", "date_before_exchanges", "cut_volume")
FILES = pa.schema(
    [
        ("file", pa.string()),
        ("symbol", pa.string()),
        ("security_name", pa.string()),
        ("bytes", pa.int64()),
        ("blake3", pa.string()),
        ("rows_read", pa.int64()),
        ("rows_kept", pa.int64()),
        ("rows_quarantined", pa.int64()),
        ("rows_repeated", pa.int64()),  # of those quarantined: the date comes again further down
        ("refused", pa.string()),  # why the file was set aside entirely; null for a file that was read
        ("commonest_reason", pa.string()),  # of the rows quarantined, the first with the commonest code
        ("example", pa.string()),  # that row's line and text
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        *((name, pa.int64()) for name in ODD),
        ("contradictions", pa.int64()),  # rows whose prices contradict each other
        ("contradiction", pa.string()),  # the first such row's line and text, in a file of which they are too many
        ("layout", pa.string()),
        ("adj_close", pa.string()),  # where Adj Close is from: its own column, or Close where the layout has none
        ("volumes_rounded", pa.int64()),
    ]
)
