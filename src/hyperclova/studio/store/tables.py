"""The tables as SQLAlchemy sees them. A change here needs a migration in ``migrations/``."""

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, Text

# Names for constraints, so that a migration can speak of them on every database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_sequence = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys itself

runs = Table(
    "runs",
    metadata,
    # The order in which runs were written down; clocks can go backwards, this cannot.
    Column("number", _sequence, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("created_at", String(32), nullable=False),  # ISO 8601 in UTC
    Column("model", String(255), nullable=False),
    Column("request", JSON, nullable=False),
    Column("document", JSON, nullable=False),
    Column("output", Text, nullable=False),
    Column("finish_reason", String(32), nullable=True),
    Column("usage", JSON, nullable=True),
    Column("text", Text, nullable=False),  # the document's text, for searching
    sqlite_autoincrement=True,  # a number is never used twice, so a page cursor stays true
)

desks = Table(
    "desks",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("updated_at", String(32), nullable=False),
)
