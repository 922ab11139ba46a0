"""Alembic's entry: runs the migrations on the connection that Studio hands over."""

from alembic import context

from hyperclova.studio.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=True,  # all or nothing, also on SQLite: the caller began the transaction
)
context.run_migrations()
