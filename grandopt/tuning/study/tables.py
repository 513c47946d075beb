"""Our own tables beside Optuna's: who works on what, and which builds came to nothing."""

from __future__ import annotations

import sqlalchemy

METADATA = sqlalchemy.MetaData()

CLAIMS = sqlalchemy.Table(
    "grandopt_claims",
    METADATA,
    sqlalchemy.Column("scope", sqlalchemy.Text, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.Text, primary_key=True),
    sqlalchemy.Column("holder", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("owner", sqlalchemy.Text, nullable=False),
    # Seconds of the database's own clock.
    sqlalchemy.Column("until", sqlalchemy.Float(53), nullable=False),
)
"""One row per claim that is held, or was when its holder died."""

REFUSALS = sqlalchemy.Table(
    "grandopt_refusals",
    METADATA,
    sqlalchemy.Column("key", sqlalchemy.Text, primary_key=True),
    sqlalchemy.Column("reason", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("made", sqlalchemy.Text, nullable=False),
)
"""Builds that failed, by their key: it holds all that the outcome depends on."""

NOW: dict[str, sqlalchemy.ColumnClause[float]] = {
    "postgresql": sqlalchemy.literal_column(
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
    ),
    "sqlite": sqlalchemy.literal_column("((julianday('now') - 2440587.5) * 86400.0)"),
}
"""Seconds since 1970 by the clock of the database, by its kind."""
